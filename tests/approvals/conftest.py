"""Databases for the record's tests: SQLite always, PostgreSQL where one answers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from approvals.record.database import Database
from tests.support.intruder import Intruder
from tests.support.patience import PATIENCE
from tests.support.record import KEYS, HandClock, Record
from tests.support.scratch_record import POSTGRES, lay_sqlite, patient, postgres


def _server() -> str:
    return make_url(POSTGRES).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def server() -> str | None:
    """Where PostgreSQL answers; None if it does not."""
    try:
        psycopg.connect(_server(), connect_timeout=int(PATIENCE)).close()
    except psycopg.OperationalError:
        return None
    return _server()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, server: str | None) -> Iterator[str]:
    """A database of its own for each test: empty, or brought up to date if it opens a `record`."""
    migrated = "record" in request.fixturenames
    if request.param == "sqlite":
        file = tmp_path / "signoff.db"
        yield lay_sqlite(file) if migrated else f"sqlite:///{file}"
        return
    if server is None:
        pytest.skip("PostgreSQL does not answer: set SIGNOFF_TEST_POSTGRES")
    if migrated:
        with postgres(server, POSTGRES) as made:
            yield made
        return
    schema = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}")
        named = make_url(POSTGRES).update_query_dict({"options": f"-csearch_path={schema}"})
        yield patient(named.render_as_string(hide_password=False))
        admin.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """As `url`, on SQLite alone, for a `sqlite_record`."""
    file = tmp_path / "signoff.db"
    return lay_sqlite(file) if "sqlite_record" in request.fixturenames else f"sqlite:///{file}"


@pytest.fixture
def record(url: str) -> Iterator[Record]:
    """An open record on either database."""
    clock = HandClock()
    database = Database.open(url, key=KEYS, clock=clock)
    yield Record(database, clock, url)
    database.close_now()


@pytest.fixture
def intruder(url: str) -> Iterator[Intruder]:
    """Someone else who may write the record's database."""
    found = Intruder(url)
    yield found
    found.leaves()


@pytest.fixture
def sqlite_record(sqlite_url: str) -> Iterator[Record]:
    """An open record on SQLite, for what the database makes no difference to."""
    clock = HandClock()
    database = Database.open(sqlite_url, key=KEYS, clock=clock)
    yield Record(database, clock, sqlite_url)
    database.close_now()
