"""Typed readers of single fields: each returns the value, or None after reporting what is wrong.

Pure. They know JSON types, names and durations, not what the fields mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.policy.problems import Report, choose, shown, step

TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
TOOL_PATTERN = re.compile(r"[A-Za-z0-9_.*?-]{1,128}")
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")
_ELSEWHERE = {
    "rules": "Run `signoff policy import FILE`: it translates `rules`.",
    "state": "Write `limits`.",
    "name": "Write `description`.",
}
_TEXT_LIMIT = 1000
_UNIT_SECONDS = (86_400, 3_600, 60, 1)


def members(
    raw: Any, pointer: str, known: Iterable[str], report: Report, *, what: str
) -> dict[str, Any] | None:
    """The object's members; unknown keys are errors, and left out."""
    if not isinstance(raw, dict):
        report.error(pointer, f"{what} must be an object, not {shown(raw)}.", "Write { … }.")
        return None
    names = frozenset(known)
    if "description" in raw and "description" in names:
        text(raw["description"], step(pointer, "description"), report, what="`description`")
    if names.issuperset(raw):
        return raw
    for key in raw:
        if key in names:
            continue
        advice = _ELSEWHERE.get(key) or choose(key, sorted(names))
        report.error(step(pointer, key), f"Unknown key {shown(key)}.", advice)
    return {key: member for key, member in raw.items() if key in names}


def mapping(raw: Any, pointer: str, report: Report, *, what: str) -> Mapping[str, Any]:
    """An object whose keys are free; {} after reporting anything else."""
    if isinstance(raw, dict):
        return raw
    report.error(pointer, f"{what} must be an object, not {shown(raw)}.", "Write { … }.")
    return {}


def items(raw: Any, pointer: str, report: Report, *, what: str) -> list[tuple[str, Any]]:
    """The elements of a list, each with its pointer."""
    if isinstance(raw, list):
        return [(step(pointer, index), item) for index, item in enumerate(raw)]
    report.error(pointer, f"{what} must be a list, not {shown(raw)}.", "Write [ … ].")
    return []


def text(raw: Any, pointer: str, report: Report, *, what: str) -> str | None:
    """A text that is not empty and at most 1,000 characters."""
    if not isinstance(raw, str) or not raw.strip():
        found = "it is empty" if isinstance(raw, str) else f"not {shown(raw)}"
        report.error(pointer, f"{what} must be a text, {found}.", 'Write "…".')
        return None
    if len(raw) > _TEXT_LIMIT:
        report.error(pointer, f"{what} has {len(raw)} characters.", f"At most {_TEXT_LIMIT}.")
        return None
    return raw


def one_of(raw: Any, pointer: str, known: Iterable[str], report: Report, *, what: str) -> Any:
    """One of the known words."""
    names = tuple(known)
    if isinstance(raw, str) and raw in names:
        return raw
    advice = choose(raw, names) if isinstance(raw, str) else f"Write one of: {', '.join(names)}."
    report.error(pointer, f"{what} must not be {shown(raw)}.", advice)
    return None


def boolean(raw: Any, pointer: str, report: Report, *, what: str) -> bool | None:
    if isinstance(raw, bool):
        return raw
    report.error(pointer, f"{what} must be true or false, not {shown(raw)}.", "Write true.")
    return None


def whole(
    raw: Any, pointer: str, report: Report, *, what: str, least: int, most: int
) -> int | None:
    """A whole number in bounds; 3.0 is none."""
    if isinstance(raw, int) and not isinstance(raw, bool) and least <= raw <= most:
        return raw
    report.error(
        pointer,
        f"{what} must be a whole number from {least} to {most}, not {shown(raw)}.",
        f"Write {least} or more, without quotes.",
    )
    return None


def duration(
    raw: Any, pointer: str, report: Report, *, what: str, least: int, most: int
) -> int | None:
    """Seconds from "30m", "1h30m", "50s", "2d" or a whole number of seconds."""
    seconds: int | None = None
    if isinstance(raw, int) and not isinstance(raw, bool):
        seconds = raw
    elif isinstance(raw, str) and raw and raw.isascii() and (found := _DURATION.fullmatch(raw)):
        parts = zip(found.groups(), _UNIT_SECONDS, strict=True)
        seconds = sum(int(count) * unit for count, unit in parts if count)
    if seconds is None:
        report.error(
            pointer, f"{what} is no duration: {shown(raw)}.", 'Write "50s", "30m", "1h30m" or "2d".'
        )
        return None
    if not least <= seconds <= most:
        report.error(
            pointer,
            f"{what} is {shown(seconds)} s, which is out of bounds.",
            f"Write {brief(least)} to {brief(most)}.",
        )
        return None
    return seconds


def brief(seconds: int) -> str:
    """The shortest spelling of a duration: 5400 is "1h30m"."""
    rest, parts = seconds, []
    for unit, letter in zip(_UNIT_SECONDS, "dhms", strict=True):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"


def pattern(raw: Any, pointer: str, report: Report, *, what: str) -> str | None:
    """A tool name, or a glob over the characters tool names have."""
    if isinstance(raw, str) and TOOL_PATTERN.fullmatch(raw):
        return raw
    report.error(
        pointer,
        f"{what} {shown(raw)} is no tool name and no glob.",
        "Use letters, digits, _ . - and * or ?, at most 128.",
    )
    return None
