"""Pieces of foreign text, each with a mark of ours that says how it is drawn. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

Mark = Literal["", "came", "went", "word", "quote", "digit", "remark", "ours"]
"""Came and went: against the earlier call. Word, quote, digit, remark: keywords, texts, numbers and
comments of a language. Ours: words of the page's, not of the call.
"""

_GAP: Final = re.compile(r"[ \t]{60,}")
_EMPTY_LINES: Final = re.compile(r"\n(?:[ \t\r]*+\n){8,}+")
_EFFORT: Final = 3_000_000
_SECONDS: Final = 0.4
_LISTED: Final = 15


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A run of text in one dress."""

    text: str
    mark: Mark = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of code or of a difference, with its number on either side."""

    spans: tuple[MarkedText, ...]
    sort: str = ""  # "came", "went", "at"
    old: str = ""
    new: str = ""


@dataclass(slots=True)
class Effort:
    """What reading one call may still cost, so that no text of an agent's makes a page dear: steps
    of comparing, counted before they are spent, and seconds of colouring.
    """

    left: int = _EFFORT
    seconds: float = _SECONDS  # of the thread that reads

    @classmethod
    def of(cls, *, full: bool) -> Effort:
        """In the list many calls are read at once, and what is long is not."""
        return cls() if full else cls(_EFFORT // _LISTED, _SECONDS / _LISTED)

    def take(self, steps: int) -> bool:
        if steps > self.left:
            return False
        self.left -= steps
        return True


def joined(spans: Iterable[MarkedText]) -> tuple[MarkedText, ...]:
    """The same with neighbours of one mark put together, and nothing empty."""
    found: list[MarkedText] = []
    texts: list[str] = []
    mark: Mark = ""
    for span in spans:
        if not span.text:
            continue
        if texts and span.mark != mark:
            found.append(MarkedText("".join(texts), mark))
            texts = []
        mark = span.mark
        texts.append(span.text)
    if texts:
        found.append(MarkedText("".join(texts), mark))
    return tuple(found)


def lines_of(text: str) -> tuple[list[str], str]:
    r"""The lines without their ordinary ends, and what is unusual about the ends. Where every line
    ends in \r\n that is said once; elsewhere each \r stays in its line, where it is seen.
    """
    note = ""
    breaks = text.count("\n")
    if breaks and text.count("\r\n") == breaks == text.count("\r"):
        found, note = text.split("\r\n"), "lines end in CR LF"
    else:
        found = text.split("\n")
    if len(found) > 1 and not found[-1]:
        found.pop()
    return found, note


def spread(text: str) -> Iterator[str]:
    """What of a text may lie out of sight though nothing of it is left out: far to the right, or
    far below.
    """
    gap = max((len(run.group()) for run in _GAP.finditer(text)), default=0)
    if gap:
        yield f"a gap of {gap:,} spaces in it"
    empty = max((run.group().count("\n") for run in _EMPTY_LINES.finditer(text)), default=0)
    if empty:
        yield f"{empty - 1:,} empty lines in a row"
