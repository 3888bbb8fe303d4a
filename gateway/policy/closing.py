"""Whether a policy closes for sure, compared with another. Pure.

A file that closes may be in force at once, by any writer: no call passes that did not pass, and
none is asked of fewer people. Whatever is not known to close counts as opening: a key that this
module does not name, a reordering of rules that it cannot match, a text that is merely reworded.

Lists of rules are not enough to go by. An entry added to `tools` lists its tool, and so takes it
out of `default`; a rule that holds brings terms of its own, and may name someone who decides by
that name alone. All this is looked at in what it means. What is written is compared as canonical
bytes: for Python, 1 is True and 1e23 is an integer, for a condition they are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from approvals.digest import canonical
from approvals.model import Terms
from gateway.policy import normal_form
from gateway.policy.problems import step
from gateway.policy.rules import Default, Entry, HoldRule, Policy, Section
from gateway.policy.terms import strictest

STRICTER: Final[tuple[Default, ...]] = ("allow", "require_approval", "deny")
"""What happens to tools listed nowhere, the laxest first."""

_RULES: Final = frozenset({"deny_if", "require", "require_approval", "approve_if", "limits"})
"""What an added entry may consist of, and where an entry may change."""

_SECTION: Final = frozenset({"default", "hide", "all_tools", "tools"})
_WHOLE: Final = frozenset({"version", "reviewers", "approval", "servers", *_SECTION})
_TERMS: Final = frozenset(
    {
        *("reviewers", "quorum", "expires", "hold", "use_within", "when_detached", "editable"),
        "undo",
        *("risk", "not_owner", "deny_memory", "allow_duplicates", "web_only"),
    }
)
"""Terms of an added rule that only tighten what other rules say of the same call: `strictest`."""

_NOTHING: Final = Section(
    pointer="", default=None, hide=(), all_tools=Entry(name="*", pointer=""), exact={}, globs=()
)


@dataclass(frozen=True, slots=True)
class _After:
    """The policy that is looked at, and the people on record."""

    policy: Policy
    people: frozenset[str]


def openings(old: Policy, new: Policy, *, people: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Where `new` might let through, or ask of fewer people, what `old` did not: JSON pointers into
    the normal form. () when it closes for sure, or enforces the same.

    `people` are the names of everybody on record who may decide. A rule that names no one leaves
    the decision to them; one that names someone else would give it to a stranger.
    """
    if old.hash == new.hash:
        return ()
    return tuple(dict.fromkeys(_openings(old, _After(new, people))))


def _openings(old: Policy, after_it: _After) -> Iterator[str]:
    new = after_it.policy
    yield from _unlike(old.normal, new.normal, "", _WHOLE)
    yield from _groups(old.normal.get("reviewers", {}), new.normal.get("reviewers", {}))
    if not _narrower(old.terms, new.terms, after_it.people) or not _same_but_reviewers(
        old.normal.get("approval", {}), new.normal.get("approval", {})
    ):
        yield "/approval"
    servers = tuple(dict.fromkeys((*old.servers, *new.servers)))
    for server in ("", *servers):
        before, after = old.default_for(server), new.default_for(server)
        if STRICTER.index(after) < STRICTER.index(before):
            yield step(step("/servers", server), "default") if server else "/default"
    # What the root says of a tool holds on every server, also on those that no section names.
    everywhere = {old.default_for(server) for server in ("", *servers)}
    yield from _section("", old.root, new.root, everywhere, after_it)
    for server in servers:
        before_part = old.servers.get(server, _NOTHING)
        after_part = new.servers.get(server, _NOTHING)
        default = {old.default_for(server)}
        yield from _section(step("/servers", server), before_part, after_part, default, after_it)
    if _effects(new) and _shared(old) and not _shared(new):
        yield "/approval"


def _section(
    at: str, old: Section, new: Section, defaults: set[Default], whole: _After
) -> Iterator[str]:
    """`defaults`: what happened to tools listed nowhere, wherever this section applies."""
    if at:  # the root's keys are looked at with the document's
        yield from _unlike(normal_form.section(old), normal_form.section(new), at, _SECTION)
    shown = set(old.hide) - set(new.hide)
    if shown:
        yield step(at, "hide")
    yield from _entry(step(at, "all_tools"), old.all_tools, new.all_tools, whole)
    before = {entry.name: entry for entry in old.entries}
    after = {entry.name: entry for entry in new.entries}
    for name, entry in before.items():
        place = step(step(at, "tools"), name)
        if name in after:
            yield from _entry(place, entry, after[name], whole)
        elif name not in new.hide:  # hidden instead: nothing of it can be called any more
            yield place
    for name in after.keys() - before.keys():
        place = step(step(at, "tools"), name)
        # The entry lists its tools: what `default` did to them is over.
        if defaults != {"allow"} and not after[name].always_denies:
            yield place
        yield from _entry(place, Entry(name=name, pointer=""), after[name], whole)


