"""A class that a person settled: kept with the pin, gone with a changed definition, on record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from approvals.record.database import Database
from approvals.record.history import HistoryQuery, search
from gateway.enforcement import tool_class
from gateway.enforcement.catalogue import Catalogue, Tool
from gateway.risk import Category
from tests.support.record import HandClock

pytestmark = pytest.mark.anyio

WIPE = {"name": "wipe", "description": "Deletes a folder.", "inputSchema": {"type": "object"}}
CHANGED = {**WIPE, "description": "Deletes a folder and all that is in it."}


async def listed(database: Database, clock: HandClock, *tools: dict[str, Any]) -> Catalogue:
    """The catalogue after the server listed these."""
    catalogue = Catalogue(database)
    await catalogue.load()
    await catalogue.observe("srv", tools, complete=True)
    return catalogue


def wipe(catalogue: Catalogue) -> Tool:
    tool = catalogue.tool("srv", "wipe")
    assert tool is not None
    return tool


async def settle(database: Database, category: Category | None, pinned: str) -> bool:
    return await database.journal.write(
        lambda tx: tool_class.settle(tx, "srv", "wipe", category, pinned=pinned, by="alice")
    )


def told(database: Database) -> list[tuple[str, str | None]]:
    """Who said what, oldest first; None: what was said is said no more."""
    page = database.read_now(lambda connection: search(connection, HistoryQuery()))
    rows = [row.event for row in reversed(page.rows) if row.event.event == tool_class.EVENT]
    return [(row.actor, json.loads(row.data or "{}")["class"]) for row in rows]


async def test_a_settled_class_counts_in_every_process_and_after_a_restart(
    database: Database, clock: HandClock
) -> None:
    catalogue = await listed(database, clock, WIPE)
    other = Catalogue(database)
    await other.load()
    assert wipe(catalogue).assessment.risk == "high"
    assert await settle(database, Category.WRITE, wipe(catalogue).hash)
    for one in (catalogue, other):
        await one.load_classes()
        assert (wipe(one).assessment.category, wipe(one).assessment.risk) == ("Write", "medium")
    again = await listed(database, clock, WIPE)  # listed again, as it was
    found = wipe(again).settled
    assert found is not None
    assert found.settled_by == "alice"
    assert told(database) == [("alice", "Write")]


async def test_taking_it_back_is_on_record_and_leaves_the_guess(
    database: Database, clock: HandClock
) -> None:
    catalogue = await listed(database, clock, WIPE)
    pinned = wipe(catalogue).hash
    assert not await settle(database, None, pinned)  # nothing was said yet
    assert await settle(database, Category.READ, pinned)
    assert await settle(database, None, pinned)
    await catalogue.load_classes()
    assert wipe(catalogue).assessment.risk == "high"
    assert wipe(catalogue).settled is None
    assert told(database) == [("alice", "Read"), ("alice", None)]


async def test_a_changed_definition_that_is_accepted_takes_the_class_away(
    database: Database, clock: HandClock
) -> None:
    catalogue = await listed(database, clock, WIPE)
    assert await settle(database, Category.READ, wipe(catalogue).hash)
    await listed(database, clock, CHANGED)
    await catalogue.load()
    assert wipe(catalogue).quarantined
    changed = wipe(catalogue).seen_hash
    assert await catalogue.accept("srv", {("tool", "wipe"): changed}, by="bob")
    assert wipe(catalogue).settled is None
    assert wipe(catalogue).assessment.risk == "high"
    assert told(database) == [("alice", "Read"), ("", None)]
    # Back to the first definition: what was said of it then is not remembered either.
    await catalogue.observe("srv", [WIPE], complete=True)
    assert await catalogue.accept("srv", {("tool", "wipe"): wipe(catalogue).seen_hash}, by="bob")
    assert wipe(catalogue).settled is None


async def test_a_class_said_of_another_pin_is_not_taken(
    database: Database, clock: HandClock
) -> None:
    catalogue = await listed(database, clock, WIPE)
    assert not await settle(database, Category.READ, "0" * 64)
    await catalogue.load_classes()
    assert wipe(catalogue).settled is None
    assert told(database) == []
