"""A signed row counts only as it was written, and only in its newest version; on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, RowMapping, insert, select, update

from approvals.model import Event
from approvals.record import signed
from approvals.record.database import Database, RecordUnavailable, Transaction
from approvals.record.history import HISTORY, Intact, verify
from approvals.record.ledger import RESTARTED
from approvals.reviewers import REVIEWER
from tests.support.intruder import Intruder
from tests.support.record import KEYS, HandClock, Record


def event(name: str = "reviewer_added") -> Event:
    return Event(event=name, actor_kind="operator")


def person(record: Record, name: str = "ann", **values: Any) -> None:
    row = {"id": name, "role": "approver", "created_at": 1, **values}
    record.write(lambda tx: signed.put(tx, REVIEWER, row, event=event()))


def people(record: Record) -> list[RowMapping]:
    return record.read(lambda connection: signed.rows(connection, REVIEWER))


def reopened(record: Record) -> Record:
    """The same record as another process sees it, with nothing in memory."""
    database = Database.open(record.url, key=KEYS, clock=HandClock())
    return Record(database, HandClock(), record.url)


def names(record: Record) -> list[str]:
    """Who is there, to this process and to one that starts now."""
    here = [row["id"] for row in people(record)]
    other = reopened(record)
    assert [row["id"] for row in people(other)] == here
    other.database.close_now()
    return here


def test_a_row_is_there_after_it_was_put_and_in_the_batch_that_puts_it(record: Record) -> None:
    def act(tx: Transaction) -> list[str]:
        signed.put(tx, REVIEWER, {"id": "ann", "role": "admin", "created_at": 1}, event=event())
        return [row["id"] for row in signed.rows(tx.connection, REVIEWER)]

    assert record.write(act) == ["ann"]
    assert names(record) == ["ann"]
    assert people(record)[0]["row_version"] == 1


def test_a_batch_that_is_rolled_back_leaves_no_row_and_no_version(record: Record) -> None:
    def act(tx: Transaction) -> None:
        signed.put(tx, REVIEWER, {"id": "ann", "role": "admin", "created_at": 1}, event=event())
        raise LookupError

    with pytest.raises(LookupError):
        record.write(act)
    assert record.write(lambda tx: signed.rows(tx.connection, REVIEWER)) == []
    person(record)
    assert people(record)[0]["row_version"] == 1


def test_changing_keeps_what_is_not_named_and_counts_the_version(record: Record) -> None:
    person(record, identities='["slack:T1/U1"]')
    record.write(lambda tx: signed.put(tx, REVIEWER, {"id": "ann", "role": "admin"}, event=event()))
    (row,) = people(record)
    assert (row["role"], row["identities"], row["row_version"]) == ("admin", '["slack:T1/U1"]', 2)


def test_a_row_without_a_mac_is_no_row(record: Record, intruder: Intruder) -> None:
    intruder.does(insert(REVIEWER).values(id="eve", role="admin", created_at=1))
    assert names(record) == []


@pytest.mark.parametrize(
    "change",
    [{"role": "admin"}, {"identities": '["slack:T1/U9"]'}, {"id": "eve"}, {"row_version": 2}],
)
def test_a_row_that_was_changed_is_no_row(
    record: Record, intruder: Intruder, change: dict[str, Any]
) -> None:
    person(record)
    intruder.does(update(REVIEWER).values(**change))
    assert names(record) == []


def test_an_older_version_put_back_is_no_row(record: Record, intruder: Intruder) -> None:
    person(record)
    (before,) = people(record)
    record.write(
        lambda tx: signed.put(
            tx, REVIEWER, {"id": "ann", "removed_at": 5}, event=event("reviewer_removed")
        )
    )
    intruder.does(update(REVIEWER).values(**before))
    assert names(record) == []


def test_a_row_that_was_dropped_and_is_put_back_is_no_row(
    record: Record, intruder: Intruder
) -> None:
    person(record)
    (before,) = people(record)
    dropped = record.write(
        lambda tx: signed.drop(tx, REVIEWER, {"id": "ann"}, event=event("reviewer_removed"))
    )
    assert dropped
    intruder.does(insert(REVIEWER).values(**before))
    assert names(record) == []


def test_a_row_that_was_overwritten_by_hand_is_made_anew_from_nothing_of_it(
    record: Record, intruder: Intruder
) -> None:
    person(record)
    intruder.does(update(REVIEWER).values(identities='["slack:T1/EVE"]'))
    person(record)
    (row,) = people(record)
    assert (row["identities"], row["row_version"]) == ("[]", 2)


def test_what_must_be_there_is_known_when_somebody_took_it_away(
    record: Record, intruder: Intruder
) -> None:
    person(record)
    intruder.does(REVIEWER.delete())
    found = record.read(lambda connection: signed.versions(connection, REVIEWER))
    assert list(found) == [("ann",)]


def _gone(seq: int) -> Callable[[Intruder], None]:
    return lambda intruder: intruder.does(HISTORY.delete().where(HISTORY.c.seq == seq))


def _mangled(seq: int) -> Callable[[Intruder], None]:
    return lambda intruder: intruder.does(
        update(HISTORY).where(HISTORY.c.seq == seq).values(subject=None)
    )


@pytest.mark.parametrize("harm", [_gone(2), _mangled(2)])
def test_no_row_counts_when_the_history_lost_one_about_them(
    record: Record, intruder: Intruder, harm: Callable[[Intruder], None]
) -> None:
    person(record)  # seq 1
    (before,) = people(record)
    record.write(
        lambda tx: signed.put(
            tx, REVIEWER, {"id": "ann", "removed_at": 5}, event=event("reviewer_removed")
        )
    )  # seq 2
    person(record, "bob")  # seq 3: names the hash of 2
    intruder.opens_the_history()
    harm(intruder)
    intruder.does(update(REVIEWER).where(REVIEWER.c.id == "ann").values(**before))
    other = reopened(record)
    assert people(other) == []
    assert "before row 3" in (other.database.ledger.trouble or "")
    other.database.close_now()


def test_an_operator_may_go_on_after_rows_were_lost(record: Record, intruder: Intruder) -> None:
    person(record)
    person(record, "bob")
    person(record, "cid")
    intruder.opens_the_history()
    _gone(2)(intruder)
    other = reopened(record)
    assert people(other) == []
    other.write(
        lambda tx: signed.tell(
            tx, [(RESTARTED, 1, None)], event=Event(event="history_accepted", actor_kind="operator")
        )
    )
    assert [row["id"] for row in people(other)] == ["ann", "cid"]  # bob's own row is the lost one
    other.database.close_now()


def test_a_reader_whose_history_went_back_gets_no_answer(
    record: Record, intruder: Intruder
) -> None:
    person(record)
    (before,) = people(record)
    record.write(
        lambda tx: signed.put(
            tx, REVIEWER, {"id": "ann", "removed_at": 5}, event=event("reviewer_removed")
        )
    )
    people(record)
    intruder.opens_the_history()
    _gone(2)(intruder)
    intruder.does(update(REVIEWER).values(**before))
    with pytest.raises(RecordUnavailable):
        people(record)


def test_rows_with_a_subject_are_part_of_the_chain(record: Record) -> None:
    person(record)
    record.hold()
    person(record, "bob")
    assert isinstance(record.read(lambda connection: verify(connection, KEYS)), Intact)

    def subjects(connection: Connection) -> list[str | None]:
        return list(connection.execute(select(HISTORY.c.subject).order_by(HISTORY.c.seq)).scalars())

    assert record.read(subjects) == ['["reviewer","ann"]', None, '["reviewer","bob"]']
