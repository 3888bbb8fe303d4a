"""Older spellings of one tool's entry, rewritten to the present form. Pure.

`action`, `rate_limit`, `approval_timeout` and their companions become rules; each rewritten rule
keeps the pointer of the entry it was written in, so that a refusal names what the author wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.policy import reading, vocabulary
from gateway.policy.problems import Report, shown, step

_SHORT_RATE = re.compile(r"(\d{1,15})/([a-z]+|\d{1,9})")
_TEXTS = ("reason", "on_deny")


@dataclass(slots=True, kw_only=True)
class Rewritten:
    """An entry in the present form. Rules carry the pointer of where they were written."""

    deny: dict[str, Any] | None = None
    approve: Any = None  # of `require_approval`: a bool or an object
    approve_pointer: str = ""
    approve_if: list[tuple[str, Any]] = field(default_factory=list)
    limits: list[tuple[str, Any]] = field(default_factory=list)
    hide: bool = False


def rewrite(entry: Mapping[str, Any], pointer: str, counter: str, report: Report) -> Rewritten:
    """What the older keys of the entry mean. `counter` is the name a `rate_limit` counts under."""
    new = Rewritten()
    if "require_approval" in entry:
        new.approve = entry["require_approval"]
        new.approve_pointer = step(pointer, "require_approval")
    if "rate_limit" in entry:
        limit = _rate_limit(entry["rate_limit"], step(pointer, "rate_limit"), report)
        if limit is not None:
            new.limits.append((step(pointer, "rate_limit"), {"counter": counter, **limit}))
    action = None
    if "action" in entry:
        place = step(pointer, "action")
        action = reading.one_of(entry["action"], place, vocabulary.ACTIONS, report, what="`action`")
        if action is None:
            return new
    match action:
        case "deny":
            _deny(entry, pointer, new, report)
        case "hide":
            new.hide = True
            _stray(entry, pointer, ("conditions", vocabulary.OLDER_EXPIRES), "hide", report)
        case "require_approval":
            _approval(entry, pointer, new, report)
        case "allow":
            _stray(
                entry, pointer, ("conditions", vocabulary.OLDER_EXPIRES, *_TEXTS), "allow", report
            )
        case _:
            _bare(entry, pointer, new, report)
    _contradictions(entry, pointer, action, report)
    return new


def _deny(entry: Mapping[str, Any], pointer: str, new: Rewritten, report: Report) -> None:
    new.deny = {"conditions": [], **{key: entry[key] for key in _TEXTS if key in entry}}
    if entry.get("conditions"):
        report.error(
            step(pointer, "conditions"),
            "`action: deny` refuses every call, so conditions would be ignored.",
            'Write "deny_if": [{"conditions": […], "on_deny": "…"}] instead of `action`.',
        )
    _stray(entry, pointer, (vocabulary.OLDER_EXPIRES,), "deny", report)


def _approval(entry: Mapping[str, Any], pointer: str, new: Rewritten, report: Report) -> None:
    rule: dict[str, Any] = {}
    if "reason" in entry:
        rule["reason"] = entry["reason"]
    if vocabulary.OLDER_EXPIRES in entry:
        rule[vocabulary.OLDER_EXPIRES] = entry[vocabulary.OLDER_EXPIRES]
    _stray(entry, pointer, ("on_deny",), "require_approval", report)
    if entry.get("conditions"):
        new.approve_if.append((pointer, {"conditions": entry["conditions"], **rule}))
    elif "conditions" in entry and entry["conditions"] != []:
        reading.items(entry["conditions"], step(pointer, "conditions"), report, what="`conditions`")
    elif new.approve_pointer and isinstance(new.approve, dict):
        new.approve = {**rule, **new.approve}
    else:
        new.approve, new.approve_pointer = rule or True, pointer


def _bare(entry: Mapping[str, Any], pointer: str, new: Rewritten, report: Report) -> None:
    """No action: texts and time-outs belong to `require_approval: true`, or to nothing."""
    if new.approve is True:
        rule = {"reason": entry["reason"]} if "reason" in entry else {}
        if vocabulary.OLDER_EXPIRES in entry:
            rule[vocabulary.OLDER_EXPIRES] = entry[vocabulary.OLDER_EXPIRES]
        new.approve = rule or True
        stray: tuple[str, ...] = ("conditions", "on_deny")
    else:
        stray = ("conditions", vocabulary.OLDER_EXPIRES, *_TEXTS)
    for key in stray:
        if key in entry:
            report.error(
                step(pointer, key),
                f"`{key}` here belongs to no rule.",
                "Put it into an element of deny_if, require or approve_if.",
            )


def _stray(
    entry: Mapping[str, Any], pointer: str, keys: tuple[str, ...], action: str, report: Report
) -> None:
    for key in keys:
        if entry.get(key):
            report.error(
                step(pointer, key),
                f"`{key}` means nothing beside `action: {action}`.",
                "Remove it, or put it into an element of deny_if, require or approve_if.",
            )


def _contradictions(
    entry: Mapping[str, Any], pointer: str, action: str | None, report: Report
) -> None:
    clashing = {
        "deny": ("limits", "rate_limit", "require", "approve_if", "require_approval"),
        "hide": ("limits", "rate_limit", "require", "deny_if", "approve_if", "require_approval"),
        "allow": ("require_approval",),
    }.get(action or "", ())
    for key in clashing:
        if entry.get(key):
            report.error(
                step(pointer, key),
                f"`action: {action}` contradicts `{key}`.",
                f"Remove `action`, or remove `{key}`.",
            )
    if action == "require_approval" and entry.get("require_approval") is False:
        report.error(
            step(pointer, "require_approval"),
            "`action: require_approval` contradicts `require_approval: false`.",
            "Remove one of them.",
        )


def _rate_limit(raw: Any, pointer: str, report: Report) -> dict[str, Any] | None:
    """`"5/hour"` or `{"max": 10, "window": 60}` as max, window and scope."""
    if isinstance(raw, dict):
        known = reading.members(raw, pointer, vocabulary.RATE_LIMIT, report, what="`rate_limit`")
        return {**(known or {}), "scope": "grant"}
    found = _SHORT_RATE.fullmatch(raw) if isinstance(raw, str) and raw.isascii() else None
    if found is None:
        what = f"`rate_limit` must not be {shown(raw)}."
        report.error(pointer, what, 'Write "5/hour" or {"max": 10, "window": 60}.')
        return None
    window = found[2]
    return {
        "max": int(found[1]),
        "window": int(window) if window.isdigit() else window,
        "scope": "grant",
    }
