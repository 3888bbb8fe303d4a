"""Pins made by the release that left out `_meta` and icons go on: nothing is quarantined by the
upgrade, and what waits stays bound to the pin it was judged with. On both databases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import MetaData, insert

from approvals import execution, queue
from approvals.digest import canonical, digest_of, sha256
from approvals.record.database import Database
from approvals.record.engines import parse, writer_engine
from approvals.record.migrate import migrate
from gateway.enforcement.catalogue import Catalogue
from tests.approvals.test_upgrade import FIRST, LATER, TABLES, install, old
from tests.support.record import KEYS, HandClock, Record

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "required": ["b", "a"]}
META = {"description": "As it is", "_meta": {"v": 1}, "inputSchema": SCHEMA}
PINNED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
WAITING = next(row for row in TABLES["approval"] if row["id"] == FIRST["names"]["waiting"])


def hashed(definition: dict[str, Any]) -> str:
    """As the release of before hashed it."""
    return sha256(canonical({key: definition[key] for key in PINNED if key in definition}))


def tool(name: str, definition: dict[str, Any], seen: dict[str, Any], **more: Any) -> Any:
    definition, seen = {"name": name, **definition}, {"name": name, **seen}
    return {
        "server": "payments",
        "name": name,
        "hash": hashed(definition),
        "definition": canonical(definition).decode(),
        "seen_hash": hashed(seen),
        "seen_definition": canonical(seen).decode(),
        "first_seen": 1,
        "accepted_by": "",
        "present": True,
        **more,
    }


ROWS = [
    tool("plain", META, META),
    tool("icons", META, {**META, "icons": []}),  # came back with other icons: the hash was the same
    tool("changed", META, {**META, "description": "Poison"}),
    tool(
        WAITING["tool"],
        META,
        META,
        server=WAITING["server"],
        hash=WAITING["tool_hash"],
        seen_hash=WAITING["tool_hash"],
    ),
]


@pytest.fixture
def upgraded(url: str) -> Iterator[Record]:
    install(url)
    engine = writer_engine(parse(url), migrating=True)
    migrate(engine, to="0005")
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection, only=["tool"])
        connection.exec_driver_sql("BEGIN")
        for row in ROWS:
            connection.execute(insert(tables.tables["tool"]).values(row))
        connection.exec_driver_sql("COMMIT")
    engine.dispose()
    clock = HandClock(LATER)
    database = Database.open(url, key=KEYS, clock=clock)
    yield Record(database, clock, url)
    database.close_now()


async def test_the_upgrade_quarantines_nothing_and_ends_no_quarantine(upgraded: Record) -> None:
    catalogue = Catalogue(upgraded.database)
    await catalogue.load()
    assert [pin.name for pin in catalogue.quarantined()] == ["changed"]
    assert len(catalogue.tools()) == len(ROWS)
    # What was never pinned may have changed since: it is taken up once, and pinned from then on.
    for meta, quarantined in ((2, ["changed"]), (3, ["changed", "plain"])):
        now = {"name": "plain", **META, "_meta": {"v": meta}}
        await catalogue.observe("payments", [now], complete=False)
        assert [pin.name for pin in catalogue.quarantined()] == quarantined
    pinned = catalogue.tool("payments", "plain")
    assert pinned is not None
    assert pinned.definition["_meta"] == {"v": 2}


async def test_a_pinned_key_that_changed_meanwhile_is_a_change(upgraded: Record) -> None:
    catalogue = Catalogue(upgraded.database)
    await catalogue.load()
    now = {"name": "plain", **META, "description": "Poison", "_meta": {"v": 2}}
    await catalogue.observe("payments", [now], complete=False)
    assert [pin.name for pin in catalogue.quarantined()] == ["changed", "plain"]


async def test_a_call_that_waits_is_found_again_and_its_pin_is_the_one_it_was_judged_with(
    upgraded: Record,
) -> None:
    catalogue = Catalogue(upgraded.database)
    await catalogue.load()
    waiting = old(upgraded, "waiting")
    found = catalogue.tool(waiting.call.server, waiting.call.tool)
    assert found is not None
    assert found.call_hash == waiting.call.tool_hash
    assert found.hash != found.call_hash
    repeated = replace(waiting.call, tool_hash=found.call_hash)
    attached = upgraded.write(lambda tx: queue.find_open(tx, digest_of(repeated)))
    assert attached is not None
    assert attached.id == waiting.id
    upgraded.decide(waiting)
    assert isinstance(upgraded.claim(waiting), execution.Claimed)
