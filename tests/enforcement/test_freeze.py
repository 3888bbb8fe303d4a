"""The kill switch."""

from __future__ import annotations

import pytest

from approvals.record.database import Database
from gateway.enforcement import freezes
from gateway.enforcement.freezes import Freezes, Kind

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("kind", "name", "stopped", "free"),
    [
        ("grant", "grt_1", ("grt_1", "git"), ("grt_2", "git")),
        ("server", "git", ("grt_1", "git"), ("grt_1", "bank")),
        ("everything", "", ("grt_1", "git"), None),
    ],
)
async def test_a_freeze_stops_what_it_names_and_nothing_else(
    database: Database,
    kind: Kind,
    name: str,
    stopped: tuple[str, str],
    free: tuple[str, str] | None,
) -> None:
    stops = Freezes(database)
    database.journal.write_now(lambda tx: freezes.freeze(tx, kind, name, by="alice"))
    await stops.load()
    assert stops.reason(*stopped) is not None
    assert free is None or stops.reason(*free) is None
    assert stops.since(kind, name) is not None


async def test_a_thaw_lets_everything_go_on(database: Database) -> None:
    stops = Freezes(database)
    database.journal.write_now(lambda tx: freezes.freeze(tx, "everything", "", by="alice"))
    assert database.journal.write_now(lambda tx: freezes.thaw(tx, "everything", "", by="bob"))
    await stops.load()
    assert stops.reason("grt_1", "git") is None


async def test_freezing_twice_and_thawing_twice_change_nothing(database: Database) -> None:
    assert database.journal.write_now(lambda tx: freezes.freeze(tx, "server", "git", by="a"))
    assert not database.journal.write_now(lambda tx: freezes.freeze(tx, "server", "git", by="b"))
    assert database.journal.write_now(lambda tx: freezes.thaw(tx, "server", "git", by="a"))
    assert not database.journal.write_now(lambda tx: freezes.thaw(tx, "server", "git", by="a"))
