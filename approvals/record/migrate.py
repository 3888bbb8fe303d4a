"""Brings the schema up to date with alembic, one process at a time. Not pure.

The revisions are in `approvals/migrations/versions`; this only runs them, in one transaction.
Alembic is loaded when there is something to run: it weighs 10 MiB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, inspect

from approvals.migrations import HEAD
from approvals.record.writer import LOCK as WRITER

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK: Final = 0x5169_6E6F_6D69


def _nothing(_connection: Connection, _revision: str | None) -> None:
    pass


def config() -> Config:
    """Alembic's configuration, for our own scripts and nothing else."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    made = Config()
    made.set_main_option("script_location", "approvals:migrations")
    made.set_main_option("path_separator", "os")
    return made


def migrate(
    engine: Engine,
    *,
    to: str = HEAD,
    before: Callable[[Connection, str | None], None] = _nothing,
    after: Callable[[Connection, str | None], None] = _nothing,
) -> None:
    """Run the revisions that are missing, up to `to`. `before` and `after` are told the revision
    that was found, None for an empty database, and belong to the same transaction.
    """
    with engine.connect() as connection:
        if _revision(connection) == to:
            return
        from alembic import command  # noqa: PLC0415 - see above

        connection.exec_driver_sql("BEGIN IMMEDIATE" if _sqlite(engine) else "BEGIN")
        try:
            if not _sqlite(engine):
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            found = _revision(connection)
            if found is not None and not _sqlite(engine):
                # No batch of a gateway meets half a schema, or writes between our rows.
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER})")
            before(connection, found)
            made = config()
            made.attributes["connection"] = connection
            command.upgrade(made, to)
            after(connection, found)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _revision(connection: Connection) -> str | None:
    """The revision the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"
