"""Waiting: woken at once here, soon from another process, and never missing a change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest
import uvloop

from approvals import queue
from approvals.model import Approval, Choice, Decided, Moved, NotFound, State, Terms, Vote
from approvals.record.database import Database
from approvals.service import Approvals
from approvals.wakeup import Wakeup
from tests.support.patience import PATIENCE
from tests.support.record import ALICE, BOB, KEYS, Record, hold


@contextmanager
def face(record: Record) -> Iterator[Approvals]:
    wakeup = Wakeup(record.database)
    try:
        yield Approvals(record.database, wakeup, record.clock, KEYS)
    finally:
        wakeup.close()


@asynccontextmanager
async def elsewhere(record: Record) -> AsyncIterator[Approvals]:
    """The same record opened as another process would: other connections, other wake-ups."""
    database = Database.open(record.url, key=KEYS, clock=record.clock)
    wakeup = Wakeup(database)
    yield Approvals(database, wakeup, record.clock, KEYS)
    await asyncio.to_thread(wakeup.close)
    await database.close()


def approve(approvals: Approvals, approval_id: str) -> asyncio.Future[Decided]:
    return asyncio.ensure_future(
        approvals.decide(
            approval_id, Vote(revision=1, reviewer=ALICE, choice=Choice.APPROVE, via="page")
        )
    )


async def test_a_decision_before_the_waiter_listens_is_not_missed(record: Record) -> None:
    held = record.hold()
    with face(record) as approvals, anyio.fail_after(PATIENCE):
        await approve(approvals, held.id)
        found = await approvals.wait(held.id, version=held.version, timeout=PATIENCE)
    assert found is not None
    assert found.state is State.APPROVED


async def test_a_decision_at_the_moment_the_waiter_listens_is_not_missed(record: Record) -> None:
    with face(record) as approvals, anyio.fail_after(PATIENCE):
        for n in range(25):
            held = record.hold({"n": n})
            barrier = threading.Barrier(2)
            deciding = asyncio.create_task(asyncio.to_thread(decide_at, barrier, record, held))
            await asyncio.to_thread(barrier.wait, PATIENCE)
            found = await approvals.wait(held.id, version=held.version, timeout=PATIENCE)
            assert found is not None
            assert found.state is State.APPROVED
            await deciding


def decide_at(barrier: threading.Barrier, record: Record, held: Approval) -> None:
    barrier.wait(PATIENCE)
    record.decide(held)


async def test_a_waiter_is_woken_by_a_decision_here(record: Record) -> None:
    held = record.hold()
    with face(record) as approvals, anyio.fail_after(PATIENCE):
        waiting = asyncio.ensure_future(approvals.wait(held.id, version=1, timeout=PATIENCE))
        await asyncio.sleep(0)
        await approve(approvals, held.id)
        found = await waiting
    assert found is not None
    assert (found.state, found.call.arguments) == (
        State.APPROVED,
        b'{"amount":1200,"payment_id":"pay_1"}',
    )


async def test_a_waiter_is_woken_by_a_decision_in_another_process(record: Record) -> None:
    held = record.hold()
    with face(record) as approvals, anyio.fail_after(PATIENCE):
        async with elsewhere(record) as other:
            waiting = asyncio.ensure_future(approvals.wait(held.id, version=1, timeout=PATIENCE))
            with approvals.wakeup.waiting(None) as watching:  # the watcher runs from here on
                await watching.wait(PATIENCE)
                await approve(other, held.id)
                found = await waiting
                while (rung := await watching.wait(PATIENCE)) is not None and held.id not in rung:
                    pass
    assert found is not None
    assert found.state is State.APPROVED
    assert rung is not None


async def test_a_wait_ends_with_none_when_nothing_happens(record: Record) -> None:
    held = record.hold()
    with face(record) as approvals, anyio.fail_after(PATIENCE):
        assert await approvals.wait(held.id, version=1, timeout=0.05) is None


async def test_a_change_of_another_approval_wakes_nobody_for_long(record: Record) -> None:
    held, other = record.hold({"n": 1}), record.hold({"n": 2})
    with face(record) as approvals, anyio.fail_after(PATIENCE):
        waiting = asyncio.ensure_future(approvals.wait(held.id, version=1, timeout=0.5))
        await approve(approvals, other.id)
        assert await waiting is None


async def test_many_waiters_of_one_approval_are_all_woken(record: Record) -> None:
    held = record.hold()
    with face(record) as approvals, anyio.fail_after(PATIENCE):
        waiting = [
            asyncio.ensure_future(approvals.wait(held.id, version=1, timeout=PATIENCE))
            for _ in range(50)
        ]
        await asyncio.sleep(0)
        await approve(approvals, held.id)
        found = await asyncio.gather(*waiting)
    assert {one.state for one in found if one} == {State.APPROVED}


def test_waiting_works_on_uvloop(sqlite_record: Record) -> None:
    held = sqlite_record.hold()

    async def work(approvals: Approvals) -> State | None:
        waiting = asyncio.ensure_future(approvals.wait(held.id, version=1, timeout=PATIENCE))
        await asyncio.sleep(0)
        await approve(approvals, held.id)
        found = await waiting
        return None if found is None else found.state

    with face(sqlite_record) as approvals:
        assert uvloop.run(work(approvals)) is State.APPROVED


async def test_the_queue_lists_the_riskiest_first_then_the_most_urgent(record: Record) -> None:
    terms = {
        "low": Terms(risk="low", expires=60),
        "soon": Terms(risk="high", expires=120),
        "later": Terms(risk="high", expires=600),
        "critical": Terms(risk="critical", expires=3600, reviewers=("bob",)),
        "gone": Terms(risk="critical", expires=10),
    }
    ids = {record.hold({"name": name}, terms=one).id: name for name, one in terms.items()}
    record.clock.pass_(seconds=10)
    with face(record) as approvals:
        everything = await approvals.pending()
        assert [ids[one.id] for one in everything] == ["critical", "soon", "later", "low"]
        alices = await approvals.pending(reviewer=ALICE, limit=2)
        assert [ids[one.id] for one in alices] == ["soon", "later"]
        bobs = await approvals.pending(reviewer=BOB, limit=1)
        assert [ids[one.id] for one in bobs] == ["critical"]


async def test_a_short_id_means_an_approval_only_where_it_is_unambiguous(record: Record) -> None:
    ids = sorted(record.write(lambda tx: [hold(tx, {"n": n}).id for n in range(40)]))
    with face(record) as approvals:
        for one in ids[:5]:
            for written in (one, one[:16], one[4:16]):
                found = await approvals.get(written)
                assert found is not None
                assert found.id == one
        assert await approvals.get("apr_") is None
        assert await approvals.get("") is None
        assert await approvals.get("apr_%") is None
        decided = await approve(approvals, "apr_")
        assert decided == NotFound()
        assert isinstance(await approve(approvals, ids[0][:16]), Moved)
        assert len(await approvals.decisions(ids[0])) == 1


@pytest.mark.parametrize("grant", ["grt_1", "grt_2"])
async def test_withdrawing_says_whether_it_did(record: Record, grant: str) -> None:
    held = record.hold()
    with face(record) as approvals:
        assert await approvals.withdraw(held.id, grant=grant, why="left") is (grant == "grt_1")
    assert record.write(lambda tx: queue.count_open(tx, "grt_1")) == (grant == "grt_2")
