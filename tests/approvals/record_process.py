"""A process with an open record that does what it is told, one line at a time. Not a test.

`python -m tests.approvals.record_process URL`: "hold N", "approve ID" and "now" are answered
with an id, a number, or "unavailable". Its parent breaks what lies underneath.
"""

from __future__ import annotations

import sys

from approvals.model import Choice
from approvals.record.clock import SystemClock
from approvals.record.database import Database, RecordUnavailable, Transaction
from approvals.rows import load
from tests.support.record import ALICE, KEYS, hold, vote


def held(tx: Transaction, number: str) -> str:
    return hold(tx, {"n": int(number)}).id


def approved(tx: Transaction, approval_id: str) -> str:
    found = load(tx.connection, approval_id)
    assert found is not None
    return type(vote(tx, found, ALICE, Choice.APPROVE)).__name__


def answer(database: Database, order: str, of: str) -> str:
    if order == "now":
        return str(database.clock.now())
    act = {"hold": held, "approve": approved}[order]
    try:
        return database.journal.write_now(lambda tx: act(tx, of))
    except RecordUnavailable:
        return "unavailable"


def main(url: str) -> None:
    try:
        database = Database.open(url, key=KEYS, clock=SystemClock())
    except (RecordUnavailable, OSError):
        print("unavailable", flush=True)
        return
    print("open", flush=True)
    for line in sys.stdin:
        order, _, of = line.strip().partition(" ")
        print(answer(database, order, of), flush=True)
    database.close_now()


if __name__ == "__main__":
    main(sys.argv[1])
