"""What one batch hands to the next is never believed after another process has written."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from approvals import queue
from approvals.model import Event, Execution
from approvals.record.database import Database, Transaction
from approvals.record.history import Intact, verify
from tests.support.record import KEYS, START, HandClock, Record


@pytest.fixture
def other(url: str, record: Record) -> Iterator[Record]:
    """A second process on the same database."""
    clock = HandClock()
    database = Database.open(record.url, key=KEYS, clock=clock)
    yield Record(database, clock, url)
    database.close_now()


def count(tx: Transaction) -> Decimal:
    """One more, told in the history; how many it is."""
    state = tx.counter("calls")
    used = (state.used if state is not None else Decimal(0)) + 1
    tx.set_counter("calls", START, used)
    tx.append(Event(event="allowed", actor_kind="agent"))
    return used


def test_counters_of_two_processes_add_up(record: Record, other: Record) -> None:
    counts = [each.write(count) for _ in range(5) for each in (record, record, other)]

    assert counts == list(range(1, 16))
    assert isinstance(record.read(lambda connection: verify(connection, KEYS)), Intact)


def test_a_batch_that_tells_nothing_sees_what_another_process_counted(
    record: Record, other: Record
) -> None:
    record.write(count)
    other.write(count)

    state = record.write(lambda tx: tx.counter("calls"))

    assert state is not None
    assert state.used == 2


def test_a_batch_run_anew_is_recorded_once(record: Record, other: Record) -> None:
    record.write(count)
    other.write(count)
    runs: list[int] = []

    def once(tx: Transaction) -> int:
        runs.append(tx.seq)
        return tx.append(Event(event="allowed", actor_kind="agent"))

    assert record.write(once) == 3
    assert runs[-1] == 2
    found = other.read(lambda connection: verify(connection, KEYS))
    assert isinstance(found, Intact)
    assert found.rows == 3


def test_a_batch_that_failed_leaves_nothing_to_believe(record: Record) -> None:
    record.write(count)

    def fail(tx: Transaction) -> None:
        count(tx)
        raise LookupError

    with pytest.raises(LookupError):
        record.write(fail)

    assert record.write(count) == 2


def test_an_outcome_that_becomes_unknown_elsewhere_is_seen_at_once(
    record: Record, other: Record
) -> None:
    approval = record.approved()
    record.claim(approval)

    def doubt(tx: Transaction) -> bool:
        tx.append(Event(event="allowed", actor_kind="agent"))
        return queue.unsettled(tx, approval.digest) is not None

    assert not record.write(doubt)
    other.finish(approval, Execution.OUTCOME_UNKNOWN, result=None)

    assert record.write(doubt)
