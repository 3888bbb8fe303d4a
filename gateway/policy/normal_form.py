"""The normal form of a policy: what is enforced, in the present spelling, nothing else. Pure.

`signoff policy show` prints it and its canonical JSON is what the policy's hash is taken of.
Loading it again gives the same verdicts. Descriptions are left out: they change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from approvals.model import EFFECT_KEPT
from gateway.policy.conditions import Condition, Match
from gateway.policy.limit import Limit
from gateway.policy.paths import text_of
from gateway.policy.reading import brief
from gateway.policy.reviewers import Group, Groups
from gateway.policy.rules import EffectRule, Entry, HoldRule, Rule, Section
from gateway.policy.vocabulary import WINDOWS


def normal_form(
    root: Section,
    servers: Mapping[str, Section],
    groups: Groups,
    approval: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole document."""
    document: dict[str, Any] = {"version": "1"}
    if groups:
        document["reviewers"] = {name: group(one) for name, one in groups.items()}
    if approval:
        document["approval"] = dict(approval)
    document |= section(root)
    if servers:
        document["servers"] = {name: section(part) for name, part in servers.items()}
    return document


def group(one: Group) -> Any:
    """A list of names, and more than that only where the group has a channel."""
    members = list(one.members)
    return members if one.channel is None else {"members": members, "channel": one.channel}


def section(part: Section) -> dict[str, Any]:
    """The document's own rules, or those of a server."""
    result: dict[str, Any] = {}
    if part.default is not None:
        result["default"] = part.default
    if part.hide:
        result["hide"] = list(part.hide)
    if part.redact:
        result["redact"] = [path.text for path in part.redact]
    all_tools = entry(part.all_tools)
    if all_tools:
        result["all_tools"] = all_tools
    result["tools"] = {one.name: entry(one) for one in part.entries}
    return result


def entry(one: Entry) -> dict[str, Any]:
    """One tool's rules; {} allows it."""
    denials = one.deny_if if one.deny is None else (one.deny, *one.deny_if)
    parts: dict[str, Any] = {
        "deny_if": [deny_rule(rule) for rule in denials],
        "require": [deny_rule(rule, "every") for rule in one.require],
        "require_approval": None if one.approve is None else _approval(one.approve),
        "approve_if": [hold_rule(rule) for rule in one.approve_if],
        "summary": one.summary or None,
        "limits": [limit(each) for each in one.limits],
        "redact": [path.text for path in one.redact],
        **({} if one.effect is None else effect(one.effect)),
    }
    return {key: value for key, value in parts.items() if value not in (None, [])}


def effect(one: EffectRule) -> dict[str, Any]:
    """What a call does in the world, and what differs from the defaults for it."""
    return {
        "effect": one.text,
        "effect_for": None if one.keep == EFFECT_KEPT else brief(one.keep),
        "effect_again": "ask" if one.again else None,
    }


def condition(one: Condition, usual: Match) -> dict[str, Any]:
    """`match` only where it is not what `[*]` means in this kind of rule anyway."""
    value = list(one.value) if isinstance(one.value, tuple) else one.value
    written = {"path": one.path.text, "op": one.op, "value": value}
    return written | ({"match": one.match} if one.match != usual else {})


def deny_rule(rule: Rule, usual: Match = "any") -> dict[str, Any]:
    """One element of `deny_if` or `require`."""
    result: dict[str, Any] = {"conditions": [condition(one, usual) for one in rule.conditions]}
    if rule.reason:
        result["on_deny"] = rule.reason
    return result


def hold_rule(rule: HoldRule) -> dict[str, Any]:
    """One element of `approve_if`."""
    result: dict[str, Any] = {"conditions": [condition(one, "any") for one in rule.conditions]}
    if rule.reason:
        result["reason"] = rule.reason
    return result | dict(rule.written)


def _approval(rule: HoldRule) -> Any:
    stated = hold_rule(rule)
    del stated["conditions"]
    return stated or True


def limit(one: Limit) -> dict[str, Any]:
    result: dict[str, Any] = {
        "counter": one.counter,
        "window": one.window_name if one.window_name in WINDOWS else one.window,
        "max": _number(one.max),
        "scope": one.scope,
    }
    if one.increment_from is not None:
        result["increment_from"] = text_of(one.increment_from)
    return result


def _number(value: Decimal) -> float:
    whole = int(value)
    return whole if whole == value else float(value)
