"""Unified differences, read line by line. Pure.

What a patch says of itself may be untrue: a line counts as added or removed only where its hunk has
room for it, and every line is shown whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from web.views.viewers.spans import Effort, Line, MarkedText, lines_of
from web.views.viewers.words import pairs

_HUNK: Final = re.compile(
    r"@@ -(\d{1,7})(?:,(\d{1,7}))? \+(\d{1,7})(?:,(\d{1,7}))? @@", flags=re.ASCII
)


@dataclass(frozen=True, slots=True)
class Patch:
    lines: tuple[Line, ...]
    plus: int
    minus: int
    note: str  # what is unusual about its line ends
    loose: int  # lines that stand where no hunk has room for them


def patch_of(text: str, effort: Effort) -> Patch | None:
    """The patch that the text is; None if it is none."""
    if "@@ -" not in text:
        return None
    written, note = lines_of(text)
    lines = list(_read(written))
    plus = sum(line.sort == "came" for line in lines)
    minus = sum(line.sort == "went" for line in lines)
    if not plus and not minus:
        return None
    loose = sum(line.sort == "loose" for line in lines)
    return Patch(tuple(_marked(lines, effort)), plus, minus, note, loose)


def _read(written: list[str]) -> Iterator[Line]:
    old = new = room_old = room_new = 0
    for line in written:
        kind = line[:1]
        if kind == "-" and room_old:
            yield Line((MarkedText(line[1:]),), "went", str(old), "")
            old, room_old = old + 1, room_old - 1
        elif kind == "+" and room_new:
            yield Line((MarkedText(line[1:]),), "came", "", str(new))
            new, room_new = new + 1, room_new - 1
        elif kind in (" ", "") and room_old and room_new:
            yield Line((MarkedText(line[1:]),), "", str(old), str(new))
            old, room_old = old + 1, room_old - 1
            new, room_new = new + 1, room_new - 1
        else:
            head = _HUNK.match(line)
            if head is not None:
                old, new = int(head[1]), int(head[3])
                room_old, room_new = _count(head[2]), _count(head[4])
            loose = kind in ("+", "-", " ") and not line.startswith(("+++ ", "--- "))
            yield Line((MarkedText(line),), "loose" if loose else "at")


def _count(written: str | None) -> int:
    return 1 if written is None else int(written)


def _marked(lines: list[Line], effort: Effort) -> Iterator[Line]:
    """With the words marked where lines came right behind lines that went."""
    at = 0
    while at < len(lines):
        went = _run(lines, at, "went")
        came = _run(lines, at + went, "came")
        if went and came:
            old, new = lines[at : at + went], lines[at + went : at + went + came]
            was, now = pairs(_texts(old), _texts(new), effort)
            yield from (replace(line, spans=one) for line, one in zip(old, was, strict=True))
            yield from (replace(line, spans=one) for line, one in zip(new, now, strict=True))
        else:
            yield from lines[at : at + max(1, went + came)]
        at += max(1, went + came)


def _run(lines: list[Line], at: int, sort: str) -> int:
    end = at
    while end < len(lines) and lines[end].sort == sort:
        end += 1
    return end - at


def _texts(lines: list[Line]) -> list[str]:
    return [line.spans[0].text for line in lines]
