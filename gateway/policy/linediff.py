"""The changed lines of a text, for people. Pure, and linear where a text is large or hostile."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

CONTEXT: Final = 3
"""Lines around a change."""

MOST: Final = 2_000
"""Lines shown at most."""

_CLOSELY: Final = 400
"""Changed lines of either side up to which single lines are matched: what that costs grows with
their product, and anyone who wrote the text chose them.
"""


def changed(before: str, after: str) -> Iterator[tuple[str, str]]:
    """(" ", "+", "-" or "@", the line), at most MOST and one that says how many are left out."""
    shown = 0
    for line in _changed(before.splitlines(), after.splitlines()):
        shown += 1
        if shown <= MOST:
            yield line
    if shown > MOST:
        yield "@", f"and {shown - MOST} more lines: see the file"


def _changed(old: list[str], new: list[str]) -> Iterator[tuple[str, str]]:
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    middle = old[head : len(old) - tail], new[head : len(new) - tail]
    if max(map(len, middle)) <= _CLOSELY:
        yield from _closely(old, new, head, tail)
    elif any(middle):
        start = max(0, head - CONTEXT)
        yield "@", f"@@ line {start + 1} @@"
        yield from ((" ", line) for line in old[start:head])
        yield from (("-", line) for line in middle[0])
        yield from (("+", line) for line in middle[1])
        end = len(new) - tail
        yield from ((" ", line) for line in new[end : end + CONTEXT])


def _closely(old: list[str], new: list[str], head: int, tail: int) -> Iterator[tuple[str, str]]:
    start, after = max(0, head - CONTEXT), max(0, tail - CONTEXT)
    sides = old[start : len(old) - after], new[start : len(new) - after]
    for number, line in enumerate(difflib.unified_diff(*sides, lineterm="", n=CONTEXT)):
        if number > 1:  # two lines of names come first
            yield line[0], line if line.startswith("@") else line[1:]
