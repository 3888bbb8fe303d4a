"""Engines for the two databases: who may open the file, what a connection sets, how long it waits.

Knows SQLite and PostgreSQL; no tables, no transactions of its own. Not pure.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.pool import NullPool, QueuePool

BUSY: Final = 5.0
"""Seconds a statement waits for another process's lock before the record counts as unavailable."""

READERS: Final = 4

_WRITE: Final = "write postgresql+psycopg://USER:PASSWORD@HOST/NAME or sqlite:////PATH."


class UnsupportedDatabase(Exception):
    """Only sqlite:///FILE and postgresql+psycopg://… are served."""


def parse(url: str) -> URL:
    """The URL, checked; a SQLite file is made 0600, or brought to it.

    Raises:
        UnsupportedDatabase: another database, or SQLite without a file.
        OSError: the file cannot be made.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # neither text tells where, and the URL holds a password
        raise UnsupportedDatabase(
            f"SIGNOFF_DATABASE_URL is no URL of a database: {_WRITE}"
        ) from None
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise UnsupportedDatabase(f"{parsed.drivername} is not served, or names no file: {_WRITE}")
    path = Path(str(parsed.database))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    return parsed


def writer_engine(url: URL, *, migrating: bool = False) -> Engine:
    """For the one writer: autocommit, because the journal says BEGIN and COMMIT itself."""
    if url.drivername == "sqlite":
        engine = create_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": BUSY, "check_same_thread": False, "cached_statements": 128},
        )
        event.listen(engine, "connect", _sqlite_writer)
        return engine
    return _postgres(url, migrating=migrating, poolclass=NullPool, isolation_level="AUTOCOMMIT")


def reader_engine(url: URL) -> Engine:
    """For readers: each transaction is one snapshot, and cannot write."""
    if url.drivername == "sqlite":
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=2,
            hide_parameters=True,
            connect_args={"timeout": BUSY, "check_same_thread": False},
        )
        event.listen(engine, "connect", _sqlite_reader)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine
    engine = _postgres(
        url,
        migrating=False,
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=2,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ",
    )
    event.listen(
        engine,
        "begin",
        lambda connection: connection.exec_driver_sql("SET TRANSACTION READ ONLY"),
    )
    return engine


def is_outage(error: DBAPIError) -> bool:
    """Whether the database failed, rather than the statement. A damaged SQLite file is a plain
    DatabaseError, of none of the kinds below it.
    """
    return (
        error.connection_invalidated
        or type(error) is DatabaseError
        or isinstance(error, (OperationalError, InterfaceError, InternalError))
    )


def _postgres(url: URL, *, migrating: bool, **more: Any) -> Engine:
    from approvals.record import postgres  # noqa: PLC0415 - psycopg is an optional extra

    engine = create_engine(url, hide_parameters=True, connect_args=postgres.connecting(url), **more)
    postgres.prepare(engine, migrating=migrating)
    return engine


def _sqlite_writer(connection: Any, _record: object) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "temp_store = MEMORY",
        "cache_size = -8192",  # KiB: rows are appended, so few pages are hot
        "wal_autocheckpoint = 4000",  # pages: fewer checkpoints inside someone's COMMIT
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_reader(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the "begin" event says BEGIN, so that a read is a snapshot
    for pragma in ("query_only = ON", "temp_store = MEMORY", "cache_size = -4096"):
        connection.execute(f"PRAGMA {pragma}")
