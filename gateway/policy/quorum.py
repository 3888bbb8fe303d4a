"""Whether someone can give every approval a policy asks for. Pure.

A call may fall under several rules at once; then only reviewers of all of them may decide. What
cannot be seen here (a glob clash beyond the budget) the judge refuses at the call.
"""

from __future__ import annotations

from collections.abc import Mapping

from approvals.model import Terms
from gateway.policy.contradiction import impossible
from gateway.policy.pattern import overlap
from gateway.policy.problems import Report, step
from gateway.policy.reviewers import is_crowd
from gateway.policy.rules import Entry, HoldRule, Section
from gateway.policy.terms import meet, strictest

_BUDGET = 50_000  # glob comparisons at load
Placed = tuple[str, HoldRule]
"""A rule and the tool name or glob it stands under."""


def look(root: Section, servers: Mapping[str, Section], defaults: Terms, report: Report) -> None:
    """Reports rules no one can satisfy, alone or together."""
    sections = (root, *servers.values())
    alone = [rule for section in sections for _, rule in _rules(section)]
    for rule in alone:
        if short(rule.terms):
            _too_few(rule.terms, rule.pointer, report)
    if not alone and short(defaults):
        _too_few(defaults, "/approval", report)
    if not _may_clash([defaults, *(rule.terms for rule in alone)]):
        return
    seen: set[str] = set()
    for scope in ((root,), *((root, section) for section in servers.values())):
        _together(scope, defaults, seen, report)


def short(terms: Terms) -> bool:
    """Whether fewer people are named than must agree."""
    people = terms.reviewers
    return bool(people) and terms.quorum > len(people) and not any(map(is_crowd, people))


def _too_few(terms: Terms, pointer: str, report: Report) -> None:
    what = f"{terms.quorum} approvals are needed, but only {len(terms.reviewers)} may decide."
    report.error(step(pointer, "quorum"), what, "Name more reviewers, or lower `quorum`.")


def _rules(section: Section) -> list[Placed]:
    return [
        (entry.name, rule)
        for entry in (section.all_tools, *section.entries)
        for rule in entry.holds
    ]


def _may_clash(terms: list[Terms]) -> bool:
    """Whether some of the rules might not go together; False is certain."""
    everything = strictest(list(dict.fromkeys(terms)))
    return everything is None or short(everything)


def _clash(one: Terms, other: Terms) -> bool:
    both = strictest((one, other))
    return both is None or (short(both) and not short(one) and not short(other))


def _together(scope: tuple[Section, ...], defaults: Terms, seen: set[str], report: Report) -> None:
    everywhere = [("*", rule) for section in scope for rule in section.all_tools.holds]
    if (scope[-1].default or scope[0].default) == "require_approval":
        default = HoldRule(
            pointer="/default", conditions=(), reason="", claims=False, terms=defaults, written={}
        )
        _group([("*", default), *everywhere], seen, report)
    globs = [entry for section in scope for entry in section.globs if entry.holds]
    budget = _BUDGET
    by_name: dict[str, list[Entry]] = {}
    for section in scope:
        for entry in section.exact.values():
            by_name.setdefault(entry.name, []).append(entry)
    for name, entries in by_name.items():
        group = [(name, rule) for entry in entries for rule in entry.holds]
        budget -= len(globs)
        if budget > 0:
            group += [
                (glob.name, rule)
                for glob in globs
                if overlap(glob.name, name)
                for rule in glob.holds
            ]
        _group([*group, *everywhere], seen, report)
    for at, glob in enumerate(globs):
        own = [(glob.name, rule) for rule in glob.holds]
        _group([*own, *everywhere], seen, report)
        budget -= len(globs) - at
        for other in globs[at + 1 :] if budget > 0 else ():
            if overlap(glob.name, other.name):
                _group([*own, *((other.name, rule) for rule in other.holds)], seen, report)


def _group(placed: list[Placed], seen: set[str], report: Report) -> None:
    """Rules that may all apply to one call."""
    pairs = [(one, other) for at, (_, one) in enumerate(placed) for _, other in placed[at + 1 :]]
    clashing = [pair for pair in pairs if _clash(pair[0].terms, pair[1].terms)]
    for one, other in clashing:
        if other.pointer not in seen and not _exclusive(one, other):
            seen.add(other.pointer)
            _report(one, other, report)
    if clashing or not placed or any(_exclusive(one, other) for one, other in pairs):
        return
    last = placed[-1][1]
    if last.pointer not in seen and strictest([rule.terms for _, rule in placed]) is None:
        seen.add(last.pointer)
        what = f"No reviewer is in all of the {len(placed)} rules a call may fall under here."
        report.error(last.pointer, what, "Share one reviewer or group among them.")


def _exclusive(one: HoldRule, other: HoldRule) -> bool:
    return impossible((*one.conditions, *other.conditions))


def _report(one: HoldRule, other: HoldRule, report: Report) -> None:
    if meet(one.terms.reviewers, other.terms.reviewers) is None:
        what = f"No reviewer is both in this rule and in {one.pointer}, and a call may meet both."
        report.error(other.pointer, what, "Share one reviewer or group between them.")
    else:
        what = f"Together with {one.pointer} fewer reviewers remain than must agree."
        report.error(other.pointer, what, "Share more reviewers, or lower `quorum`.")
