"""A policy as it was read before absence, shape and lists closed what was open. Pure.

Then an absent value met no negative operator and fired nothing, `exists` called another shape
absent, and `[*]` meant any element everywhere. Kept to tell what an upgrade judges otherwise; no
call is judged by it.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.policy.conditions import Condition
from gateway.policy.rules import Entry, HoldRule, Policy, Rule, Section


def as_before(policy: Policy) -> Policy:
    """The same rules, with the meaning they had."""
    return replace(
        policy,
        root=_section(policy.root),
        servers={name: _section(section) for name, section in policy.servers.items()},
        plans={},
    )


def _section(section: Section) -> Section:
    return replace(
        section,
        all_tools=_entry(section.all_tools),
        exact={name: _entry(entry) for name, entry in section.exact.items()},
        globs=tuple(_entry(entry) for entry in section.globs),
    )


def _entry(entry: Entry) -> Entry:
    return replace(
        entry,
        deny_if=tuple(_rule(rule) for rule in entry.deny_if),
        require=tuple(_rule(rule) for rule in entry.require),
        approve_if=tuple(_hold(rule) for rule in entry.approve_if),
    )


def _rule(rule: Rule) -> Rule:
    return replace(rule, conditions=tuple(_condition(one) for one in rule.conditions))


def _hold(rule: HoldRule) -> HoldRule:
    return replace(rule, conditions=tuple(_condition(one) for one in rule.conditions))


def _condition(condition: Condition) -> Condition:
    return replace(condition, lenient=True, match="any")
