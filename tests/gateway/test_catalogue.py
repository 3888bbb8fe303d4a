"""Pins of tool definitions (06, T-60 to T-62)."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.history import HistoryQuery, search
from approvals.store import Database
from gateway.catalogue import Catalogue, accept, definition_hash
from tests.approvals.record import HandClock

pytestmark = pytest.mark.anyio

PAY = {"name": "pay", "description": "Pays", "inputSchema": {"type": "object"}}


def events(database: Database) -> list[tuple[str, str]]:
    """(event, tool) of every history row, oldest first."""
    page = database.read_now(lambda connection: search(connection, HistoryQuery()))
    return [(row.event.event, row.event.tool) for row in reversed(page.rows)]


async def seen(database: Database, clock: HandClock, *tools: dict[str, Any]) -> Catalogue:
    catalogue = Catalogue(database)
    await catalogue.load()
    await catalogue.observe("bank", tools, complete=True, now=clock.now())
    return catalogue


async def test_first_sight_pins_the_definition(database: Database, clock: HandClock) -> None:
    catalogue = await seen(database, clock, PAY)
    tool = catalogue.tool("bank", "pay")
    assert tool is not None
    assert not tool.quarantined
    assert tool.hash == definition_hash(PAY)
    assert events(database) == [("tool_pinned", "pay")]


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Pays twice"},
        {"title": "Pay!"},
        {"inputSchema": {"type": "object", "properties": {"to": {"type": "string"}}}},
        {"outputSchema": {"type": "object"}},
        {"annotations": {"readOnlyHint": True}},
    ],
)
async def test_a_changed_definition_quarantines_the_tool(
    database: Database, clock: HandClock, change: dict[str, Any]
) -> None:
    await seen(database, clock, PAY)
    catalogue = await seen(database, clock, {**PAY, **change})
    tool = catalogue.tool("bank", "pay")
    assert tool is not None
    assert tool.quarantined
    assert tool.hash == definition_hash(PAY)
    assert events(database)[-1] == ("tool_changed", "pay")


async def test_meta_and_icons_may_change_freely(database: Database, clock: HandClock) -> None:
    await seen(database, clock, PAY)
    catalogue = await seen(database, clock, {**PAY, "_meta": {"a": 1}, "icons": []})
    tool = catalogue.tool("bank", "pay")
    assert tool is not None
    assert not tool.quarantined


async def test_accepting_pins_what_was_shown_and_nothing_newer(
    database: Database, clock: HandClock
) -> None:
    shown = {**PAY, "description": "Pays twice"}
    await seen(database, clock, PAY)
    await seen(database, clock, shown)
    catalogue = await seen(database, clock, {**PAY, "description": "Pays thrice"})
    assert not await catalogue.accept("bank", "pay", seen_hash=definition_hash(shown), by="alice")
    newest = definition_hash({**PAY, "description": "Pays thrice"})
    assert await catalogue.accept("bank", "pay", seen_hash=newest, by="alice")
    tool = catalogue.tool("bank", "pay")
    assert tool is not None
    assert not tool.quarantined
    assert tool.accepted_by == "alice"
    assert events(database)[-1] == ("tool_accepted", "pay")


async def test_going_back_to_the_pinned_definition_ends_the_quarantine(
    database: Database, clock: HandClock
) -> None:
    await seen(database, clock, PAY)
    await seen(database, clock, {**PAY, "description": "Pays twice"})
    catalogue = await seen(database, clock, PAY)
    tool = catalogue.tool("bank", "pay")
    assert tool is not None
    assert not tool.quarantined


async def test_a_tool_that_is_gone_and_comes_back_keeps_its_pin(
    database: Database, clock: HandClock
) -> None:
    await seen(database, clock, PAY)
    catalogue = await seen(database, clock)
    assert catalogue.tools() == []
    catalogue = await seen(database, clock, {**PAY, "description": "Other"})
    tool = catalogue.tool("bank", "pay")
    assert tool is not None
    assert tool.quarantined


async def test_one_name_on_two_servers_is_two_tools(database: Database, clock: HandClock) -> None:
    catalogue = await seen(database, clock, PAY)
    other = {**PAY, "description": "Mine now"}
    await catalogue.observe("evil", [other], complete=True, now=clock.now())
    mine, theirs = catalogue.tool("bank", "pay"), catalogue.tool("evil", "pay")
    assert mine is not None
    assert theirs is not None
    assert not mine.quarantined
    assert mine.hash != theirs.hash


async def test_an_acceptance_by_another_process_is_seen_at_the_next_look(
    database: Database, clock: HandClock
) -> None:
    await seen(database, clock, PAY)
    changed = {**PAY, "description": "Pays twice"}
    catalogue = await seen(database, clock, changed)
    digest = definition_hash(changed)
    database.journal.write_now(lambda tx: accept(tx, "bank", "pay", seen_hash=digest, by="bob"))
    assert await catalogue.accepted_elsewhere("bank", "pay")
    tool = catalogue.tool("bank", "pay")
    assert tool is not None
    assert not tool.quarantined
    assert tool.accepted_by == "bob"


@pytest.mark.parametrize("name", [None, 5, "", "x" * 10_000, "\u202e"])
async def test_a_hostile_listing_breaks_nothing(
    database: Database, clock: HandClock, name: object
) -> None:
    catalogue = await seen(database, clock, {"name": name, "annotations": 7, "inputSchema": []})
    assert catalogue.tool("bank", "pay") is None
