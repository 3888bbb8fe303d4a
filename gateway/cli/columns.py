"""Lists on a terminal: a line an item where the window is wide enough, else a block an item.

What no one may see half of (ids, times, numbers) is never cut and never broken; names give way and
keep their ends, sentences as `Headline.within` says. In a pipe nothing is cut.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from approvals.headline import HIDDEN, Headline
from gateway.cli import show

Cell = str | Headline

_GAP = "  "
_NARROWEST = 8


@dataclass(frozen=True, slots=True)
class Column:
    """How a column gives way."""

    name: str
    least: int = 0  # characters that do at worst; 0: it is never cut
    good: int = 0  # for so many others are left out
    goes: int = 0  # left out where there is no room, the highest first; 0: never
    alone: bool = False  # in a block, a line of its own
    said: str = ""  # in a block, the word before it, for there is no heading
    table_only: bool = False  # left out of blocks


def draw(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a list: as the terminal's width has it, or tab-separated into a pipe."""
    if not sys.stdout.isatty():
        names = [column.name for column in columns]
        show.table(names, [[_text(cell) for cell in row] for row in rows])
        return
    width = shutil.get_terminal_size().columns
    shown = [
        tuple(one if isinstance(one, Headline) else show.line(one) for one in row) for row in rows
    ]
    kept = _kept(columns, shown, width)
    if kept:
        _print_table(columns, shown, kept)
        return
    for row in shown:
        for line in _block(columns, row, width):
            print(line)


def _kept(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int
) -> dict[int, int] | None:
    """The columns that have room, by place, and how wide they are; None: too few have."""
    full = {
        at: max([len(column.name), *(_size(_text(row[at])) for row in rows)])
        for at, column in enumerate(columns)
        if any(_text(row[at]) for row in rows)
    }
    kept = {
        at: min(size, columns[at].good or columns[at].least or size) for at, size in full.items()
    }
    while _line_width(kept) > width:
        last = max(kept, key=lambda at: columns[at].goes)
        if not columns[last].goes:
            break
        del kept[last]
    if _line_width(kept) > width:
        kept = {at: min(size, columns[at].least or size) for at, size in kept.items()}
    if _line_width(kept) > width:
        return None
    for at in sorted(kept, key=lambda at: not columns[at].alone):  # sentences first
        kept[at] = min(full[at], kept[at] + width - _line_width(kept))
    return kept


def _line_width(kept: dict[int, int]) -> int:
    return sum(kept.values()) + len(_GAP) * (len(kept) - 1)


def _print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], kept: dict[int, int]
) -> None:
    heading = _GAP.join(_padded(columns[at].name, size) for at, size in kept.items()).rstrip()
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    print(heading if plain else f"\x1b[1m{heading}\x1b[0m")
    for row in rows:
        cells = (_padded(_fitting(row[at], size), size) for at, size in kept.items())
        print(_GAP.join(cells).rstrip())


def _block(columns: Sequence[Column], row: Sequence[Cell], width: int) -> Iterator[str]:
    """All of one item: short things side by side, then each sentence on its line."""
    room = max(_NARROWEST, width - len(_GAP))
    line = ""
    for column, cell in zip(columns, row, strict=True):
        text = _text(cell)
        if column.alone or column.table_only or not text:
            continue
        word = f"{column.said} {text}" if column.said else text
        word = _fitting(word, room) if column.least else word
        if line and _size(line + _GAP + word) > width:
            yield line
            line = _GAP + word
        else:
            line = line + _GAP + word if line else word
    yield line
    for column, cell in zip(columns, row, strict=True):
        if column.alone and _text(cell):
            yield _GAP + _fitting(cell, room)


def _text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Headline) else cell


def _fitting(cell: Cell, room: int) -> str:
    if isinstance(cell, Headline):
        return cell.within(room, _size).text
    if _size(cell) <= room:
        return cell
    for left in range(room - 1, 0, -1):  # wide characters take two places
        tail = left // 3
        found = cell[: left - tail] + HIDDEN + (cell[-tail:] if tail else "")
        if _size(found) <= room:
            return found
    return HIDDEN


def _padded(text: str, size: int) -> str:
    return text + " " * (size - _size(text))


def _size(text: str) -> int:
    """How many places a terminal needs for it."""
    from rich.cells import cell_len

    return len(text) if text.isascii() else cell_len(text)
