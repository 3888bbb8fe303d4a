"""The outbox's rows: leased, delivered, put off, given up. Plain functions of a `Transaction`.

A row is written by `announce` in the transaction of the change it tells, and stays until its
notifier has it. `notify` sends. Not pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, select, text, update

from approvals.announce import OUTBOX
from approvals.model import Execution, Millis, State
from approvals.record.transaction import Transaction
from approvals.reminders import KIND as REMINDER
from approvals.reminders import due_at
from approvals.rows import APPROVAL

LEASE: Final = 20_000
"""Milliseconds after which what a worker took and said nothing about is due again. A worker that
lives renews it, so that what a dead one held is soon told by another.
"""

_ERROR: Final = 200  # characters of a failure kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One change of one approval that one notifier is to be told of, or a reminder of it.

    kind "reminder": the approval still waits, and `reminder` says for the how many-eth time that is
    told (1: half its time is over; 2: four fifths, the last). It was pending when the notice was
    taken and may be decided by now: read it, and remind no one of what does not wait. `at` is when
    it fell due. Of reminders that piled up (the notifier was away) only the last is given.
    """

    id: str  # the same at every try: the idempotency key
    approval_id: str
    kind: str  # the history's word: "held", "approved", "denied", "expired", …; or "reminder"
    revision: int
    version: int  # of the row, as of the change
    state: State  # as of the change
    execution: Execution  # as of the change
    at: Millis  # of the change
    tries: int  # this one included
    reminder: int = 0  # 1 or 2; 0: a change


def is_due(connection: Connection, notifier: str, now: Millis) -> bool:
    """Whether there is anything to send. Cheap: asked every second."""
    query = select(OUTBOX.c.id).where(*_due(notifier, now)).limit(1)
    return connection.execute(query).first() is not None


def lease(tx: Transaction, notifier: str, *, limit: int) -> tuple[Notice, ...]:
    """Take what is due, oldest first; no one else gets it while the lease lasts."""
    rows = (
        tx.connection.execute(
            select(OUTBOX)
            .where(*_due(notifier, tx.now))
            .order_by(OUTBOX.c.due_at, OUTBOX.c.id)
            .limit(limit)
        )
        .mappings()
        .all()
    )
    if not rows:
        return ()
    notices = [_notice(row) for row in rows]
    late = _late(tx, [one for one in notices if one.kind == REMINDER])
    if late:
        tx.connection.execute(delete(OUTBOX).where(OUTBOX.c.id.in_(late)))
        notices = [one for one in notices if one.id not in late]
    tx.connection.execute(
        update(OUTBOX)
        .where(OUTBOX.c.id.in_([one.id for one in notices]))
        .values(tries=OUTBOX.c.tries + 1, due_at=tx.now + LEASE)
    )
    return tuple(sorted(notices, key=lambda one: (one.at, one.version)))


def renew(tx: Transaction, held: frozenset[str]) -> None:
    """A worker still has these in hand."""
    tx.connection.execute(
        update(OUTBOX)
        .where(OUTBOX.c.id.in_(held), OUTBOX.c.done_at.is_(None))
        .values(due_at=tx.now + LEASE)
    )


def _late(tx: Transaction, reminders: list[Notice]) -> frozenset[str]:
    """The ids of reminders that came too late: nothing waits, or it is time for a later one."""
    if not reminders:
        return frozenset()
    rows = tx.connection.execute(
        select(APPROVAL.c.id, APPROVAL.c.created_at, APPROVAL.c.expires_at).where(
            APPROVAL.c.id.in_({one.approval_id for one in reminders}),
            APPROVAL.c.state == str(State.PENDING),
            APPROVAL.c.expires_at > tx.now,
        )
    )
    time_for = {
        row.id: sum(at <= tx.now for at in due_at(row.created_at, row.expires_at)) for row in rows
    }
    return frozenset(one.id for one in reminders if time_for.get(one.approval_id) != one.reminder)


def delivered(tx: Transaction, notice: Notice) -> None:
    """The notifier has it."""
    tx.connection.execute(delete(OUTBOX).where(OUTBOX.c.id == notice.id))


def put_off(tx: Transaction, notice: Notice, *, until: Millis, why: str) -> None:
    """Try it again then."""
    _note(tx, notice, due_at=until, error=why[:_ERROR])


def hand_back(tx: Transaction, notice: Notice, *, until: Millis) -> None:
    """It was leased and not tried: an earlier one of its approval comes first."""
    _note(tx, notice, due_at=until, tries=notice.tries - 1)


def give_up(tx: Transaction, notice: Notice, *, why: str) -> None:
    """Never try it again. The row stays for the operator until retention drops it."""
    _note(tx, notice, done_at=tx.now, error=why[:_ERROR])


def prune(tx: Transaction, *, before: Millis) -> int:
    """Drop what was given up, or belongs to a notifier that is gone; how many rows."""
    return tx.connection.execute(delete(OUTBOX).where(OUTBOX.c.due_at < before)).rowcount


def enlist(tx: Transaction, notifiers: tuple[str, ...]) -> None:
    """From now on these are told of every change, whichever process makes it."""
    tx.connection.execute(
        text(
            "INSERT INTO setting (key, value, at) VALUES ('notifiers', :value, :at) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, at = excluded.at"
        ),
        {"value": json.dumps(notifiers), "at": tx.now},
    )


def _due(notifier: str, now: Millis) -> tuple[Any, ...]:
    return (OUTBOX.c.notifier == notifier, OUTBOX.c.done_at.is_(None), OUTBOX.c.due_at <= now)


def _note(tx: Transaction, notice: Notice, **values: Any) -> None:
    tx.connection.execute(update(OUTBOX).where(OUTBOX.c.id == notice.id).values(**values))


def _notice(row: Mapping[Any, Any]) -> Notice:
    told = json.loads(row["payload"])
    return Notice(
        id=row["id"],
        approval_id=row["approval_id"],
        kind=row["kind"],
        revision=told["revision"],
        version=told["version"],
        state=State(told["state"]),
        execution=Execution(told["execution"]),
        at=told["at"],
        tries=row["tries"] + 1,
        reminder=told.get("reminder", 0),
    )
