"""What a server lists is bounded, calls that find it stale share one listing, and a server or an
agent that makes lists slow or endless slows no other agent.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types import CallToolResult, TextContent

from approvals.model import Event
from approvals.record.database import Database
from approvals.record.history import HistoryQuery, search
from gateway.enforcement.catalogue import Catalogue
from tests.hostile.pinned import ground
from tests.support.live_gateway import DEPLOYED, witness
from tests.support.record import KEYS, HandClock

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("listing_floods")]

UNLISTED = "Not executed: the server did not list its tools. Nothing was sent. Try again later."
PATIENCE = 120.0


def tools(number: int, size: int = 0) -> list[dict[str, Any]]:
    schema = {"type": "object"}
    return [
        {"name": f"t{n}", "description": "x" * size, "inputSchema": schema} for n in range(number)
    ]


def text(result: CallToolResult) -> str:
    block = result.content[0]
    assert isinstance(block, TextContent)
    return block.text


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SIGNOFF_MAX_TOOLS": "20"}, {"tools": tools(21)}),
        ({"SIGNOFF_MAX_LISTING": "20000"}, {"tools": tools(20, 1_000), "pages": 5}),
        ({}, {"tools": tools(101), "pages": 1}),
    ],
    ids=["names", "bytes", "pages"],
)
async def test_a_listing_without_measure_is_refused_and_others_go_on(
    tmp_path: Path, environ: dict[str, str], words: dict[str, Any]
) -> None:
    environ = DEPLOYED | environ  # a server more needs no confirmation
    with witness(tmp_path) as other, ground(tmp_path, "http", environ=environ, **words) as there:
        there.site.stop()
        there.site.servers(s={"url": there.server.url, "protocol": "legacy"}, w={"url": other.url})
        there.site.start()
        async with there.agent("/mcp/s") as evil, there.agent("/mcp") as everything:
            assert text(await evil.call_tool("t0", {})) == UNLISTED
            assert text(await everything.call_tool("w__free", {"key": "k"})) == "free k"
            listed = {tool.name for tool in (await everything.list_tools()).tools}
            assert "w__free" in listed
            assert not any(name.startswith("s__") for name in listed)
            there.server.says(tools=tools(3))
            assert text(await evil.call_tool("t0", {})) == "ran"
        with there.site.record() as database:
            rows = [row.event for row in database.read_now(_history).rows]
        pinned = [row.tool for row in rows if row.event == "tool_pinned" and row.server == "s"]
        assert sorted(pinned) == ["t0", "t1", "t2"]


def _history(connection: Any) -> Any:
    return search(connection, HistoryQuery(limit=1_000))


async def test_calls_that_find_it_unlisted_share_one_listing(tmp_path: Path) -> None:
    words: dict[str, Any] = {"tools": tools(1), "hang": 1, "hang_for": ""}
    results: list[str] = []
    with ground(tmp_path, "http", **words) as there:
        async with there.agent("/mcp/s") as client, anyio.create_task_group() as calls:

            async def call() -> None:
                results.append(text(await client.call_tool("t0", {})))

            for _ in range(20):
                calls.start_soon(call)
        assert results == ["ran"] * 20
        assert there.server.asked.count("tools/list") == 1


async def test_a_call_that_finds_the_list_old_waits_for_a_new_one(tmp_path: Path) -> None:
    """The last thing the server hears is the list in which the change shows, and no call."""
    with ground(tmp_path, "http", environ={"SIGNOFF_LIST_REFRESH": "5"}, tools=tools(1)) as there:
        async with there.agent("/mcp/s") as client:
            assert text(await client.call_tool("t0", {})) == "ran"
            there.server.says(tools=tools(1, size=9))
            with anyio.fail_after(PATIENCE):
                while not (await client.call_tool("t0", {})).is_error:
                    await anyio.lowlevel.checkpoint()
        assert there.server.asked[-1] == "tools/list"


async def test_a_list_that_does_not_come_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    with ground(tmp_path, "http", tools=tools(1), hang=600, hang_for="") as there:
        async with there.agent("/mcp/s") as client:
            with anyio.fail_after(PATIENCE):
                assert text(await client.call_tool("t0", {})) == UNLISTED
        assert "tools/call" not in there.server.asked


async def test_an_agent_whose_session_hangs_keeps_no_other_from_calling(tmp_path: Path) -> None:
    """Each has a process of its own of one command server; the attacker's never lists."""
    words: dict[str, Any] = {"tools": tools(1), "hang": 600, "hang_for": "attacker"}
    with ground(tmp_path, "stdio", **words) as there:
        other = there.site.grant("other")
        async with (
            there.agent("/mcp/s", name="attacker") as attacker,
            there.agent("/mcp/s", name="bystander", token=other) as bystander,
            anyio.create_task_group() as calls,
        ):
            refused: list[str] = []

            async def attack() -> None:
                refused.append(text(await attacker.call_tool("t0", {})))

            for _ in range(3):
                calls.start_soon(attack)
            with anyio.fail_after(PATIENCE):
                assert text(await bystander.call_tool("t0", {})) == "ran"
        assert len(refused) == 3


async def test_other_writes_get_their_turn_between_the_parts_of_a_long_list(tmp_path: Path) -> None:
    """Told by the history: a bystander's row stands among the pins of an endless list."""
    url = f"sqlite:///{tmp_path / 'signoff.db'}"
    database = Database.open(url, key=KEYS, clock=HandClock())
    try:
        catalogue = Catalogue(database)
        begun, loop = anyio.Event(), asyncio.get_running_loop()

        async def bystander() -> None:
            await begun.wait()
            row = Event(event="bystander", actor_kind="operator")
            await database.journal.write(lambda tx: tx.append(row))

        def committed(_rung: frozenset[str], _seq: int) -> None:
            loop.call_soon_threadsafe(begun.set)

        database.journal.listen(committed)
        async with anyio.create_task_group() as both:
            both.start_soon(bystander)
            await catalogue.observe("evil", tools(1_000), complete=True)
        rows = [row.event.event for row in reversed(database.read_now(_history).rows)]
    finally:
        database.close_now()
    assert rows.count("tool_pinned") >= 900  # the page shows a thousand rows
    assert rows.index("bystander") < len(rows) - 100
