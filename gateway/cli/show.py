"""How the command prints: tables for people, one JSON document for programs, talk on stderr.

Text of agents, tools and servers is inert: what a reader would not see is spelled out, so that
nothing printed here can move the cursor, change colours or turn the direction of a line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from approvals.model import Millis
from approvals.redact import visible

Cells = Sequence[str]


def table(columns: Cells, rows: Iterable[Cells]) -> None:
    """A table on a terminal; tab-separated lines in a pipe."""
    safe = [[line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in safe:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in safe:
        drawn.add_row(*(Text(cell) for cell in row))
    colours = None if os.environ.get("NO_COLOR") else "auto"
    Console(color_system=colours, highlight=False).print(drawn)  # type: ignore[arg-type]  # its literal


def line(text: str) -> str:
    """The text on one line, with nothing hidden in it."""
    return visible(text.replace("\r\n", " ").replace("\n", " ").replace("\t", " "))


def block(text: str, indent: str = "  ") -> str:
    """The text as written, each line indented, with nothing hidden in it."""
    return "\n".join(indent + visible(one.replace("\t", "    ")) for one in text.split("\n"))


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Names and values, one pair a line; values may have lines of their own."""
    width = 12
    for name, value in rows:
        first, *more = value.split("\n")
        print(f"{name:<{width}} {first}".rstrip())
        for one in more:
            print(f"{'':<{width}} {one}")


def document(kind: str, **content: Any) -> None:
    """One JSON document whose shape is named and versioned. ASCII: safe in every terminal."""
    print(json.dumps({"schema": f"signoff.{kind}/1", **content}, indent=2))


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 server, 2 servers."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def total(number: int, noun: str) -> None:
    """How many lines the whole list has: for people, who see where it ends."""
    if number and sys.stdout.isatty():
        note(f"{counted(number, noun)}.")


def note(text: str) -> None:
    """Talk, which is not data: on stderr."""
    print(text, file=sys.stderr)


def asked(question: str) -> bool:
    """Ask y/N. Anything but y or yes is no; so is the end of the input."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    return answer.strip().lower() in ("y", "yes")


def interactive() -> bool:
    """Whether a person sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def moment(at: Millis | None) -> str:
    """Local date and time, to the second, and the zone: "2026-11-23 14:00:00 +01:00"."""
    if at is None:
        return ""
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone()
    zone = local.isoformat(timespec="seconds")[19:] if local.utcoffset() else "UTC"
    return f"{local:%Y-%m-%d %H:%M:%S} {zone}"


def span(milliseconds: int) -> str:
    """A length of time in its two largest units: "1h 4m", "9m 3s", "12s"."""
    seconds = max(0, milliseconds // 1000)
    for size, unit, smaller, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // smaller}{part}"
    return f"{seconds}s"
