"""What is sealed goes when its time is over, and never while it may still be needed."""

from __future__ import annotations

from sqlalchemy import select

from approvals import retention
from approvals.model import Choice
from approvals.rows import APPROVAL
from tests.approvals.record import ALICE, Record

DAY = 86_400


def kept(record: Record, approval_id: str) -> tuple[bool, bool]:
    """Whether arguments and result are still there, sealed."""
    columns = select(APPROVAL.c.arguments_sealed, APPROVAL.c.result_sealed)
    row = record.read(
        lambda connection: connection.execute(columns.where(APPROVAL.c.id == approval_id)).one()
    )
    return row[0] is not None, row[1] is not None


def dropped(record: Record, days: int) -> int:
    """Drop what is older than that."""
    return record.write(lambda tx: retention.drop(tx, tx.now - days * DAY * 1000))


def test_what_is_over_loses_its_bytes_after_the_retention_time_and_once(record: Record) -> None:
    denied = record.hold({"n": 1})
    record.decide(denied, ALICE, Choice.DENY, reason="no")
    ran = record.approved({"n": 2})
    record.claim(ran)
    record.finish(ran)
    record.clock.pass_(seconds=29 * DAY)
    assert dropped(record, 30) == 0
    record.clock.pass_(seconds=2 * DAY)
    assert dropped(record, 30) == 2
    assert kept(record, denied.id) == kept(record, ran.id) == (False, False)
    assert dropped(record, 30) == 0
    assert record.events()[-1] == "dropped"


def test_what_may_still_be_decided_or_is_running_keeps_them(record: Record) -> None:
    waiting = record.hold({"n": 1})
    running = record.approved({"n": 2})
    record.claim(running)
    record.clock.pass_(seconds=60 * DAY)
    assert dropped(record, 30) == 0
    assert kept(record, waiting.id)[0]
    assert kept(record, running.id)[0]


def test_a_long_list_is_dropped_in_bounded_steps(record: Record) -> None:
    for number in range(5):
        record.decide(record.hold({"n": number}), ALICE, Choice.DENY, reason="no")
    record.clock.pass_(seconds=60 * DAY)
    steps = [
        record.write(lambda tx: retention.drop(tx, tx.now - DAY * 1000, limit=2)) for _ in range(4)
    ]
    assert steps == [2, 2, 1, 0]
