"""What a write function receives: one batch's connection, time, history, counters and rings.

Lives inside the writer thread, for one attempt of one batch. It does not commit: the journal does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol

import orjson
from sqlalchemy import Connection

from approvals.keys import Keys
from approvals.model import Event, Millis
from approvals.tables import HistoryTable

COLUMNS: Final = tuple(column.name for column in HistoryTable.__table__.columns)  # type: ignore[attr-defined]
FIRST_HASH: Final = "0" * 64
"""What the first row names as its predecessor."""

_ROWS_AT_ONCE: Final = 32
_MOST_KNOWN: Final = 256  # counters one batch hands to the next


class Driver(Protocol):
    """The raw DBAPI connection: hot statements skip SQLAlchemy's 10 us each."""

    def execute(self, sql: str, parameters: Sequence[object] = ..., /) -> Any: ...
    def cursor(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class CounterState:
    """A counter inside a batch: loaded once, changed in memory, written once."""

    window_start: Millis
    used: Decimal


@dataclass(frozen=True, slots=True)
class Known:
    """What a batch knew when it was committed. True while the history's head is still the one it
    left: whoever else changes a counter or a fact appends to the history.
    """

    seq: int
    head: str
    counters: Mapping[str, CounterState]
    facts: Mapping[str, bool]


class HeadMoved(Exception):
    """Another process has written since: what the batch took for true may not be. Run it anew."""


class Statements:
    """The hot statements in the driver's own parameter style."""

    def __init__(self, mark: str) -> None:
        self.mark = mark  # "?" or "%s"
        self.head = "SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1"
        self.load_counter = f"SELECT window_start, used FROM counter WHERE key = {mark}"  # noqa: S608  # a fixed mark
        self.save_counter = (
            f"INSERT INTO counter (key, window_start, used) VALUES ({mark},{mark},{mark}) "  # noqa: S608  # a fixed mark
            "ON CONFLICT (key) DO UPDATE "
            "SET window_start = excluded.window_start, used = excluded.used"
        )
        self._insert = f"INSERT INTO history ({','.join(COLUMNS)}) VALUES "  # noqa: S608  # fixed names
        self._places = f"({','.join([mark] * len(COLUMNS))})"
        self._by_size: dict[int, str] = {}

    def insert_history(self, rows: int) -> str:
        """One statement for this many rows: sqlite3 lets go of the interpreter's lock once for
        each statement, and getting it back is what waits behind a busy event loop.
        """
        statement = self._by_size.get(rows)
        if statement is None:
            statement = self._by_size[rows] = self._insert + ",".join([self._places] * rows)
        return statement


class Transaction:
    """One attempt of one batch. Functions given to the journal must keep no state outside it:
    an attempt may be rolled back and the function run again.
    """

    __slots__ = (
        "_assumed",
        "_changed",
        "_counters",
        "_driver",
        "_facts",
        "_last",
        "_rows",
        "_rung",
        "_seq",
        "_statements",
        "connection",
        "keys",
        "notifiers",
        "now",
    )

    def __init__(  # built in one place, by the journal
        self,
        connection: Connection,
        driver: Driver,
        statements: Statements,
        *,
        now: Millis,
        keys: Keys,
        notifiers: tuple[str, ...],
        known: Known | None,
        shared: bool,
    ) -> None:
        self.connection = connection
        self.now = now
        self.keys = keys
        self.notifiers = notifiers
        self._driver = driver
        self._statements = statements
        # Where others seldom write, the head is taken to be where this process left it: the insert
        # finds out, for a seq is there once. Each look less is one less wait behind the event loop.
        self._assumed = known is not None and not shared
        if known is None or shared:
            self._seq, self._last = self._head()
            if known is not None and known.head != self._last:
                known = None
        else:
            self._seq, self._last = known.seq, known.head
        self._rows: list[object] = []  # the columns of row after row
        self._counters = dict(known.counters) if known is not None else {}
        self._changed: set[str] = set()  # keys of counters
        self._facts = dict(known.facts) if known is not None else {}
        self._rung: set[str] = set()

    def append(self, event: Event) -> int:
        """Put the event at the end of the history; the seq it got. Visible to SELECT after the
        batch only.

        Raises:
            TypeError: text that has no UTF-8 form, or a number beyond 64 bits.
        """
        seq = self._seq + 1
        row = (seq, event.at or self.now, *event[:-1])
        last = self._last
        step = self.keys.chain.copy()
        step.update(last.encode() + orjson.dumps(row))
        mac = step.hexdigest()
        self._rows += row
        self._rows += (last, mac)
        self._seq = seq
        self._last = mac
        return seq

    def ring(self, approval_id: str) -> None:
        """Wake whoever waits for this row, once the batch is committed."""
        self._rung.add(approval_id)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a hot SELECT finds; parameters are written `?` whatever the database."""
        if self._statements.mark != "?":
            sql = sql.replace("?", self._statements.mark)
        found: list[tuple[Any, ...]] = self._driver.execute(sql, parameters).fetchall()
        return found

    def counter(self, key: str) -> CounterState | None:
        """The counter as the batch has it so far; None if it never counted."""
        state = self._counters.get(key)
        if state is None:
            row = self._driver.execute(self._statements.load_counter, (key,)).fetchone()
            if row is None:
                return None
            state = self._counters[key] = CounterState(row[0], Decimal(row[1]))
        return state

    def set_counter(self, key: str, window_start: Millis, used: Decimal) -> None:
        self._counters[key] = CounterState(window_start, used)
        self._changed.add(key)

    def once(self, fact: str, find: Callable[[], bool]) -> bool:
        """A yes or no that is looked up once, until another process writes. Who changes it says so
        with `forget`, and in the history.
        """
        known = self._facts.get(fact)
        if known is None:
            known = self._facts[fact] = find()
        return known

    def forget(self, fact: str) -> None:
        self._facts.pop(fact, None)

    @property
    def seq(self) -> int:
        """The seq of the last row appended, or of the head."""
        return self._seq

    @property
    def rung(self) -> frozenset[str]:
        return frozenset(self._rung)

    def flush(self) -> None:
        """Write what was buffered. The journal calls it before COMMIT.

        Raises:
            HeadMoved: nothing of this batch may be committed; it can be run again.
        """
        if self._changed and not self._rows:
            # What `Known` stands on: no counter changes without moving the head.
            self.append(Event(event="counted", actor_kind="gateway", via="gateway"))
        if self._rows:
            self._insert()
        elif self._assumed and self._head() != (self._seq, self._last):
            raise HeadMoved
        if self._changed:
            counters = self._counters
            changed = [
                (key, counters[key].window_start, str(counters[key].used)) for key in self._changed
            ]
            self._driver.cursor().executemany(self._statements.save_counter, changed)

    def known(self) -> Known:
        """What the next batch need not look up, once this one is committed."""
        counters = self._counters if len(self._counters) <= _MOST_KNOWN else {}
        return Known(self._seq, self._last, counters, self._facts)

    def _head(self) -> tuple[int, str]:
        head = self._driver.execute(self._statements.head).fetchone()
        return (head[0], head[1]) if head else (0, FIRST_HASH)

    def _insert(self) -> None:
        width = len(COLUMNS)
        try:
            for start in range(0, len(self._rows), _ROWS_AT_ONCE * width):
                chunk = self._rows[start : start + _ROWS_AT_ONCE * width]
                self._driver.execute(self._statements.insert_history(len(chunk) // width), chunk)
        except sqlite3.IntegrityError as error:
            if self._assumed:
                raise HeadMoved from error
            raise
