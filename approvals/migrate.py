"""Brings the schema up to date with alembic, one process at a time. Not pure.

The revisions are in `approvals/migrations/versions`; this only runs them, in one transaction.
"""

from __future__ import annotations

from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

_LOCK: Final = 0x5169_6E6F_6D69


def config() -> Config:
    """Alembic's configuration, for our own scripts and nothing else."""
    made = Config()
    made.set_main_option("script_location", "approvals:migrations")
    made.set_main_option("path_separator", "os")
    return made


def migrate(engine: Engine, *, to: str = "head") -> None:
    """Run the revisions that are missing, up to `to`."""
    made = config()
    with engine.connect() as connection:
        if (
            to == "head"
            and _revision(connection) == ScriptDirectory.from_config(made).get_current_head()
        ):
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE" if _sqlite(engine) else "BEGIN")
        try:
            if not _sqlite(engine):
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            made.attributes["connection"] = connection
            command.upgrade(made, to)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"
