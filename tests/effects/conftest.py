"""Gateways that may die, before a witness; on SQLite always, on PostgreSQL where one answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.killable_gateways import Ground, Nursery, ground
from tests.support.patience import PATIENCE
from tests.support.scratch_record import POSTGRES, patient

Grounds = Callable[..., AbstractContextManager[Ground]]


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def environ(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Where the record is."""
    if request.param == "sqlite":
        yield {}
        return
    server = make_url(POSTGRES).set(drivername="postgresql")
    try:
        admin = psycopg.connect(
            server.render_as_string(hide_password=False),
            autocommit=True,
            connect_timeout=int(PATIENCE),
        )
    except psycopg.OperationalError:
        pytest.skip("PostgreSQL does not answer: set SIGNOFF_TEST_POSTGRES")
    name = f"signoff_{secrets.token_hex(6)}"
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        url = make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
        yield {"SIGNOFF_DATABASE_URL": patient(url)}
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def grounds(tmp_path: Path, nursery: Nursery, environ: dict[str, str]) -> Grounds:
    """Makes a ground: a record, a policy, a witness, agents."""

    def made(tools: dict[str, Any], **more: Any) -> AbstractContextManager[Ground]:
        return ground(tmp_path, nursery, tools=tools, **(environ | more))

    return partial(made)
