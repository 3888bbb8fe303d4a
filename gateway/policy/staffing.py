"""Whether the people there are can give every approval a policy asks for. Pure.

`quorum` checks the file alone; here its names meet the reviewers on record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from approvals.model import Reviewer, Terms
from gateway.policy.problems import PolicyProblem, step
from gateway.policy.reviewers import is_crowd
from gateway.policy.rules import Policy, Section

_NAMED = 3  # names a message lists


def unstaffed(
    policy: Policy, people: Iterable[Reviewer], *, vouched: frozenset[str] = frozenset()
) -> tuple[PolicyProblem, ...]:
    """An error for each demand that these people cannot meet; each kind of demand once.

    `vouched` are the kinds of identities ("slack") whose people another system proves to this
    gateway: they need not be on record.
    """
    able = [one for one in people if one.may_decide]
    found: dict[tuple[tuple[str, ...], int], PolicyProblem] = {}
    for pointer, terms in _demands(policy):
        demand = (terms.reviewers, terms.quorum)
        if demand not in found and (problem := _problem(pointer, terms, able, vouched)) is not None:
            found[demand] = problem
    return tuple(found.values())


def named(policy: Policy) -> frozenset[str]:
    """Every reviewer that a rule names."""
    return frozenset(name for _, terms in _demands(policy) for name in terms.reviewers)


def deciding(people: Iterable[Reviewer]) -> frozenset[str]:
    """Every name of the people who may decide where a rule names no one."""
    return frozenset(name for one in people if one.may_decide for name in one.names())


def channels(policy: Policy) -> frozenset[str]:
    """Every Slack channel that a rule announces its calls in."""
    return frozenset(terms.channel for _, terms in _demands(policy) if terms.channel is not None)


def _demands(policy: Policy) -> Iterator[tuple[str, Terms]]:
    """Every rule that holds calls, and the defaults where they alone hold some."""
    sections: tuple[Section, ...] = (policy.root, *policy.servers.values())
    for section in sections:
        if section.default == "require_approval":
            yield step(section.pointer, "default"), policy.terms
        for entry in (section.all_tools, *section.entries):
            for rule in entry.holds:
                yield rule.pointer, rule.terms


def _problem(
    pointer: str, terms: Terms, able: list[Reviewer], vouched: frozenset[str]
) -> PolicyProblem | None:
    named = frozenset(terms.reviewers)
    people = [one for one in able if not named or not named.isdisjoint(one.names())]
    known = {name for one in able for name in one.names()}
    elsewhere = [name for name in terms.reviewers if name not in known and _proves(name, vouched)]
    count = len(people) + len(elsewhere)
    if count >= terms.quorum or any(map(is_crowd, elsewhere)):
        return None
    missing = [name for name in terms.reviewers if name not in known and not _proves(name, vouched)]
    if count == 0:
        whom = f" ({_listed(missing)} on record)" if missing else ""
        what = f"No one can approve what this holds{whom}."
    else:
        who = f"{count} person" if count == 1 else f"{count} people"
        what = f"{terms.quorum} people must approve what this holds, and only {who} may."
    return PolicyProblem(pointer=pointer, severity="error", what=what, write=_advice(missing))


def _proves(name: str, vouched: frozenset[str]) -> bool:
    kind, colon, _ = name.partition(":")
    return bool(colon) and kind.removesuffix("-group") in vouched


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    what = "is no approver" if len(names) == 1 else "are no approvers"
    return f"{', '.join(names[:_NAMED])}{more} {what}"


def _advice(missing: list[str]) -> str:
    local = next((name for name in missing if ":" not in name), "")
    if local or not missing:
        return f"Add people: signoff reviewer add {local or 'NAME'}"
    return f"Say whose that is: signoff reviewer add NAME --identity {missing[0]}"
