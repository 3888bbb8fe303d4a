"""The hot statements in the driver's own parameter style, and as few of them as possible. Pure.

sqlite3 lets go of the interpreter's lock two or three times for each statement, and getting it back
is what waits behind a busy event loop.
"""

# ruff: noqa: S608 - nothing goes into these texts but fixed names and marks

from __future__ import annotations

from functools import lru_cache
from typing import Final

from approvals.record.tables import HistoryTable

COLUMNS: Final = tuple(column.name for column in HistoryTable.__table__.columns)  # type: ignore[attr-defined]
"""Of the history, in order."""

_KEPT: Final = 128  # texts of each kind; sqlite3 keeps as many prepared
_NAMES: Final = ",".join(COLUMNS)
_COUNTER: Final = ("key", "window_start", "used")
_SAVE_COUNTER: Final = (
    "INSERT INTO counter (key,window_start,used) VALUES ({},{},{}) ON CONFLICT (key) DO UPDATE "
    "SET window_start = excluded.window_start, used = excluded.used"
)

_INTO_HISTORY: Final = (
    f"INSERT INTO history ({_NAMES}) VALUES ({','.join(f'NEW.{name}' for name in COLUMNS)})"
)
_INTO_COUNTER: Final = _SAVE_COUNTER.format(*(f"NEW.{name}" for name in _COUNTER))
BATCH: Final = (
    f"CREATE TEMP VIEW batch AS SELECT {_NAMES}, key, window_start, used FROM history, counter",
    (
        "CREATE TEMP TRIGGER batch_history INSTEAD OF INSERT ON batch "
        f"WHEN NEW.key IS NULL BEGIN {_INTO_HISTORY}; END"
    ),
    (
        "CREATE TEMP TRIGGER batch_counter INSTEAD OF INSERT ON batch "
        f"WHEN NEW.key IS NOT NULL BEGIN {_INTO_COUNTER}; END"
    ),
)
"""What `Statements.batch` inserts into: it belongs to one SQLite connection and goes with it."""


class Statements:
    """The statements for one kind of database."""

    def __init__(self, mark: str) -> None:
        self.mark = mark  # "?" or "%s"
        self.head = "SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1"
        self.load_counter = f"SELECT window_start, used FROM counter WHERE key = {mark}"
        self.save_counter = _SAVE_COUNTER.format(mark, mark, mark)
        self.insert_history = lru_cache(_KEPT)(self._insert_history)
        self.batch = lru_cache(_KEPT)(self._batch)

    def _insert_history(self, rows: int) -> str:
        """For this many rows, one after the other."""
        row = f"({_marks(self.mark, len(COLUMNS))})"
        return f"INSERT INTO history ({_NAMES}) VALUES {','.join([row] * rows)}"

    def _batch(self, rows: int, counters: int) -> str:
        """For so many rows of the history, then so many counters: key, window_start and used."""
        row = f"({_marks(self.mark, len(COLUMNS))},NULL,NULL,NULL)"
        counter = f"({_marks('NULL', len(COLUMNS))},{_marks(self.mark, len(_COUNTER))})"
        return f"INSERT INTO batch VALUES {','.join([row] * rows + [counter] * counters)}"


def _marks(mark: str, times: int) -> str:
    return ",".join([mark] * times)
