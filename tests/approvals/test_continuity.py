"""An approval is proven without the writer's thread reading the history at length: no agent's call
is recorded meanwhile. What is read is read once, and by the threads that read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from approvals import execution
from approvals.model import Approval, Event
from approvals.record.database import Database, Transaction
from approvals.record.history import HISTORY, Head, head
from approvals.record.keys import Keys
from approvals.record.signed import keep_near
from approvals.reviewers import add
from approvals.rows import APPROVAL
from tests.support.intruder import Intruder
from tests.support.record import ClaimOutcome, HandClock, Record, run

MANY = 600  # rows: more than the writer may read


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Iterator[Callable[[], Record]]:
    """The record as one more process sees it that starts now."""
    clock, records = HandClock(), list[Record]()
    keys = Keys(b"0123456789abcdef0123456789abcdef", folder=tmp_path)

    def open_() -> Record:
        records.append(Record(Database.open(url, key=keys, clock=clock), clock, url))
        return records[-1]

    yield open_
    for one in records:
        one.database.close_now()


def works(record: Record, rows: int = MANY) -> None:
    def write(tx: Transaction) -> None:
        for _ in range(rows):
            tx.append(Event(event="allowed", actor_kind="agent", actor="x"))

    record.write(write)


def claims(record: Record, approval: Approval) -> int:
    """Claim it; how often the writer had the history read for that. It read little itself."""
    journal, asked = record.database.journal, list[int]()
    prove, tries = journal.prove, list[bool]()
    assert prove is not None

    def counted(seq: int) -> Future[None]:
        asked.append(seq)
        return prove(seq)

    def claim(tx: Transaction) -> ClaimOutcome:
        tries.append(tx.patient)
        return run(tx, approval, "gw1")

    journal.prove = counted
    assert isinstance(record.write(claim), execution.Claimed)
    journal.prove = prove
    assert not any(tries)
    return len(asked)


def test_an_approval_from_before_the_start_is_proven_outside_of_the_writer(
    opened: Callable[[], Record],
) -> None:
    record = opened()
    old, older = record.approved({"n": 1}), record.approved({"n": 2})
    works(record)
    record.database.close_now()
    again = opened()
    assert claims(again, old) == 1
    assert claims(again, older) == 0  # as good as all was read by then


def test_what_another_replica_wrote_is_read_once_and_not_in_the_writer(
    opened: Callable[[], Record],
) -> None:
    record, other = opened(), opened()
    approvals = [record.approved({"n": n}) for n in range(3)]
    works(other)
    assert claims(record, approvals[0]) == 1
    works(other)
    record.read(record.database.watch.look)  # as each second
    works(record)
    assert claims(record, approvals[1]) == 0
    works(other, rows=20)
    works(record)
    assert claims(record, approvals[2]) == 0  # a few rows it reads itself, its own not at all


def test_a_row_behind_it_that_was_taken_away_is_missed_by_any_thread(
    opened: Callable[[], Record], url: str
) -> None:
    record = opened()
    approved = record.approved()
    works(record, rows=3)
    assert isinstance(record.claim(approved), execution.Claimed)
    record.finish(approved)
    works(record)
    record.database.watch.keep()
    intruder = Intruder(url)
    (row,) = intruder.reads(APPROVAL, id=approved.id)
    intruder.opens_the_history()
    intruder.does(
        HISTORY.delete().where(
            HISTORY.c.approval_id == approved.id, HISTORY.c.event.in_(["claimed", "succeeded"])
        )
    )
    intruder.puts_back(APPROVAL, {**row, "state": "approved", "execution": "none"})
    intruder.leaves()
    for gateway in (record, opened()):
        assert not isinstance(gateway.claim(approved), execution.Claimed)


def test_a_start_reads_no_more_than_what_came_since_it_was_written_down(
    opened: Callable[[], Record],
) -> None:
    record = opened()
    works(record)
    end = record.read(head)
    record.database.close_now()
    again = opened()
    assert again.database.continuity.position() == (end, Head(0, "0" * 64))


def test_the_ledger_is_told_anew_when_its_newest_row_is_far_behind(
    opened: Callable[[], Record], tmp_path: Path
) -> None:
    record = opened()
    record.write(lambda tx: add(tx, "alice", role="admin"))
    works(record)
    record.write(keep_near)
    assert "checkpoint" not in record.events()
    works(record, rows=20_000)
    record.write(keep_near)
    assert record.events()[-1] == "checkpoint"
    works(record, rows=1)
    record.database.close_now()
    for path in tmp_path.glob("*.seen"):
        path.unlink()  # as where only the key is kept
    again = opened()
    assert again.database.watch.trouble is None
    position = again.database.continuity.position()
    assert position is not None
    assert position[0].seq == position[1].seq + 1
