"""Reminders: told once at half the time and once near its end, only of what still waits."""

from __future__ import annotations

import anyio
import pytest
from sqlalchemy import Connection

from approvals import decide, outbox, queue
from approvals.model import Choice, Terms
from approvals.outbox import LEASE, Notice
from approvals.outbox_worker import DeliveryRetry, Outbox
from approvals.record.database import Database
from tests.approvals.test_notify import Memory, worker
from tests.approvals.test_webhook import hook, verified
from tests.support.patience import PATIENCE
from tests.support.record import ALICE, BOB, KEYS, START, Record
from tests.support.webhook_receiver import receiver

HALF, LATE = 900, 1_440
"""Seconds after which a call that waits half an hour is told of again."""


def reminded(memory: Memory) -> list[tuple[int, int]]:
    """Which reminders were given, and for how many seconds after the request each was meant."""
    return [
        (one.reminder, (one.at - START) // 1000) for one in memory.told if one.kind == "reminder"
    ]


async def wait(record: Record, made: Outbox, *, seconds: int) -> None:
    record.clock.pass_(seconds=seconds)
    await made.round("memory")


async def test_a_call_that_waits_is_told_again_at_half_its_time_and_near_its_end(
    record: Record,
) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    held = record.hold()
    await wait(record, made, seconds=HALF - 1)
    assert memory.kinds() == ["held"]
    await wait(record, made, seconds=1)
    assert reminded(memory) == [(1, HALF)]
    await wait(record, made, seconds=LATE - HALF - 1)
    assert reminded(memory) == [(1, HALF)]
    await wait(record, made, seconds=1)
    await wait(record, made, seconds=359)
    assert reminded(memory) == [(1, HALF), (2, LATE)]
    assert len({one.id for one in memory.told}) == 3
    assert record.events(held) == ["held"]


@pytest.mark.parametrize("how", ["approved", "denied", "withdrawn", "superseded", "expired"])
async def test_what_no_longer_waits_is_not_told_again(record: Record, how: str) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    held = record.hold()
    match how:
        case "approved":
            record.decide(held)
        case "denied":
            record.decide(held, choice=Choice.DENY)
        case "withdrawn":
            record.write(lambda tx: queue.withdraw(tx, held.id, grant="grt_1", why="gone"))
        case "superseded":
            record.write(lambda tx: queue.supersede(tx, held.id, "new policy"))
        case _:
            record.clock.pass_(seconds=1_800)
    await wait(record, made, seconds=LATE)
    assert reminded(memory) == []
    assert record.read(_queued) == 0


async def test_a_vote_short_of_the_quorum_still_waits(record: Record) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    record.decide(record.hold(terms=Terms(quorum=2)), ALICE)
    await wait(record, made, seconds=HALF)
    assert reminded(memory) == [(1, HALF)]


async def test_a_restart_neither_loses_a_reminder_nor_gives_it_twice(record: Record) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    record.hold()
    await wait(record, made, seconds=HALF)
    again = Database.open(record.url, key=KEYS, clock=record.clock)
    after = Outbox(again, {"memory": memory}, clock=record.clock)
    await after.round("memory")
    assert reminded(memory) == [(1, HALF)]
    await wait(record, after, seconds=LATE - HALF)
    assert reminded(memory) == [(1, HALF), (2, LATE)]
    await again.close()


async def test_a_worker_that_died_with_a_reminder_leaves_it_to_the_next(record: Record) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    record.hold()
    await made.round("memory")
    record.clock.pass_(seconds=HALF)
    (taken,) = record.write(lambda tx: outbox.lease(tx, "memory", limit=10))
    assert (taken.kind, taken.reminder) == ("reminder", 1)
    await made.round("memory")
    assert reminded(memory) == []
    await wait(record, made, seconds=LEASE // 1000)
    assert [one.id for one in memory.told if one.kind == "reminder"] == [taken.id]


async def test_of_reminders_that_piled_up_only_the_last_is_given(record: Record) -> None:
    memory = Memory(lambda one: DeliveryRetry("away") if one.kind == "reminder" else None)
    made = await worker(record, memory=memory)
    record.hold()
    await wait(record, made, seconds=HALF)
    assert reminded(memory) == [(1, HALF)]
    memory.fails = lambda _: None
    await wait(record, made, seconds=LATE - HALF)
    await wait(record, made, seconds=60)
    assert reminded(memory) == [(1, HALF), (2, LATE)]
    assert record.read(_queued) == 0


async def test_a_deadline_that_moves_moves_the_reminders(record: Record) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    held = record.hold()
    record.write(lambda tx: decide.extend(tx, held.id, reviewer=BOB, seconds=1_800, via="page"))
    await wait(record, made, seconds=LATE)
    assert reminded(memory) == []
    await wait(record, made, seconds=1_800 - LATE)
    await wait(record, made, seconds=1_080)
    assert reminded(memory) == [(1, 1_800), (2, 2_880)]


async def test_whoever_must_decide_within_two_minutes_is_not_reminded(record: Record) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    record.hold({"n": 1}, terms=Terms(expires=119))
    record.hold({"n": 2}, terms=Terms(expires=120))
    await wait(record, made, seconds=60)
    assert reminded(memory) == [(1, 60)]


async def test_a_webhook_is_told_approval_reminder_while_the_call_waits(record: Record) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        worker_ = Outbox(record.database, {"webhook": made}, clock=record.clock)
        await worker_.enlist()
        held = record.hold()
        record.clock.pass_(seconds=HALF)
        with anyio.fail_after(PATIENCE):
            await worker_.round("webhook")
        told = verified(there.got[-1])
        record.decide(held)
        late = Notice(
            id="late",
            approval_id=held.id,
            kind="reminder",
            revision=1,
            version=1,
            state=held.state,
            execution=held.execution,
            at=record.clock.now(),
            tries=1,
            reminder=1,
        )
        before = len(there.got)
        await made.sync(late)
    assert (told["type"], told["data"]["reminder"]) == ("approval.reminder", 1)
    assert (told["data"]["id"], told["data"]["state"]) == (held.id, "pending")
    assert "decided_by" not in told["data"]
    assert len(there.got) == before


def _queued(connection: Connection) -> int:
    found = connection.exec_driver_sql("SELECT count(*) FROM outbox WHERE kind = 'reminder'")
    return int(found.scalar_one())
