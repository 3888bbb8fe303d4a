"""The leases of runs: renewed while their gateway lives; a run whose gateway is gone ends unknown.

A run that lost its gateway is never sent again. Not pure.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import or_, select, update

from approvals.model import Approval, Execution, Millis, State
from approvals.moves import GATEWAY, move
from approvals.record.transaction import Transaction
from approvals.rows import APPROVAL, LISTED, approval_of

_BATCH: Final = 500


def renew(tx: Transaction, *, owner: str, lease_ms: int) -> int:
    """This owner still lives: its runs keep their lease. How many there are."""
    renewed = tx.connection.execute(
        update(APPROVAL)
        .where(
            APPROVAL.c.state == str(State.APPROVED),
            APPROVAL.c.execution == str(Execution.EXECUTING),
            APPROVAL.c.owner == owner,
        )
        .values(lease_until=tx.now + lease_ms)
    )
    return renewed.rowcount


def recover(
    tx: Transaction, now: Millis, *, owner: str | None = None, limit: int = _BATCH
) -> tuple[Approval, ...]:
    """Runs whose owner is gone end in an unknown outcome, at most `limit`; they are not sent again.

    With `owner`, also those of that owner whatever their lease: a process that starts under a name
    knows that its predecessor is dead. An owner is a process, or "process.claim".
    """
    lapsed = APPROVAL.c.lease_until <= now
    of = or_(APPROVAL.c.owner == owner, APPROVAL.c.owner.startswith(f"{owner}.", autoescape=True))
    rows = tx.connection.execute(
        select(*LISTED)
        .where(
            APPROVAL.c.state == str(State.APPROVED),
            APPROVAL.c.execution == str(Execution.EXECUTING),
            lapsed if owner is None else or_(lapsed, of),
        )
        .limit(limit)
    ).mappings()
    why = "The gateway stopped while the call was running."
    moved = (
        move(
            tx,
            approval_of(row),
            "outcome_unknown",
            actor=GATEWAY,
            values={"lease_until": None, "finished_at": tx.now, "result_sealed": None},
            told={"outcome": "outcome_unknown", "reason": why},
        )
        for row in rows.all()
    )
    return tuple(approval for approval in moved if approval is not None)
