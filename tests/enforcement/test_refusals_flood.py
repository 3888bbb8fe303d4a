"""Refusals beyond a rate are summed up, large arguments of refused calls are kept as digest and
head, and calls that are held and taken back have a rate. On a real guard and record.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from approvals import queue
from approvals.digest import canonical
from approvals.model import Call, Event
from approvals.record.database import Database
from approvals.record.history import HistoryQuery, search
from approvals.rows import APPROVAL
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.guard import Guard
from gateway.enforcement.policy_file import PolicyFile
from gateway.enforcement.recording import Allowed, Held, RefusedByPolicy, Spent, Unasked
from gateway.enforcement.refusal_tally import TOLD
from tests.support.grant import agent_grant
from tests.support.record import HandClock

pytestmark = pytest.mark.anyio

POLICY = {
    "version": "1",
    "default": "deny",
    "tools": {
        "held": {"require_approval": True},
        "few": {"limits": [{"counter": "few", "max": 1, "window": "hour", "scope": "grant"}]},
        "free": {},
    },
}


@pytest.fixture
def guard(database: Database, tmp_path: Path) -> Guard:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(POLICY), encoding="utf-8")
    return Guard(
        database=database,
        policies=PolicyFile(file, database.clock),
        catalogue=Catalogue(database),
        freezes=Freezes(database),
        trusted=frozenset(),
        default_hold=0,
        max_pending=100,
        max_withdrawn=3,
        lease_seconds=30,
        process="gw1",
    )


async def admitted(
    guard: Guard, tool: str, grant: str = "grt_a", **arguments: Any
) -> Allowed | Held | RefusedByPolicy | Spent | Unasked:
    call = Call(
        grant=grant,
        grant_label=grant,
        server="srv",
        tool=tool,
        arguments=canonical(arguments),
        tool_hash="",
    )
    asking = agent_grant(id=grant, label=grant)
    return await guard.admit(call, arguments, grant=asking)


async def rows(database: Database) -> list[Event]:
    """Every history row, oldest first, once what was posted is written."""
    await database.journal.write(lambda _: None)
    page = database.read_now(lambda connection: search(connection, HistoryQuery(limit=1_000)))
    return [row.event for row in reversed(page.rows)]


@pytest.mark.parametrize("tool", ["nothing", "few"])
async def test_refusals_beyond_the_rate_are_one_row_a_minute(
    guard: Guard, database: Database, clock: HandClock, tool: str
) -> None:
    for _ in range(3 * TOLD):
        await admitted(guard, tool)
    told = await rows(database)
    assert sum(row.event in ("denied", "limited") for row in told) == TOLD
    # Another agent's refusals are told, and so is what this one may do.
    assert isinstance(await admitted(guard, "nothing", grant="grt_b"), RefusedByPolicy)
    assert isinstance(await admitted(guard, "free"), Allowed)
    told = await rows(database)
    assert [(row.event, row.grant) for row in told[-2:]] == [
        ("denied", "grt_b"),
        ("allowed", "grt_a"),
    ]
    clock.pass_(seconds=61)
    guard.sum_up()
    summed = (await rows(database))[-1]
    assert (summed.event, summed.grant) == ("refusals_summed", "grt_a")
    data = json.loads(summed.data or "")
    allowed = sum(row.event == "allowed" and row.tool == tool for row in told)
    assert data["refused"] + TOLD + allowed == 3 * TOLD
    assert data["tools"] == {tool: data["refused"]}
    await admitted(guard, tool)
    assert (await rows(database))[-1].event in ("denied", "limited")


async def test_what_was_only_counted_is_told_when_the_gateway_stops(
    guard: Guard, database: Database
) -> None:
    for _ in range(TOLD + 5):
        await admitted(guard, "nothing")
    guard.sum_up(stopping=True)
    assert json.loads((await rows(database))[-1].data or "")["refused"] == 5


async def test_repeats_of_a_denied_call_are_summed_up_too(guard: Guard, database: Database) -> None:
    held = await admitted(guard, "held")
    assert isinstance(held, Held)
    await database.journal.write(
        lambda tx: tx.connection.execute(update(APPROVAL).values(state="denied", decided_at=tx.now))
    )
    for _ in range(2 * TOLD):
        refused = await admitted(guard, "held")
        assert isinstance(refused, RefusedByPolicy)
    assert sum(row.event == "repeated" for row in await rows(database)) == TOLD


async def test_large_arguments_of_a_refused_call_are_kept_as_digest_and_head(
    guard: Guard, database: Database
) -> None:
    await admitted(guard, "nothing", text="x" * 1_000_000)
    row = (await rows(database))[-1]
    assert row.arguments is None
    assert len(row.arguments_digest) == 64
    kept = json.loads(row.data or "")["arguments"]
    assert kept["head"].startswith('{"text":"xxx')
    assert (len(kept["head"]), kept["characters"]) == (1_024, 1_000_011)
    await admitted(guard, "nothing", text="short")
    assert (await rows(database))[-1].arguments == '{"text":"short"}'


async def test_an_agent_that_takes_its_held_calls_back_has_to_wait(
    guard: Guard, database: Database, clock: HandClock
) -> None:
    async def hold_and_cancel(number: int) -> bool:
        held = await admitted(guard, "held", number=number)
        if not isinstance(held, Held):
            return False
        await database.journal.write(
            lambda tx: queue.withdraw(tx, held.approval.id, grant="grt_a", why="cancelled")
        )
        return True

    assert [await hold_and_cancel(n) for n in range(5)] == [True, True, True, False, False]
    refused = await admitted(guard, "held", number=9)
    assert isinstance(refused, RefusedByPolicy)
    assert refused.refusal.meta["retry_after_seconds"] == 600
    assert "took back 3 held calls" in refused.refusal.text
    assert isinstance(await admitted(guard, "held", grant="grt_b"), Held)
    clock.pass_(seconds=600)
    assert await hold_and_cancel(10)
