"""A record for the gateway's parts: SQLite in a file, a clock set by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from approvals.record.database import Database
from tests.support.record import KEYS, HandClock
from tests.support.scratch_record import lay_sqlite


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def database(tmp_path: Path, clock: HandClock) -> Iterator[Database]:
    opened = Database.open(lay_sqlite(tmp_path / "signoff.db"), key=KEYS, clock=clock)
    yield opened
    opened.close_now()
