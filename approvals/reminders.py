"""Reminders: that a call still waits is told once at half its time and once near its end.

They lie in the outbox from the start, due later: written with the call, so a restart loses none and
sends none twice. A deadline that moves moves them; a call that is decided takes them along. Plain
functions of a `Transaction`, called by `moves`. Not pure.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete

from approvals.announce import OUTBOX, put
from approvals.model import Approval, Millis
from approvals.record.transaction import Transaction

KIND: Final = "reminder"
"""The kind of their outbox rows and notices; the history is not told of them."""

AT: Final = (0.5, 0.8)
"""Shares of the time from request to deadline. The first is 1 in `Notice.reminder`, the last 2."""

SHORTEST: Final = 120_000
"""Milliseconds: anyone who must decide faster than this is looking already, and is not reminded."""


def due_at(created_at: Millis, expires_at: Millis) -> tuple[Millis, ...]:
    """When reviewers are reminded, while no one has decided; empty if never."""
    whole = expires_at - created_at
    return tuple(created_at + int(whole * share) for share in AT) if whole >= SHORTEST else ()


def plan(tx: Transaction, approval: Approval) -> None:
    """Queue what is still to come of its reminders, in place of what was queued before."""
    if not tx.notifiers:
        return
    cancel(tx, approval)
    for number, at in enumerate(due_at(approval.created_at, approval.expires_at), 1):
        if at > tx.now:
            put(tx, approval, KIND, at=at, reminder=number)


def cancel(tx: Transaction, approval: Approval) -> None:
    """No one need be reminded any more. What a notifier is being told right now is not stopped."""
    tx.connection.execute(
        delete(OUTBOX).where(OUTBOX.c.approval_id == approval.id, OUTBOX.c.kind == KIND)
    )
