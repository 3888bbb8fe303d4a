"""What differs between two texts, by line and by word. Pure, on difflib, whose cost is reckoned
before it is asked: it may be the cube of the length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

from web.views.viewers.spans import Effort, Line, Mark, MarkedText, joined, lines_of

_WORD: Final = re.compile(r"[^\S\n]?\w+|\n|[^\w\n]")
_LITTLE: Final = 3  # characters of an equal run that is not worth a break between two changes
_ALIKE: Final = 0.35  # share of equal characters from which two texts are versions of one
_MOST: Final = 100_000  # characters of a text that is compared

Step = tuple[str, int, int, int, int]


def steps(old: Sequence[str], new: Sequence[str], effort: Effort) -> list[Step]:
    """How the one becomes the other, as difflib tells it; what is too dear is one replacement."""
    start, short = 0, min(len(old), len(new))
    while start < short and old[start] == new[start]:
        start += 1
    end = 0
    while end < short - start and old[-1 - end] == new[-1 - end]:
        end += 1
    found: list[Step] = [("equal", 0, start, 0, start)] if start else []
    was, now = old[start : len(old) - end], new[start : len(new) - end]
    if was or now:
        counts = Counter(was)
        pairs = sum(counts[one] for one in now)
        dear = (len(was) + len(now) + pairs) * (min(len(was), len(now)) + 1)
        if was and now and effort.take(dear):
            within = SequenceMatcher(None, was, now, autojunk=False).get_opcodes()
        else:
            tag = "replace" if was and now else "delete" if was else "insert"
            within = [(tag, 0, len(was), 0, len(now))]  # type: ignore[list-item]
        found += [(tag, a + start, b + start, c + start, d + start) for tag, a, b, c, d in within]
    if end:
        found.append(("equal", len(old) - end, len(old), len(new) - end, len(new)))
    return found


def changed(old: str, new: str, effort: Effort) -> tuple[MarkedText, ...] | None:
    """The new text with what came and what went marked in it; None where little of it is old."""
    if max(len(old), len(new)) > _MOST:
        return None
    spans = joined(_settled(_by_line(old, new, effort)))
    same = sum(len(span.text) for span in spans if not span.mark)
    return spans if same >= _ALIKE * max(len(old), len(new)) else None


def _by_line(old: str, new: str, effort: Effort) -> Iterator[MarkedText]:
    was, now = old.splitlines(keepends=True), new.splitlines(keepends=True)
    for tag, a, b, c, d in steps(was, now, effort):
        before, after = "".join(was[a:b]), "".join(now[c:d])
        if tag == "equal":
            yield MarkedText(after)
        else:
            yield from _by_word(before, after, effort)


def _by_word(old: str, new: str, effort: Effort) -> Iterator[MarkedText]:
    was, now = _WORD.findall(old), _WORD.findall(new)
    for tag, a, b, c, d in steps(was, now, effort):
        if tag == "equal":
            yield MarkedText("".join(now[c:d]))
        else:
            yield MarkedText("".join(was[a:b]), "went")
            yield MarkedText("".join(now[c:d]), "came")


def _settled(spans: Iterator[MarkedText]) -> Iterator[MarkedText]:
    """What went and what came each in one piece, where only a blank or a comma stands between."""
    went: list[str] = []
    came: list[str] = []
    between = ""
    for span in spans:
        if not span.text:
            continue
        if span.mark:
            went.append(between + span.text if span.mark == "went" else between)
            came.append(between + span.text if span.mark == "came" else between)
            between = ""
        elif (went or came) and not between and _slight(span.text):
            between = span.text
        else:
            yield from _both(went, came)
            yield MarkedText(between + span.text)
            went, came, between = [], [], ""
    yield from _both(went, came)
    yield MarkedText(between)


def _slight(text: str) -> bool:
    return len(text) <= _LITTLE and "\n" not in text


def _both(went: list[str], came: list[str]) -> Iterator[MarkedText]:
    old, new = "".join(went), "".join(came)
    if old == new:  # both only what stood between
        yield MarkedText(new)
        return
    blank = old[:1] if old[:1] == new[:1] == " " else ""
    yield MarkedText(blank)
    yield MarkedText(old.removeprefix(blank), "went")
    yield MarkedText(new.removeprefix(blank), "came")


def numbered(old: str, new: str, effort: Effort) -> list[Line] | None:
    """All lines of both with their numbers, what differs marked within; None: not worth it."""
    if max(len(old), len(new)) > _MOST:
        return None
    was, now = lines_of(old)[0], lines_of(new)[0]
    found: list[Line] = []
    same = 0
    for tag, a, b, c, d in steps(was, now, effort):
        if tag == "equal":
            same += d - c
            found += [
                Line((MarkedText(now[at]),), "", str(a + at - c + 1), str(at + 1))
                for at in range(c, d)
            ]
            continue
        marked = pairs(was[a:b], now[c:d], effort)
        found += [Line(one, "went", str(a + at + 1)) for at, one in enumerate(marked[0])]
        found += [Line(one, "came", "", str(c + at + 1)) for at, one in enumerate(marked[1])]
    return found if same >= _ALIKE * len(now) or _few(found) else None


def _few(lines: list[Line]) -> bool:
    """Whether marks within the lines show what changed, though no line stayed."""
    return any(not span.mark and len(span.text) > _LITTLE for line in lines for span in line.spans)


def pairs(
    was: Sequence[str], now: Sequence[str], effort: Effort
) -> tuple[list[tuple[MarkedText, ...]], list[tuple[MarkedText, ...]]]:
    """Lines that stand for each other, on both sides; marked where they are versions of one."""
    before: list[tuple[MarkedText, ...]] = [(MarkedText(line),) for line in was]
    after: list[tuple[MarkedText, ...]] = [(MarkedText(line),) for line in now]
    for at, (old, new) in enumerate(zip(was, now, strict=False)):
        spans = changed(old, new, effort)
        if spans is not None:
            before[at] = _side(spans, "came")
            after[at] = _side(spans, "went")
    return before, after


def _side(spans: tuple[MarkedText, ...], other: Mark) -> tuple[MarkedText, ...]:
    return tuple(span for span in spans if span.mark != other)