def _entry(at: str, old: Entry, new: Entry, whole: _After) -> Iterator[str]:
    before, after = normal_form.entry(old), normal_form.entry(new)
    yield from _unlike(before, after, at, _RULES)
    for key in ("deny_if", "require"):
        if not _contains(after.get(key, []), before.get(key, [])):
            yield step(at, key)
    if not _in_order(old.holds, new.holds, whole.people):
        yield step(at, "approve_if")
    for rule in new.holds:
        known = any(_as_strict(other, rule, whole.people) for other in old.holds)
        if not known and not _tightens(rule, whole):
            yield step(at, "approve_if")
    kept = after.get("limits", [])
    for limit in before.get("limits", []):
        if not any(_as_tight(limit, other) for other in kept):
            yield step(at, "limits")


def _unlike(
    old: Mapping[str, Any], new: Mapping[str, Any], at: str, looked_at: frozenset[str]
) -> Iterator[str]:
    """Keys that differ and that no one here looks at more closely."""
    for key in (*old, *(key for key in new if key not in old)):
        if key not in looked_at and not _same(old.get(key), new.get(key)):
            yield step(at, key)


def _same(one: Any, other: Any) -> bool:
    """Whether both are the same as written: 1 is neither true nor 1.0."""
    return canonical(one) == canonical(other)


def _groups(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """A group may lose people. What that does to the rules that name it is looked at with them."""
    for name in (*old, *(name for name in new if name not in old)):
        before, after = _group(old.get(name)), _group(new.get(name))
        if before is None or after is None or not _lost(before, after):
            yield step("/reviewers", name)


def _group(written: Any) -> tuple[Sequence[str], Any] | None:
    """Members and channel; None: there is no such group."""
    if isinstance(written, Mapping):
        return written["members"], written.get("channel")
    return None if written is None else (written, None)


def _lost(before: tuple[Sequence[str], Any], after: tuple[Sequence[str], Any]) -> bool:
    """Whether the group differs by nothing but people who are gone."""
    return before[1] == after[1] and set(after[0]) <= set(before[0])


def _same_but_reviewers(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    rest = [{key: value for key, value in one.items() if key != "reviewers"} for one in (old, new)]
    return _same(*rest)


def _as_strict(old: HoldRule, new: HoldRule, people: frozenset[str]) -> bool:
    """Whether the new rule holds what the old one holds, for the same people or some of them."""
    return (
        old.reason == new.reason
        and _same(
            *([normal_form.condition(one, "any") for one in rule.conditions] for rule in (old, new))
        )
        and _same_but_reviewers(old.written, new.written)
        and _narrower(old.terms, new.terms, people)
    )


def _in_order(old: Sequence[HoldRule], new: Sequence[HoldRule], people: frozenset[str]) -> bool:
    """Whether each old rule is still there. Where they announce calls in several channels, their
    order says in which: then it has to be the old one.
    """
    if len({rule.terms.channel for rule in old}) <= 1:
        return all(any(_as_strict(rule, other, people) for other in new) for rule in old)
    left = iter(new)
    return all(any(_as_strict(rule, other, people) for other in left) for rule in old)


def _narrower(old: Terms, new: Terms, people: frozenset[str]) -> bool:
    """Whether the terms differ by nothing but reviewers who are gone."""
    if replace(old, reviewers=()) != replace(new, reviewers=()):
        return False
    if not old.reviewers:  # everybody on record with the role, and no one else
        return people.issuperset(new.reviewers)
    return bool(new.reviewers) and set(new.reviewers) <= set(old.reviewers)


def _tightens(rule: HoldRule, whole: _After) -> bool:
    """Whether an added rule can only add to what other rules ask of the same call."""
    policy = whole.policy
    named = rule.terms.reviewers
    return (
        rule.written.keys() <= _TERMS
        and isinstance(rule.written.get("risk", ""), str)  # an object lowers what others say
        and whole.people.union(policy.terms.reviewers).issuperset(named)  # no stranger among them
        and rule.terms.channel == policy.terms.channel  # a group may have brought its own
        and (rule.terms.channel is None or not _other_channels(policy))  # nor goes before theirs
        and (not _effects(policy) or strictest([policy.terms, rule.terms]) == rule.terms)
    )


def _as_tight(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return _same({**old, "max": 0}, {**new, "max": 0}) and bool(new["max"] <= old["max"])


def _contains(whole: Sequence[Any], part: Sequence[Any]) -> bool:
    there = {canonical(one) for one in whole}
    return all(canonical(one) in there for one in part)


def _effects(policy: Policy) -> bool:
    """Whether something else than a rule may hold a call: an `effect` that was done already. Then
    it is asked of whom the rules of that tool name, or `approval` where there is none: an added
    rule can make that laxer, if it is laxer than `approval`, or shares no one with another rule.
    """
    parts = (policy.root, *policy.servers.values())
    return any(entry.effect is not None for part in parts for entry in part.entries)


def _other_channels(policy: Policy) -> bool:
    """Whether some rule announces its calls elsewhere than `approval` does."""
    return any(rule.terms.channel != policy.terms.channel for rule in _holds(policy))


def _shared(policy: Policy) -> bool:
    """Whether someone is a reviewer in all rules together."""
    return strictest([policy.terms, *(rule.terms for rule in _holds(policy))]) is not None


def _holds(policy: Policy) -> Iterator[HoldRule]:
    for part in (policy.root, *policy.servers.values()):
        for entry in (part.all_tools, *part.entries):
            yield from entry.holds
