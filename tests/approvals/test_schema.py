"""The schema: what the revisions make is what the tables say, on both databases."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, String
from sqlmodel import SQLModel

from approvals.migrations import HEAD
from approvals.record.database import Database
from approvals.record.engines import parse, writer_engine
from approvals.record.migrate import config, migrate
from tests.support.record import KEYS, HandClock, Record


def differs(_context: object, _is: object, _said: object, found: Any, wanted: Any) -> bool | None:
    """TEXT and VARCHAR without a length are one type to both databases."""
    texts = [isinstance(getattr(one, "impl", one), String) for one in (found, wanted)]
    return False if all(texts) else None


def test_the_revisions_make_exactly_the_tables(record: Record) -> None:
    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": differs})
        found: list[Any] = compare_metadata(context, SQLModel.metadata)
        return found

    assert record.read(compare) == []


def test_the_schema_is_brought_to_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


def test_migrating_again_changes_nothing_and_loses_nothing(url: str) -> None:
    clock = HandClock()
    first = Record(Database.open(url, key=KEYS, clock=clock), clock, url)
    held = first.hold()
    first.database.close_now()
    engine = writer_engine(parse(url))
    migrate(engine)
    migrate(engine, to="0001")
    engine.dispose()
    again = Record(Database.open(url, key=KEYS, clock=clock), clock, url)
    assert again.now_is(held.id) == held
    again.database.close_now()
