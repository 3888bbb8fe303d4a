"""The writer's connection: begin, commit and roll back on SQLite or PostgreSQL. Not pure.

It opens lazily and again after every drop, so an outage heals with the next batch. It decides
nothing: the journal does.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InvalidRequestError, SQLAlchemyError

from approvals.model import Millis
from approvals.record.engines import is_outage
from approvals.record.history import Head
from approvals.record.keys import Keys
from approvals.record.ledger import Pending
from approvals.record.statements import BATCH, Statements
from approvals.record.transaction import Batch, Known, NotBegun, Transaction

CHANNEL: Final = "signoff"
"""PostgreSQL's NOTIFY channel: "some approval changed, look"."""

LOCK: Final = 0x5169_6E6F_6666
"""PostgreSQL's advisory lock of the one writer at a time, whatever the number of replicas."""


class Writer:
    """One connection, used by the journal's thread alone."""

    def __init__(self, engine: Engine, pending: Pending | None = None) -> None:
        """`pending`: what a batch knows of signed rows beyond the ledger; cleared for each."""
        self._engine = engine
        self._pending = pending
        self._connection: Connection | None = None
        self._driver: Any = None
        self._known: Known | None = None
        postgres = engine.dialect.name == "postgresql"
        self._begin = (
            # The level is said, for the lock must come before the snapshot.
            f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({LOCK})"
            if postgres
            else "BEGIN IMMEDIATE"
        )
        self._prepare = () if postgres else BATCH
        self._notify = f"NOTIFY {CHANNEL}" if postgres else ""
        self._statements = Statements("%s" if postgres else "?")
        dbapi: Any = engine.dialect.loaded_dbapi
        self.errors: tuple[type[Exception], ...] = (dbapi.Error, SQLAlchemyError, OSError)
        """What opening, beginning and committing may raise."""
        self._outages: tuple[type[Exception], ...] = (
            dbapi.OperationalError,
            dbapi.InterfaceError,
            dbapi.InternalError,
        )
        self._damaged: type[Exception] = dbapi.DatabaseError

    def begin(self) -> None:
        """Start a batch. A connection that was lost while nothing was written on it is made again
        at once: a server that restarted, or a firewall that forgot it, costs no one a write.

        SQLite is not asked before a function needs it, if another batch went before.
        """
        if self._connection is not None:
            if self._waits():
                return
            try:
                self._driver.execute(self._begin)
            except self.errors:
                if not getattr(self._driver, "broken", False):  # PostgreSQL's: the other side left
                    raise
                self.drop()
            else:
                return
        self._connection = self._engine.connect()
        self._driver = self._connection.connection.dbapi_connection
        for statement in self._prepare:
            self._driver.execute(statement)
        self._driver.execute(self._begin)

    def _waits(self) -> bool:
        return self._known is not None and not self._notify

    def _begin_after_all(self) -> None:
        try:
            self._driver.execute(self._begin)
        except self.errors as error:
            raise NotBegun from error

    def transaction(self, *, now: Millis, keys: Keys, notifiers: tuple[str, ...]) -> Transaction:
        """A fresh Transaction on the batch just begun. What earlier ones knew is used up by it,
        until it is committed.
        """
        if self._connection is None:
            raise RuntimeError("begin() comes first.")
        if self._pending is not None:
            self._pending.clear()
        waits, known, self._known = self._waits(), self._known, None
        batch = Batch(self._connection, self._driver, self._statements, now, keys, notifiers)
        if waits and known is not None:
            return Transaction.deferred(batch, known, self._begin_after_all)
        return Transaction.in_begun(batch, known)

    def commit(self, tx: Transaction) -> None:
        if not tx.begun:
            tx.write_whole()
            self._committed(tx)
            return
        if tx.rung and self._notify:
            self._driver.execute(self._notify)
        if self._notify:
            # PostgreSQL answers the COMMIT of what failed with ROLLBACK.
            whole = self._driver.execute("COMMIT").statusmessage == "COMMIT"
        else:
            # SQLite has ended what ran into a full disk. commit() would not mind; it is used as it
            # lets go of the interpreter's lock once, and execute() three times.
            whole = self._driver.in_transaction
            self._driver.commit()
        if not whole:
            raise InvalidRequestError("The database rolled back instead of committing.")
        self._committed(tx)

    def _committed(self, tx: Transaction) -> None:
        self._known = tx.known()
        if self._pending is not None:
            self._pending.committed(Head(*tx.base), Head(tx.seq, tx.last_hash), tx.touched)

    def rollback(self) -> bool:
        """Undo the batch; False if even that failed, and the connection must go."""
        if not getattr(self._driver, "in_transaction", True):
            return True  # SQLite's: nothing was begun, or it has rolled back by itself (disk full)
        try:
            self._driver.execute("ROLLBACK")
        except self.errors:
            return not getattr(self._driver, "in_transaction", True)
        return True

    def is_outage(self, error: Exception) -> bool:
        """Whether the database failed, rather than the function that used it."""
        if isinstance(error, DBAPIError):
            return is_outage(error)
        return isinstance(error, self._outages) or type(error) is self._damaged

    def drop(self) -> None:
        """Forget the connection; the next batch opens another."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is None:
            return
        with contextlib.suppress(DBAPIError, *self.errors):
            connection.invalidate()
        with contextlib.suppress(DBAPIError, *self.errors):
            connection.close()
