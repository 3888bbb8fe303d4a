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

from approvals.digest import kept
from approvals.model import Event, Millis
from approvals.record.keys import Keys
from approvals.record.statements import COLUMNS, Statements

FIRST_HASH: Final = "0" * 64
"""What the first row names as its predecessor."""

_ROWS_AT_ONCE: Final = 64
_NUL: Final = b"\\u0000"  # as JSON writes it
_PRIMARY: Final = 0xFF  # the part of SQLite's error codes that says what, not where
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
    left: anyone else who changes a counter or a fact appends to the history.
    """

    seq: int
    head: str
    counters: Mapping[str, CounterState]
    facts: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one attempt of one batch works with."""

    connection: Connection
    driver: Driver
    statements: Statements
    now: Millis
    keys: Keys
    notifiers: tuple[str, ...] = ()


class HeadMoved(Exception):
    """Another process has written since: what the batch took for true may not be. Run it again."""


class NotBegun(Exception):
    """The database did not let the batch begin; the cause says why."""


class Transaction:
    """One attempt of one batch. Functions given to the journal must keep no state outside it:
    an attempt may be rolled back and the function run again.

    On SQLite the database is left alone until a function needs it. Most batches never do: what
    they append and count is written, and committed, by one statement.
    """

    __slots__ = (
        "_assumed",
        "_begin",
        "_changed",
        "_connection",
        "_counters",
        "_driver",
        "_facts",
        "_last",
        "_rows",
        "_rung",
        "_seq",
        "_statements",
        "_touched",
        "base",
        "begun",
        "keys",
        "notifiers",
        "now",
        "patient",
    )

    def __init__(self, batch: Batch, begin: Callable[[], None] | None) -> None:
        """For `in_begun` and `deferred`, which say what the batch goes on from."""
        self._connection = batch.connection
        self._driver = batch.driver
        self._statements = batch.statements
        self._begin = begin
        self.begun = begin is None
        """Whether there is something to commit, or to roll back."""
        self.now = batch.now
        self.patient = True
        """Whether the function that runs now may keep the writer for as long as it takes."""
        self.keys = batch.keys
        self.notifiers = batch.notifiers
        self._touched: dict[str, int] = {}  # the newest row of each approval, in this batch
        self._rows: list[object] = []  # the columns of row after row
        self._changed: set[str] = set()  # keys of counters
        self._rung: set[str] = set()

    @classmethod
    def in_begun(cls, batch: Batch, known: Known | None = None) -> Transaction:
        """On a transaction that has begun: the head is read, and `known` counts if it is that."""
        tx = cls(batch, None)
        seq, last = tx._head()
        still = known if known is not None and known.head == last else None
        tx._go_on_from(seq, last, still, assumed=False)
        return tx

    @classmethod
    def deferred(cls, batch: Batch, known: Known, begin: Callable[[], None]) -> Transaction:
        """On one that begins by `begin`, when a function needs it. Where others seldom write, the
        head is taken to be where this process left it: the insert finds out, for a seq is there
        once. Each look less is one less wait behind the event loop.
        """
        tx = cls(batch, begin)
        tx._go_on_from(known.seq, known.head, known, assumed=True)
        return tx

    def _go_on_from(self, seq: int, last: str, known: Known | None, *, assumed: bool) -> None:
        self._assumed = assumed
        self._seq, self._last = seq, last
        self.base = (seq, last)
        """The history's head, seq and hash, that this batch goes on from."""
        self._counters = dict(known.counters) if known is not None else {}
        self._facts = dict(known.facts) if known is not None else {}

    @property
    def connection(self) -> Connection:
        """The database inside this batch."""
        self._open()
        return self._connection

    def append(self, event: Event) -> int:
        r"""Put the event at the end of the history; the seq it got. Visible to SELECT after the
        batch only. NUL in a text, which not every database keeps, is written as `\u0000`.

        Raises:
            TypeError: text that has no UTF-8 form, or a number beyond 64 bits.
        """
        seq = self._seq + 1
        row: tuple[object, ...] = (seq, event.at or self.now, *event[:-1])
        last = self._last
        step = self.keys.chain.copy()
        # A row of no subject is hashed as it was before there were subjects.
        fields = orjson.dumps(row[:-1] if event.subject is None else row)
        if _NUL in fields:
            row = tuple(kept(one) if isinstance(one, str) else one for one in row)
            fields = orjson.dumps(row[:-1] if event.subject is None else row)
        step.update(last.encode() + fields)
        mac = step.hexdigest()
        self._rows += row
        self._rows += (last, mac)
        self._seq = seq
        self._last = mac
        if event.approval_id is not None:
            self._touched[event.approval_id] = seq
        return seq

    def buffered(self, column: int, value: object) -> list[tuple[Any, ...]]:
        """The rows of the history that this batch has appended and SELECT does not see yet, whose
        column of this place has the value.
        """
        width = len(COLUMNS)
        rows = (tuple(self._rows[at : at + width]) for at in range(0, len(self._rows), width))
        return [row for row in rows if row[column] == value]

    def ring(self, approval_id: str) -> None:
        """Wake anyone who waits for this row, once the batch is committed."""
        self._rung.add(approval_id)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a hot SELECT finds; parameters are written `?` whatever the database."""
        if self._statements.mark != "?":
            sql = sql.replace("?", self._statements.mark)
        found: list[tuple[Any, ...]] = self._open().execute(sql, parameters).fetchall()
        return found

    def counter(self, key: str) -> CounterState | None:
        """The counter as the batch has it so far; None if it never counted."""
        state = self._counters.get(key)
        if state is None:
            row = self._open().execute(self._statements.load_counter, (key,)).fetchone()
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
    def last_hash(self) -> str:
        """The hash of that row."""
        return self._last

    @property
    def touched(self) -> Mapping[str, int]:
        """The approvals this batch appended rows of, each with the seq of its newest."""
        return self._touched

    @property
    def rung(self) -> frozenset[str]:
        return frozenset(self._rung)

    def flush(self) -> None:
        """Write what was buffered, unless one statement can do it: see `write_whole`. The journal
        calls it before COMMIT.

        Raises:
            HeadMoved: nothing of this batch may be committed; it can be run again.
        """
        if self._changed and not self._rows:
            # What `Known` stands on: no counter changes without moving the head.
            self.append(Event(event="counted", actor_kind="gateway", via="gateway"))
        if not self.begun and 0 < len(self._rows) <= _ROWS_AT_ONCE * len(COLUMNS):
            return
        self._open()
        if self._rows:
            self._insert()
        elif self._assumed and self._head() != (self._seq, self._last):
            raise HeadMoved
        if self._changed:
            self._driver.cursor().executemany(self._statements.save_counter, self._counted())

    def write_whole(self) -> None:
        """Write what was buffered with one statement, which commits by itself. Nothing was begun.

        Raises:
            HeadMoved: nothing was written; the batch can be run again.
            NotBegun: nothing was written, for another process did not let go.
        """
        counted = self._counted()
        statement = self._statements.batch(len(self._rows) // len(COLUMNS), len(counted))
        for row in counted:
            self._rows += row
        try:
            self._driver.cursor().executemany(statement, [self._rows])
        except sqlite3.IntegrityError as error:
            raise HeadMoved from error
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY:
                raise NotBegun from error
            raise

    def known(self) -> Known:
        """What the next batch need not look up, once this one is committed."""
        counters = self._counters if len(self._counters) <= _MOST_KNOWN else {}
        return Known(self._seq, self._last, counters, self._facts)

    def _open(self) -> Driver:
        """The driver, inside this batch's transaction."""
        if self._begin is not None:
            begin, self._begin = self._begin, None
            begin()
            self.begun = True
        return self._driver

    def _counted(self) -> list[tuple[str, Millis, str]]:
        counters = self._counters
        return [(key, counters[key].window_start, str(counters[key].used)) for key in self._changed]

    def _head(self) -> tuple[int, str]:
        head = self._open().execute(self._statements.head).fetchone()
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
