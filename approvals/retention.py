"""Retention: what was over long ago loses its contents, and keeps its history. Not pure."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table, or_, select, update
from sqlmodel import SQLModel

from approvals.decide import fresh
from approvals.model import Execution, Millis, State
from approvals.moves import change
from approvals.record.tables import RevisionRow, TaskRow
from approvals.record.transaction import Transaction
from approvals.rows import APPROVAL, LISTED, approval_of

REVISION: Final[Table] = SQLModel.metadata.tables[str(RevisionRow.__tablename__)]
TASK: Final[Table] = SQLModel.metadata.tables[str(TaskRow.__tablename__)]

_BATCH: Final = 500


def drop_contents(tx: Transaction, *, before: Millis, limit: int = _BATCH) -> int:
    """Drop arguments and results of what was over before then, at most `limit`; how many.

    Digests, the masked form and the history stay. An answer no one fetched is not kept longer.
    """
    over = (APPROVAL.c.state != str(State.PENDING)) & APPROVAL.c.execution.not_in(
        [str(Execution.EXECUTING)]
    )
    idle = or_(APPROVAL.c.use_by.is_(None), APPROVAL.c.use_by < before)
    rows = tx.connection.execute(
        select(*LISTED)
        .where(
            APPROVAL.c.created_at < before,
            APPROVAL.c.decided_at < before,
            or_(APPROVAL.c.arguments_sealed.is_not(None), APPROVAL.c.result_sealed.is_not(None)),
            or_(APPROVAL.c.finished_at.is_(None), APPROVAL.c.finished_at < before),
            over,
            idle,
        )
        .limit(limit)
    ).mappings()
    dropped = 0
    for approval in [fresh(tx, approval_of(row)) for row in rows.all()]:
        emptied = {
            **dict.fromkeys(("arguments_sealed", "metadata_sealed", "result_sealed")),
            "delivery": "delivered",
        }
        dropped += change(tx, approval, emptied, event="contents_dropped") is not None
        tx.connection.execute(
            update(REVISION)
            .where(REVISION.c.approval_id == approval.id)
            .values(arguments_sealed=None)
        )
        tx.connection.execute(
            update(TASK)
            .where(TASK.c.approval_id == approval.id)
            .values(envelope_sealed=None, answers_sealed=None)
        )
    return dropped
