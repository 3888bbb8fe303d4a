"""The database: opened, migrated, one journal for writing, a few connections for reading.

Holds no domain knowledge: what is written and read are functions given to it. Not pure.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from approvals.record.clock import Clock, SystemClock
from approvals.record.continuity import Continuity
from approvals.record.engines import READERS, is_outage, parse, reader_engine, writer_engine
from approvals.record.journal import Journal, RecordUnavailable
from approvals.record.keys import Keys, KeyUnusable
from approvals.record.ledger import Ledger, Pending, StaleSnapshot, attach, ledger_of
from approvals.record.memory import Memory, SeenUnreadable
from approvals.record.transaction import CounterState, Transaction
from approvals.record.upgrade import bring_up
from approvals.record.watch import Watch
from approvals.record.writer import Writer

__all__ = [
    "Clock",
    "CounterState",
    "Database",
    "Journal",
    "Keys",
    "RecordUnavailable",
    "SystemClock",
    "Transaction",
]

T = TypeVar("T")

_SNAPSHOTS: Final = 3
"""So often a read is tried again when a signed row changed under it."""

_NOTIFIERS: Final = text("SELECT value FROM setting WHERE key = 'notifiers'")
"""Who is told, as a JSON list: the command line writes outbox rows too, and has no notifiers."""

_MARK: Final = text("SELECT value FROM setting WHERE key = 'key'")
_MARKED: Final = text(
    "INSERT INTO setting (key, value, at) VALUES ('key', :value, :at) ON CONFLICT DO NOTHING"
)


class Database:
    """An open record. `open` makes one; `close` flushes it."""

    def __init__(self, url: str, *, key: Keys, clock: Clock) -> None:
        self.url = parse(url)
        self.keys = key
        self.clock = clock
        self._write_engine = writer_engine(self.url)
        self._read_engine = reader_engine(self.url)
        self.ledger = Ledger(key)
        self.continuity = Continuity(key)
        memory = Memory(key.folder, self.url)
        self.watch = Watch(memory, key, self.ledger, self.continuity)
        pending = Pending(self.ledger, self.continuity)
        attach(self._read_engine, self.ledger, key)
        attach(self._write_engine, pending, key)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="signoff-read")
        self._prover = ThreadPoolExecutor(1, thread_name_prefix="signoff-prove")
        self.journal = Journal(Writer(self._write_engine, pending), keys=key, clock=clock)
        self.journal.prove = self._prove

    @classmethod
    def open(cls, url: str, *, key: Keys, clock: Clock) -> Database:
        """Bring the schema up to date and open it.

        Raises:
            RecordUnavailable: the database cannot be reached or migrated.
            KeyUnusable: the record was made with another key, or was set back to an older schema.
            UnsupportedDatabase: neither SQLite in a file nor PostgreSQL.
        """
        parsed = parse(url)
        engine = writer_engine(parsed, migrating=True)
        try:
            bring_up(engine, key, clock, Memory(key.folder, parsed))
            _claim_key(engine, key, clock)
            notifiers = _notifiers(engine)
        except (DBAPIError, OSError) as error:
            raise RecordUnavailable("The record cannot be opened.") from error
        finally:
            engine.dispose()
        database = cls(url, key=key, clock=clock)
        database.read_now(database.watch.look)
        database.journal.notifiers = notifiers
        return database

    @property
    def is_postgres(self) -> bool:
        return self.url.drivername != "sqlite"

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """What the function reads from one snapshot, in a worker thread; it must not write.

        Raises:
            RecordUnavailable: the database cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, fn)

    def read_now(self, fn: Callable[[Connection], T]) -> T:
        """As `read`, in the caller's thread."""
        try:
            for _ in range(_SNAPSHOTS):
                with (
                    contextlib.suppress(StaleSnapshot),
                    self._read_engine.connect() as connection,
                ):
                    return fn(connection)
            raise RecordUnavailable("The record lacks what was in it a moment ago.")
        except PoolTimeout as error:
            raise RecordUnavailable("The record cannot be read.") from error
        except DBAPIError as error:
            if not is_outage(error):
                raise
            raise RecordUnavailable("The record cannot be read.") from error

    def _prove(self, seq: int) -> concurrent.futures.Future[None]:
        """Read the history after this row, for the writer may not. One at a time: the others then
        find it read. What is wrong with it the writer finds.
        """

        def cover(connection: Connection) -> None:
            ledger_of(connection)
            self.continuity.cover(connection, seq)

        return self._prover.submit(self.read_now, cover)

    async def close(self) -> None:
        """Write what was posted, then let go of every connection."""
        await asyncio.get_running_loop().run_in_executor(None, self.close_now)

    def close_now(self) -> None:
        self.journal.close_now()
        with contextlib.suppress(RecordUnavailable, OSError, SeenUnreadable):
            self.read_now(self.watch.look)
            self.watch.keep()
        self._readers.shutdown(wait=True)
        self._prover.shutdown(wait=True)
        self._read_engine.dispose()
        self._write_engine.dispose()


def _claim_key(engine: Engine, key: Keys, clock: Clock) -> None:
    """The first to open a record marks it with its key; anyone who comes with another is sent away:
    it could neither read the sealed calls nor go on with the history.
    """
    with engine.connect() as connection:
        known = connection.execute(_MARK).scalar()
        if known is None:
            connection.execute(_MARKED, {"value": key.mark, "at": clock.now()})
            known = connection.execute(_MARK).scalar()
    if known != key.mark:
        raise KeyUnusable(
            "The record was made with another key file. Put that one into the data folder; "
            "every replica needs the same."
        )


def _notifiers(engine: Engine) -> tuple[str, ...]:
    with engine.connect() as connection:
        return tuple(json.loads(connection.execute(_NOTIFIERS).scalar() or "[]"))
