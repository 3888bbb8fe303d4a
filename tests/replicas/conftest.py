"""A PostgreSQL database of its own for each test, and a nursery of gateways."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import URL, make_url

from tests.replicas.cluster import Cluster, NoServer, cluster
from tests.replicas.proxy import Proxy
from tests.support.killable_gateways import Nursery
from tests.support.patience import PATIENCE
from tests.support.scratch_record import POSTGRES


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def postgres() -> Iterator[URL]:
    """The URL of an empty database, dropped afterwards."""
    server = make_url(POSTGRES)
    plain = server.set(drivername="postgresql").render_as_string(hide_password=False)
    name = f"signoff_{secrets.token_hex(6)}"
    try:
        admin = psycopg.connect(plain, autocommit=True, connect_timeout=int(PATIENCE))
    except psycopg.OperationalError:
        pytest.skip("PostgreSQL does not answer; set SIGNOFF_TEST_POSTGRES (issue 5)")
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        yield server.set(database=name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A PostgreSQL server of the tests' own, to be killed and frozen."""
    try:
        with cluster() as made:
            yield made
    except NoServer as why:
        pytest.skip(f"PostgreSQL cannot be run by the tests themselves: {why} (issue 5)")


@pytest.fixture
def proxy(postgres: URL) -> Iterator[Proxy]:
    """Between the gateways and their database."""
    proxy = Proxy(postgres.host or "127.0.0.1", postgres.port or 5432)
    yield proxy
    proxy.close()
