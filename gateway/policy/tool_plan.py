"""Everything a policy says of one tool of one server, found once and kept. Pure.

Order: the exact name, globs from the most specific on, the server's exact name and globs, then
`all_tools` of the document and of the server: never the order of keys in the file, which the hash
of a policy does not tell. The first effect, channel and summary count. Denials of `action: deny`
come before every `deny_if`, those before every `require`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.policy.limit import Limit
from gateway.policy.pattern import matches
from gateway.policy.reading import TOOL_NAME
from gateway.policy.rules import Entry, Plan, Policy, Section

MAX_PLANS = 8192
"""How many tools are remembered; an agent inventing names makes us look up again, no more."""


def make_plan(policy: Policy, server: str, tool: str) -> Plan:
    """Looks through the whole policy; `judge.plan_of` keeps the result."""
    section = policy.section(server)
    sections = (policy.root,) if section is None else (policy.root, section)
    named = TOOL_NAME.fullmatch(tool) is not None
    own = tuple(entry for part in sections for entry in _matching(part, tool)) if named else ()
    entries = (*own, *(part.all_tools for part in sections))
    masks = (*(part.redact for part in sections), *(one.redact for one in entries))
    redact = tuple(dict.fromkeys(path for paths in masks for path in paths))
    return Plan(
        named=named,
        hidden=not named
        or any(matches(pattern, tool) for part in sections for pattern in part.hide),
        listed=bool(own),
        default=policy.default_for(server),
        entries=entries,
        denials=tuple(entry.deny for entry in entries if entry.deny is not None),
        deny_if=tuple(rule for entry in entries for rule in entry.deny_if),
        require=tuple(rule for entry in entries for rule in entry.require),
        limits=_strictest(limit for entry in entries for limit in entry.limits),
        holds=tuple(rule for entry in entries for rule in entry.holds),
        effect=next((entry.effect for entry in entries if entry.effect is not None), None),
        summary=next((entry.summary for entry in entries if entry.summary), ""),
        redact=redact,
        redact_texts=tuple(dict.fromkeys(path.text for path in redact)),
    )


def _matching(section: Section, tool: str) -> Iterator[Entry]:
    if tool in section.exact:
        yield section.exact[tool]
    for entry in section.globs:
        if matches(entry.name, tool):
            yield entry


def _strictest(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """One limit per counter and amount: a call met twice by one counter is counted once."""
    kept: dict[tuple[object, ...], Limit] = {}
    for limit in limits:
        key = (limit.counter, limit.window, limit.scope, limit.increment_from)
        if key not in kept or limit.max < kept[key].max:
            kept[key] = limit
    return tuple(kept.values())
