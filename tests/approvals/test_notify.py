"""The outbox: what changed is told at least once, in order, with patience and an end to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from approvals import outbox, outbox_worker
from approvals.model import Choice, State
from approvals.outbox import LEASE, Notice
from approvals.outbox_worker import MOST_TRIES, OLDEST, DeliveryRetry, GiveUp, Outbox
from approvals.record.database import Database
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE
from tests.support.record import BOB, KEYS, Record


class Memory:
    """A notifier that remembers; what `fails` gives for a notice is raised."""

    def __init__(self, fails: Callable[[Notice], Exception | None] = lambda _: None) -> None:
        self.told: list[Notice] = []
        self.fails = fails
        self.changed = asyncio.Event()

    async def sync(self, delivery: Notice) -> None:
        self.told.append(delivery)
        self.changed.set()
        error = self.fails(delivery)
        if error is not None:
            raise error

    def kinds(self) -> list[str]:
        return [one.kind for one in self.told]


async def worker(record: Record, **notifiers: Memory) -> Outbox:
    made = Outbox(record.database, notifiers, clock=record.clock, jitter=lambda: 1.0)
    await made.enlist()
    return made


@asynccontextmanager
async def running(made: Outbox) -> AsyncIterator[None]:
    task = asyncio.create_task(made.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def rows(record: Record) -> list[tuple[Any, ...]]:
    """The changes still to be told; reminders have tests of their own."""
    return record.read(
        lambda connection: [
            tuple(row)
            for row in connection.exec_driver_sql(
                "SELECT kind, tries, error, done_at IS NOT NULL FROM outbox "
                "WHERE kind <> 'reminder' ORDER BY id"
            )
        ]
    )


async def test_every_change_is_told_once_and_in_order(record: Record) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    approved = record.approved()
    record.claim(approved)
    record.finish(approved)
    assert await made.round("memory") == 0
    assert memory.kinds() == ["held", "approved", "succeeded"]
    first, second, third = memory.told
    assert (first.state, first.tries, first.at) == (State.PENDING, 1, record.clock.now())
    assert (second.state, second.version) == (State.APPROVED, 2)
    assert str(third.execution) == "succeeded"
    assert rows(record) == []
    assert await made.round("memory") == 0
    assert len(memory.told) == 3


async def test_a_change_rings_the_worker_at_once(record: Record) -> None:
    memory = Memory()
    async with running(await worker(record, memory=memory)):
        with anyio.fail_after(PATIENCE):
            await asyncio.to_thread(record.hold)
            await memory.changed.wait()
    assert memory.kinds() == ["held"]


async def test_a_failure_is_tried_again_later_and_later_under_the_same_key(
    record: Record,
) -> None:
    memory = Memory(lambda one: DeliveryRetry("busy") if one.tries < 4 else None)
    made = await worker(record, memory=memory)
    record.hold()
    waited = []
    for _ in range(4):
        assert await made.round("memory") in (None, 0)
        seconds = 0
        while not record.read(
            lambda connection: outbox.is_due(connection, "memory", record.clock.now())
        ):
            if not rows(record):
                break
            record.clock.pass_(seconds=1)
            seconds += 1
        waited.append(seconds)
    assert waited == [1, 2, 4, 0]
    assert len({one.id for one in memory.told}) == 1
    assert [one.tries for one in memory.told] == [1, 2, 3, 4]


async def test_what_follows_a_failure_of_the_same_approval_waits_and_others_do_not(
    record: Record,
) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    blocked, other = record.approved({"n": 1}), record.hold({"n": 2})
    memory.fails = lambda one: DeliveryRetry("busy") if one.approval_id == blocked.id else None
    assert await made.round("memory") == 0
    assert sorted((one.approval_id, one.kind) for one in memory.told) == sorted(
        [(blocked.id, "held"), (other.id, "held")]
    )
    assert rows(record) == [("held", 1, "busy", False), ("approved", 0, "", False)]
    memory.fails = lambda _: None
    record.clock.pass_(seconds=1)
    await made.round("memory")
    assert memory.kinds()[-2:] == ["held", "approved"]


async def test_the_other_sides_wish_to_be_left_alone_is_granted(record: Record) -> None:
    memory = Memory(lambda _: DeliveryRetry("slow down", after=30.0))
    made = await worker(record, memory=memory)
    record.hold()
    assert await made.round("memory") == 30.0
    record.clock.pass_(seconds=29)
    assert await made.round("memory") == 0
    assert len(memory.told) == 1
    record.clock.pass_(seconds=1)
    await made.round("memory")
    assert len(memory.told) == 2


async def test_what_will_never_work_is_kept_for_the_operator_and_not_tried_again(
    record: Record,
) -> None:
    memory = Memory(lambda _: GiveUp("gone"))
    made = await worker(record, memory=memory)
    record.hold()
    await made.round("memory")
    record.clock.pass_(seconds=86_400)
    await made.round("memory")
    assert len(memory.told) == 1
    assert rows(record) == [("held", 1, "gone", True)]
    later = record.clock.now() + 1
    assert record.write(lambda tx: outbox.prune(tx, before=later)) == 1


@pytest.mark.parametrize(("step", "tries"), [(1_800, MOST_TRIES), (OLDEST // 1000, 2)])
async def test_trying_ends_by_count_or_by_age(record: Record, step: int, tries: int) -> None:
    memory = Memory(lambda _: DeliveryRetry("down"))
    made = await worker(record, memory=memory)
    record.hold()
    for _ in range(60):
        await made.round("memory")
        record.clock.pass_(seconds=step)
    assert len(memory.told) == tries
    assert rows(record) == [("held", tries, "down", True)]


async def test_a_worker_that_died_in_the_middle_leaves_the_notice_to_the_next(
    record: Record,
) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    record.hold()
    (taken,) = record.write(lambda tx: outbox.lease(tx, "memory", limit=10))
    assert await made.round("memory") == 0
    assert memory.told == []
    record.clock.pass_(seconds=LEASE / 1000)
    await made.round("memory")
    assert [(one.id, one.tries) for one in memory.told] == [(taken.id, 2)]


async def test_a_worker_that_lives_keeps_what_it_has_in_hand(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_worker, "_RENEW", 0.01)
    go_on = asyncio.Event()

    class Slow(Memory):
        async def sync(self, delivery: Notice) -> None:
            await super().sync(delivery)
            await go_on.wait()

    slow = Slow()
    made = await worker(record, memory=slow)
    record.hold()
    round_ = asyncio.create_task(made.round("memory"))
    with anyio.fail_after(PATIENCE):
        await slow.changed.wait()
        for _ in range(3):
            record.clock.pass_(seconds=LEASE / 1000 - 1)
            until = record.clock.now() + LEASE
            await asyncio.to_thread(eventually, partial(is_due_at, record, until))
            assert await made.round("memory") == 0
        go_on.set()
        await round_
    assert len(slow.told) == 1
    assert rows(record) == []


def is_due_at(record: Record, at: int) -> bool:
    """Whether the one notice is due again then, and no sooner."""
    query = "SELECT due_at FROM outbox WHERE kind = 'held'"
    return record.read(lambda connection: int(connection.exec_driver_sql(query).scalar_one()) == at)


async def test_two_workers_share_the_work_and_tell_nothing_twice(record: Record) -> None:
    memory = Memory()
    one = await worker(record, memory=memory)
    elsewhere = Database.open(record.url, key=KEYS, clock=record.clock)
    other = Outbox(elsewhere, {"memory": memory}, clock=record.clock)
    for n in range(40):
        record.hold({"n": n})
    with anyio.fail_after(PATIENCE):
        while rows(record):
            await asyncio.gather(one.round("memory"), other.round("memory"))
    await elsewhere.close()
    assert len(memory.told) == len({notice.id for notice in memory.told}) == 40


async def test_a_notifier_that_fails_holds_up_no_other(record: Record) -> None:
    dead, well = Memory(lambda _: RuntimeError("bug")), Memory()
    async with running(await worker(record, dead=dead, well=well)):
        with anyio.fail_after(PATIENCE):
            for n in range(3):
                well.changed.clear()
                await asyncio.to_thread(record.hold, {"n": n})
                await well.changed.wait()
    assert well.kinds() == ["held"] * 3
    assert dead.kinds()[0] == "held"


async def test_nothing_is_sent_while_the_record_is_away(sqlite_record: Record) -> None:
    memory = Memory()
    made = await worker(sqlite_record, memory=memory)
    sqlite_record.hold()
    sqlite_record.write(lambda tx: tx.connection.exec_driver_sql("PRAGMA query_only = ON"))
    async with running(made):
        with anyio.fail_after(PATIENCE):  # the first lease fails; another connection goes on
            await memory.changed.wait()
    assert memory.kinds() == ["held"]
    assert rows(sqlite_record) in ([], [("held", 1, "", False)])


async def test_a_command_beside_the_gateway_queues_for_its_notifiers_too(record: Record) -> None:
    memory = Memory()
    made = await worker(record, memory=memory)
    held = record.hold()
    command = Record(
        Database.open(record.url, key=KEYS, clock=record.clock), record.clock, record.url
    )
    command.decide(held, BOB, Choice.DENY)
    command.database.close_now()
    await made.round("memory")
    assert memory.kinds() == ["held", "denied"]
