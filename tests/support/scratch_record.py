"""Records for tests, migrated once and copied: bringing an empty database up to date costs a
quarter of a second, and a thousand tests want one.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from approvals.record.clock import Clock, SystemClock
from approvals.record.database import Database
from approvals.record.keys import Keys
from tests.support.patience import PATIENCE
from tests.support.record import KEYS, HandClock

POSTGRES = os.environ.get(
    "SIGNOFF_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
)


_DEADLINES = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def patient(url: str) -> str:
    """The URL for tests whose subject is no deadline: a busy machine does not use these up."""
    given = make_url(url)
    options = [
        str(given.query.get("options", "")),
        *(f"-c {one}={int(PATIENCE)}s" for one in _DEADLINES),
    ]
    wanted = {"connect_timeout": str(int(PATIENCE)), "options": " ".join(options).strip()}
    return given.update_query_dict(wanted).render_as_string(hide_password=False)


def lay_sqlite(path: Path) -> str:
    """A record of `KEYS` in this file that no one has used yet; its URL."""
    shutil.copyfile(_file(), path)
    return f"sqlite:///{path}"


def lay_installation(folder: Path) -> tuple[str, Keys]:
    """The record and key of the installation in this folder; one that was never used, if there is
    none yet.
    """
    file = folder / "signoff.db"
    if not file.exists():
        shutil.copytree(_installation(), folder, dirs_exist_ok=True)
    return f"sqlite:///{file}", Keys.open(folder / "key")


@contextmanager
def postgres(admin_url: str, server_url: str) -> Iterator[str]:
    """A database of its own with a record of `KEYS` that no one has used yet; its URL.

    `admin_url` is where databases are made, as psycopg reads it; `server_url` the same for
    SQLAlchemy.
    """
    template, name = _database(admin_url, server_url), f"t_{secrets.token_hex(6)}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield patient(make_url(server_url).set(database=name).render_as_string(hide_password=False))
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@cache
def _file() -> Path:
    file = _folder() / "signoff.db"
    _migrate(f"sqlite:///{file}", KEYS, HandClock())
    return file


@cache
def _installation() -> Path:
    folder = _folder()
    _migrate(f"sqlite:///{folder / 'signoff.db'}", Keys.open(folder / "key"), SystemClock())
    return folder


@cache
def _database(admin_url: str, server_url: str) -> str:
    name = f"template_{secrets.token_hex(6)}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    atexit.register(_drop, admin_url, name)
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    _migrate(url, KEYS, HandClock())
    return name


def _drop(admin_url: str, name: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _migrate(url: str, keys: Keys, clock: Clock) -> None:
    Database.open(url, key=keys, clock=clock).close_now()


def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="signoff-record-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
