"""How the command prints: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from approvals.model import Millis

Cells = Sequence[str]


def table(columns: Cells, rows: Sequence[Cells]) -> None:
    """A table on a terminal; tab-separated lines in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


def document(kind: str, **content: Any) -> None:
    """One JSON document whose shape is named and versioned."""
    print(json.dumps({"schema": f"signoff.{kind}/1", **content}, ensure_ascii=False, indent=2))


def moment(at: Millis | None) -> str:
    """Local date and time, to the second."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


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
