"""Exports of the history: JSON lines or CSV, what was asked for, and the script that proves it.

Rows stream in order, oldest first, in flat memory. The folder is made for someone who has no
Signoff: history.jsonl or history.csv, export.json, verify.py. Not pure.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, TextIO

from sqlalchemy import Connection

from approvals.model import Millis
from approvals.record.history import Far, Head, HistoryQuery, head, matching
from approvals.record.statements import COLUMNS

Format = Literal["jsonl", "csv"]

_FORMULA: Final = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "'",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)
_NULLABLE: Final = frozenset(
    ("approval_id", "revision", "call_id", "arguments", "latency_ms", "data", "subject")
)


@dataclass(frozen=True, slots=True)
class Exported:
    """An export on disk: its folder, how many rows, and the history's head when it was made."""

    folder: Path
    rows: int
    head: Head


def jsonl(connection: Connection, query: HistoryQuery, *, far: Far | None = None) -> Iterator[str]:
    """The rows that match, a JSON object a line."""
    for row in matching(connection, query, far=far):
        yield json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False) + "\n"


def csv_lines(
    connection: Connection, query: HistoryQuery, *, far: Far | None = None
) -> Iterator[str]:
    """The rows that match as CSV; cells a spreadsheet would run begin with an apostrophe."""
    yield _csv_line(COLUMNS)
    for row in matching(connection, query, far=far):
        yield _csv_line(
            [
                guarded(value, null=name in _NULLABLE)
                for name, value in zip(COLUMNS, row, strict=True)
            ]
        )


def guarded(value: str | int | None, *, null: bool) -> str | int:
    """The cell: an apostrophe before what a spreadsheet takes for a formula, and before another
    apostrophe, so that it can be taken off again. Empty means null where null may be.
    """
    if value is None:
        return ""
    if isinstance(value, int):
        return value
    risky = value.lstrip(" \u00a0").startswith(_FORMULA) or (null and value == "")
    return f"'{value}" if risky else value


def _csv_line(cells: Any) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


def verifier() -> str:
    """The text of the stand-alone verify.py."""
    return resources.files("approvals.record").joinpath("verify.py").read_text(encoding="utf-8")


def about(query: HistoryQuery, *, top: Head, rows: int, now: Millis) -> dict[str, Any]:
    """What export.json says."""
    return {
        "signoff_history": 1,
        "exported_at": now,
        "filters": query.filters,
        "rows": rows,
        "head": {"seq": top.seq, "hash": top.hash},
    }


def write(
    connection: Connection,
    query: HistoryQuery,
    folder: Path,
    *,
    form: Format,
    now: Millis,
    far: Far | None = None,
) -> Exported:
    """Write an export into the folder, which is made if need be; readable by its owner alone, for
    it tells what agents did.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    top = head(connection)
    rows = 0
    written = jsonl if form == "jsonl" else csv_lines
    with _private(folder / f"history.{form}") as file:
        for line in written(connection, query, far=far):
            file.write(line)
            rows += 1
    rows -= form == "csv"
    told = about(query, top=top, rows=rows, now=now)
    with _private(folder / "export.json") as file:
        file.write(json.dumps(told, indent=2) + "\n")
    with _private(folder / "verify.py") as file:
        file.write(verifier())
    return Exported(folder, rows, top)


def _private(path: Path) -> TextIO:
    """The file, opened for writing and its owner's alone, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")
