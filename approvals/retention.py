"""Retention: what was sealed is dropped when its time is over. The history and digests stay.

Only rows that can never run or be delivered any more lose their bytes. Not pure.
"""

from __future__ import annotations

from json import dumps
from typing import Final

from sqlalchemy import or_, select, update
from sqlmodel import SQLModel

from approvals.model import Event, Execution, Millis, State
from approvals.rows import APPROVAL
from approvals.tables import RevisionRow
from approvals.transaction import Transaction

_REVISION: Final = SQLModel.metadata.tables[str(RevisionRow.__tablename__)]
_BATCH: Final = 500
_OVER: Final = (State.DENIED, State.EXPIRED, State.WITHDRAWN, State.SUPERSEDED)
_RAN: Final = (
    Execution.SUCCEEDED,
    Execution.TOOL_ERROR,
    Execution.UPSTREAM_ERROR,
    Execution.OUTCOME_UNKNOWN,
)


def drop(tx: Transaction, before: Millis, *, limit: int = _BATCH) -> int:
    """Drop arguments and results of approvals asked for before that time and over since; at most
    `limit`, so call again while it is full. How many there were.
    """
    sealed = or_(APPROVAL.c.arguments_sealed.isnot(None), APPROVAL.c.result_sealed.isnot(None))
    over = or_(
        APPROVAL.c.state.in_([str(state) for state in _OVER]),
        APPROVAL.c.execution.in_([str(execution) for execution in _RAN]),
    )
    found = tx.connection.execute(
        select(APPROVAL.c.id).where(APPROVAL.c.created_at < before, over, sealed).limit(limit)
    )
    ids = [row[0] for row in found]
    if not ids:
        return 0
    tx.connection.execute(
        update(APPROVAL)
        .where(APPROVAL.c.id.in_(ids))
        .values(arguments_sealed=None, result_sealed=None)
    )
    tx.connection.execute(
        update(_REVISION).where(_REVISION.c.approval_id.in_(ids)).values(arguments_sealed=None)
    )
    tx.append(
        Event(event="dropped", actor_kind="gateway", via="gateway", data=dumps({"rows": len(ids)}))
    )
    return len(ids)
