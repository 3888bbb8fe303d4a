"""Rules that let more through than they seem to say. Pure; it warns and judges nothing.

Seen without a call: an `exists` that takes back what absence closes, a `.` in a host, a folder that
`..` leads out of, and facts that are the agent's to choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from gateway.policy.conditions import FALSE, NEGATIVE, TRUE, Condition, truth_of
from gateway.policy.problems import Report, shown, step
from gateway.policy.rules import Entry, Rule

_UP: Final = "../../etc/passwd"
_LITERAL: Final = re.compile(r"\\[^A-Za-z0-9]|[^\\.\[\](){}*+?|^$]")
_QUANTIFIERS: Final = "*+?{"
_ORIGIN: Final = re.compile(r"^[a-z][a-z0-9+.-]*://[^/]*")
_DOTTED: Final = re.compile(r"[A-Za-z0-9.\\-]+")
_DOT: Final = re.compile(r"\\?\.")
_BARE_DOT: Final = re.compile(r"(?<!\\)\.")
_LONGEST_END: Final = 24  # characters of a top-level domain
_HOST_KEYS: Final = frozenset(
    {
        *("bcc", "cc", "domain", "email", "endpoint", "from", "host", "hostname", "origin"),
        *("recipient", "recipients", "site", "to", "uri", "url", "urls", "webhook"),
    }
)
_TOP_LEVEL: Final = frozenset(
    {
        *("app", "biz", "cloud", "co", "com", "de", "dev", "edu", "eu", "gov"),
        *("info", "int", "io", "net", "org", "uk"),
    }
)
_CHOSEN: Final = {
    "client.name": ("what the agent's program calls itself", "Ask for grant.label instead."),
    "session.calls": (
        "counted again in every session the agent opens",
        'Write `limits` with "scope": "grant".',
    ),
}


def look(entry: Entry, around: tuple[Entry, ...], report: Report) -> None:
    """Warn of one entry's rules; `around` are entries that apply to its tools as well."""
    for rule in (*entry.deny_if, *entry.approve_if):
        _absent(rule, report)
    for rule in (*entry.deny_if, *entry.require, *entry.approve_if):
        for place, condition in _placed(rule):
            _host(condition, place, report)
            if condition.path.root in _CHOSEN:
                what, write = _CHOSEN[condition.path.root]
                report.warn(place, f"`{condition.path.root}` is {what}.", write)
    for place, condition in _folders(entry):
        probe = _prefix(condition) + _UP
        if not any(_stops(one, condition, probe) for one in (entry, *around)):
            name = condition.path.text
            what = f"`..` leads out of {shown(_prefix(condition))}: {shown(probe)} passes."
            write = f'Add {{"path": "{name}", "op": "contains", "value": ".."}} to `deny_if`.'
            report.warn(place, what, write)


def _placed(rule: Rule) -> Iterator[tuple[str, Condition]]:
    for at, condition in enumerate(rule.conditions):
        yield step(step(rule.pointer, "conditions"), at), condition


def _absent(rule: Rule, report: Report) -> None:
    negated = {one.path.text for one in rule.conditions if one.op in NEGATIVE}
    for place, condition in _placed(rule):
        name = condition.path.text
        if condition.op == "exists" and condition.value is True and name in negated:
            what = f"This lets a call without `{name}` through: without it, absence fires the rule."
            report.warn(place, what, "Remove it, unless a call without the value may pass.")


def _host(condition: Condition, place: str, report: Report) -> None:
    if condition.op not in ("regex", "not_regex") or not isinstance(condition.value, str):
        return
    pattern = condition.value
    key = next((one for one in reversed(condition.path.steps) if isinstance(one, str)), "")
    for found in _DOTTED.finditer(pattern):
        host, before = found[0].lstrip("\\."), pattern[: found.start()].rstrip("(?:[^")
        if not _is_host(host) or pattern[found.end() : found.end() + 1] in tuple(_QUANTIFIERS):
            continue
        meant = (
            before.endswith(("@", "/", "@(", "\\/"))
            or key.lower() in _HOST_KEYS
            or _DOT.split(host)[-1].lower() in _TOP_LEVEL
        )
        if meant and _BARE_DOT.search(host):
            other = _BARE_DOT.sub("x", host, count=1).replace("\\", "")
            what = f"`.` in {shown(host)} is any character: {shown(other)} fits as well."
            right = _BARE_DOT.sub(lambda _: "\\.", host).replace("\\", "\\\\")
            report.warn(place, what, f'Write "{right}": in JSON a dot of a regex is \\\\. .')
            return


def _is_host(text: str) -> bool:
    """Whether it is letters, digits and hyphens between dots, and ends in letters."""
    labels = _DOT.split(text)
    end = labels[-1]
    return (
        len(labels) > 1
        and all(label and "\\" not in label for label in labels)
        and end.isalpha()
        and 1 < len(end) <= _LONGEST_END
    )


def _folders(entry: Entry) -> Iterator[tuple[str, Condition]]:
    """Conditions that keep a call within a folder by how its path begins."""
    if entry.deny is not None or entry.approve is not None:
        return
    kept: list[tuple[Rule, tuple[str, ...]]]
    kept = [(rule, ("regex", "starts_with")) for rule in entry.require]
    kept += [(rule, ("not_regex",)) for rule in (*entry.deny_if, *entry.approve_if)]
    for rule, operators in kept:
        for place, condition in _placed(rule):
            if condition.op in operators and condition.path.root == "args":
                folder = _ORIGIN.sub("", _prefix(condition))
                if len(folder) > 1 and ("/" in folder or "\\" in folder):
                    yield place, condition


def _prefix(condition: Condition) -> str:
    """The text that every value begins with; "" if the condition names none."""
    if not isinstance(condition.value, str) or condition.op == "starts_with":
        return str(condition.value)
    pattern = condition.value
    if not pattern.startswith("^") or "|" in pattern:
        return ""
    at, parts = 1, []
    while (found := _LITERAL.match(pattern, at)) is not None:
        parts.append(found[0].removeprefix("\\"))
        at = found.end()
    if parts and pattern[at : at + 1] and pattern[at] in _QUANTIFIERS:
        parts.pop()
    return "".join(parts)


def _stops(entry: Entry, bound: Condition, probe: str) -> bool:
    """Whether some rule on the same argument alone refuses or holds this value."""
    if entry.deny is not None or entry.approve is not None:
        return True
    for rule in (*entry.deny_if, *entry.approve_if):
        if all(_same(one, bound) and truth_of(one, probe) is not FALSE for one in rule.conditions):
            return True
    return any(
        _same(one, bound) and truth_of(one, probe) is not TRUE
        for rule in entry.require
        for one in rule.conditions
    )


def _same(one: Condition, other: Condition) -> bool:
    return one.path.text == other.path.text
