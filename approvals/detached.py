"""Approved calls whose agent is gone and whose rule says that they run all the same. Not pure."""

from __future__ import annotations

from sqlalchemy import Connection, not_, select

from approvals.model import Execution, Millis, State
from approvals.processes import waited_for
from approvals.record.tables import TaskRow
from approvals.rows import APPROVAL, may_start

_TASK = TaskRow.__table__  # type: ignore[attr-defined]
_SAYS_SO = '%"when_detached":"execute"%'


def deserted(connection: Connection, now: Millis, *, limit: int = 100) -> list[str]:
    """Their ids, the longest approved first. Tasks are not among them: those are run anyway."""
    rows = connection.execute(
        select(APPROVAL.c.id)
        .where(
            APPROVAL.c.state == str(State.APPROVED),
            APPROVAL.c.execution.in_([str(Execution.NONE), str(Execution.NOT_EXECUTED)]),
            APPROVAL.c.terms.like(_SAYS_SO),
            APPROVAL.c.use_by > now,
            may_start(connection, now),
            not_(waited_for(now)),
            APPROVAL.c.id.not_in(select(_TASK.c.approval_id)),
        )
        .order_by(APPROVAL.c.decided_at)
        .limit(limit)
    )
    return list(rows.scalars())
