"""Paths such as `args.items[*].price`: parsed at load, walked for each call. Pure.

Walking tells three things apart: a value, nothing there (null counts as nothing), and something of
a shape the path does not fit (`args.card.number` when the card is a text).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from approvals.lookalike import doubled
from gateway.policy.limit import Step
from gateway.policy.problems import Report, nearest, shown

ROOTS = ("tool.annotations", "tool.risk", "grant.label", "client.name", "session.calls", "args")
ANNOTATIONS = "tool.annotations"
_KEY = r"[^.\[\]\s\"'{}]+"
_PART = re.compile(rf"\.({_KEY})|\[(\d{{1,6}}|\*)\]")
_MAX_STEPS = 32
MAX_ELEMENTS = 10_000
"""How many elements one `[*]` condition looks at; a longer list has the wrong shape."""
_ADVICE = "Write args.NAME, args.LIST[0] or args.LIST[*].NAME."


class Lack(Enum):
    """Why a path led to no value."""

    MISSING = "is absent"
    EMPTY = "has no element"  # a list at `[*]`
    WRONG = "has another shape"
    ALIKE = "stands beside a name that reads like it"


@dataclass(frozen=True, slots=True)
class Path:
    """Where to look: one of ROOTS, then steps."""

    root: str
    steps: tuple[Step, ...]
    text: str
    any_element: bool  # a step is `[*]`

    @property
    def short(self) -> str:
        """The path as people say it: `amount`, not `args.amount`."""
        return self.text.removeprefix("args.")


def parse(raw: Any, pointer: str, report: Report, *, roots: tuple[str, ...] = ROOTS) -> Path | None:
    """The path, or None after reporting."""
    if not isinstance(raw, str):
        report.error(pointer, f"The path must be a text, not {shown(raw)}.", _ADVICE)
        return None
    for root in roots:
        if raw == root or raw.startswith((f"{root}.", f"{root}[")):
            return _steps(raw, root, pointer, report)
    if raw.startswith("state."):
        report.error(pointer, f"{shown(raw)} reads a counter.", "Counters are `limits`: write one.")
        return None
    head = raw.split(".")[0].split("[")[0]
    meant = nearest(head, ("args", "tool", "grant", "client", "session"))
    advice = f'Did you mean "{meant}{raw[len(head) :]}"?' if meant not in ("", head) else ""
    report.error(
        pointer, f"{shown(raw)} begins with none of {', '.join(roots)}.", advice or _ADVICE
    )
    return None


def _steps(raw: str, root: str, pointer: str, report: Report) -> Path | None:
    steps: list[Step] = []
    at = len(root)
    while at < len(raw):
        part = _PART.match(raw, at)
        if part is None:
            report.error(pointer, f"{shown(raw)} stops making sense at {raw[at:]!r:.20}.", _ADVICE)
            return None
        key, index = part.groups()
        steps.append(key if key is not None else None if index == "*" else int(index))
        at = part.end()
    deep = root in ("args", ANNOTATIONS)
    if deep != bool(steps) or len(steps) > _MAX_STEPS:
        report.error(pointer, f"{shown(raw)} names no single value.", _ADVICE)
        return None
    if root == ANNOTATIONS and not (len(steps) == 1 and isinstance(steps[0], str)):
        report.error(
            pointer, f"{shown(raw)} is no annotation.", "Write tool.annotations.destructiveHint."
        )
        return None
    return Path(root, tuple(steps), raw, None in steps)


def text_of(steps: tuple[Step, ...]) -> str:
    """The path inside the arguments as it is written: `args.items[*].price`."""
    return "args" + "".join(
        f".{one}" if isinstance(one, str) else f"[{'*' if one is None else one}]" for one in steps
    )


def covers(outer: Path, inner: Path) -> bool:
    """Whether `inner` can lie at or below `outer`; an index may be any element."""
    if outer.root != inner.root or len(outer.steps) > len(inner.steps):
        return False
    return all(
        one == other or (None in (one, other) and not isinstance(one or other, str))
        for one, other in zip(outer.steps, inner.steps, strict=False)
    )


def find(value: Any, steps: tuple[Step, ...]) -> Any | Lack:
    """The value at the end of steps without `[*]`, or why there is none."""
    for one in steps:
        if value is None:
            return Lack.MISSING
        if isinstance(one, str):
            if not isinstance(value, dict):
                return Lack.WRONG
            if doubled(value, one):
                return Lack.ALIKE
            value = value.get(one)
        else:
            if not isinstance(value, list):
                return Lack.WRONG
            value = value[one] if isinstance(one, int) and one < len(value) else None
    return Lack.MISSING if value is None else value


def find_each(value: Any, steps: tuple[Step, ...]) -> Iterator[Any | Lack]:
    """Every value the steps lead to; a Lack.EMPTY for each list on the way without elements.

    After MAX_ELEMENTS values comes a Lack.WRONG and the end: no one may buy time with a long list.
    """
    for count, found in enumerate(_each(value, steps)):
        if count == MAX_ELEMENTS:
            yield Lack.WRONG
            return
        yield found


def _each(value: Any, steps: tuple[Step, ...]) -> Iterator[Any | Lack]:
    if None not in steps:
        yield find(value, steps)
        return
    at = steps.index(None)
    elements = find(value, steps[:at])
    if isinstance(elements, Lack):
        yield elements
    elif not isinstance(elements, list):
        yield Lack.WRONG
    elif not elements:
        yield Lack.EMPTY
    else:
        for element in elements:
            yield from _each(element, steps[at + 1 :])
