"""Tasks: held calls whose agent does not wait in place. The approval is the task; the row beside it
keeps how the call is to be sent and what the agent answered to the server's questions. Not pure.

A task of another grant is no task: look-ups take the grant, and answer alike for unknown ones.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel

from approvals import processes
from approvals.decide import UNFINISHED, fresh
from approvals.digest import canonical, keepable
from approvals.edits import AppliedEdit, edit_of
from approvals.model import Approval, Execution, Millis, State
from approvals.moves import Actor, change, move
from approvals.record.keys import Keys
from approvals.record.tables import SpentRow, TaskRow
from approvals.record.transaction import Transaction
from approvals.rows import APPROVAL, load, may_start
from approvals.seal import seal, unseal

TASK: Final[Table] = SQLModel.metadata.tables[str(TaskRow.__tablename__)]
SPENT: Final[Table] = SQLModel.metadata.tables[str(SpentRow.__tablename__)]

_LIVE: Final = (*UNFINISHED, Execution.EXECUTING)
_OF_THIS: Final = TASK.c.approval_id == APPROVAL.c.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it stands. `result` is the server's last response, a question or the answer."""

    approval: Approval
    envelope: dict[str, Any]  # for whom the call is sent: protocol keys of `_meta`, revision
    answers: dict[str, Any] = field(default_factory=dict)  # to the latest question, so far
    cancelled_at: Millis | None
    result: bytes | None
    edit: AppliedEdit | None = None  # what a reviewer changed of it


def follow(tx: Transaction, approval: Approval, envelope: dict[str, Any]) -> Approval:
    """From now on the agent follows this approval as a task, and so long counts as waiting. If it
    does so already, the later envelope counts: it is the one of the program that is there now.
    """
    sealed = seal(tx.keys.seal, canonical(envelope), approval_id=approval.id, kind="envelope")
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    made = dialect.insert(TASK).values(
        approval_id=approval.id, envelope_sealed=sealed, created_at=tx.now
    )
    tx.connection.execute(
        made.on_conflict_do_update(
            index_elements=[TASK.c.approval_id], set_={"envelope_sealed": sealed}
        )
    )
    until = max(approval.attached_until or 0, approval.expires_at)
    changed = change(tx, approval, {"attached_until": until, "attached_to": processes.TASK})
    return approval if changed is None else replace(changed, call=approval.call)


def unfollow(tx: Transaction, approval_id: str) -> None:
    """The agent never learned of the task: the approval waits for a repeat of the call."""
    tx.connection.execute(delete(TASK).where(TASK.c.approval_id == approval_id))
    approval = load(tx.connection, approval_id)
    if approval is not None:
        change(tx, approval, {"attached_until": tx.now})


def find(connection: Connection, approval_id: str, *, keys: Keys) -> Task | None:
    """The task of this approval; None if there is none, or its contents are dropped.

    Raises:
        SealBroken: it was changed by other hands.
    """
    if not keepable(approval_id):
        return None
    row = connection.execute(
        select(*TASK.c, APPROVAL.c.result_sealed)
        .join(APPROVAL, APPROVAL.c.id == TASK.c.approval_id)
        .where(TASK.c.approval_id == approval_id)
    ).first()
    approval = load(connection, approval_id, keys=keys)
    if row is None or approval is None or row.envelope_sealed is None:
        return None

    def opened(sealed: bytes | None, kind: str) -> bytes | None:
        if sealed is None:
            return None
        return unseal(keys.seal, sealed, approval_id=approval_id, kind=kind)

    given = json.loads(opened(row.answers_sealed, "answers") or b"{}")
    return Task(
        approval=approval,
        envelope=json.loads(opened(row.envelope_sealed, "envelope") or b"{}"),
        answers=given["answers"] if given.get("round") == approval.round else {},
        cancelled_at=row.cancelled_at,
        result=opened(row.result_sealed, "result"),
        edit=edit_of(connection, approval_id, keys=keys) if approval.edited else None,
    )


def runnable(
    connection: Connection, now: Millis, *, but: Collection[str] = (), limit: int = 100
) -> list[str]:
    """Approved tasks of which nothing runs and something may, the longest approved first; none of
    those in `but`.
    """
    # Asked row by row of the few approvals that are open: finished tasks are never looked at.
    answered = select(TASK.c.answered).where(_OF_THIS).scalar_subquery()
    never = APPROVAL.c.execution.in_([str(Execution.NONE), str(Execution.NOT_EXECUTED)])
    on = (APPROVAL.c.execution == str(Execution.INPUT_REQUIRED)) & (answered == APPROVAL.c.round)
    rows = connection.execute(
        select(APPROVAL.c.id)
        .where(
            APPROVAL.c.state == str(State.APPROVED),
            APPROVAL.c.execution.in_([str(one) for one in UNFINISHED]),  # for the index
            never & exists().where(_OF_THIS) | on,
            APPROVAL.c.use_by > now,
            may_start(connection, now),
            APPROVAL.c.id.not_in(but),
        )
        .order_by(APPROVAL.c.decided_at)
        .limit(limit)
    )
    return list(rows.scalars())


def any_live(connection: Connection) -> bool:
    """Whether some task may still change."""
    row = connection.execute(
        select(APPROVAL.c.id)
        .where(
            APPROVAL.c.state.in_([str(State.PENDING), str(State.APPROVED)]),
            APPROVAL.c.execution.in_([str(one) for one in _LIVE]),
            exists().where(_OF_THIS),
        )
        .limit(1)
    )
    return row.first() is not None


def cancelled(connection: Connection, ids: tuple[str, ...]) -> list[str]:
    """Those of these whose agent wants them no longer."""
    rows = connection.execute(
        select(TASK.c.approval_id).where(
            TASK.c.approval_id.in_(ids), TASK.c.cancelled_at.is_not(None)
        )
    )
    return list(rows.scalars())


def cancel(tx: Transaction, approval_id: str, *, why: str) -> None:
    """The agent no longer wants it: what does not run is withdrawn; of what runs it is noted, and
    anyone who runs it tells the server.
    """
    found = load(tx.connection, approval_id)
    approval = fresh(tx, found) if found is not None else None
    if approval is None or approval.state not in (State.PENDING, State.APPROVED):
        return
    actor = Actor.agent(approval.call.grant)
    if approval.execution in UNFINISHED:
        values = {"reason": why, "decided_at": approval.decided_at or tx.now}
        move(tx, approval, "withdrawn", actor=actor, values=values, told={"reason": why})
    elif approval.execution is Execution.EXECUTING:
        change(tx, approval, {}, event="cancel_asked", actor=actor, told={"reason": why})
    else:
        return
    tx.connection.execute(
        update(TASK).where(TASK.c.approval_id == approval_id).values(cancelled_at=tx.now)
    )


def answer(
    tx: Transaction, approval_id: str, *, asked: int, answers: dict[str, Any], whole: bool
) -> None:
    """Keep what the agent has answered to the question of round `asked`: all of it so far, and
    whether that is the `whole` of it.
    """
    found = load(tx.connection, approval_id)
    approval = fresh(tx, found) if found is not None else None
    if approval is None or approval.state is not State.APPROVED:
        return
    if approval.execution is not Execution.INPUT_REQUIRED or approval.round != asked:
        return
    given = canonical({"round": asked, "answers": answers})
    sealed = seal(tx.keys.seal, given, approval_id=approval_id, kind="answers")
    tx.connection.execute(
        update(TASK)
        .where(TASK.c.approval_id == approval_id)
        .values(answers_sealed=sealed, answered=asked if whole else None)
    )
    change(tx, approval, {})  # anyone who waits looks again


def spend(tx: Transaction, identifier: str, *, until: Millis) -> bool:
    """Use up a request state. False: it was used before."""
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    made = dialect.insert(SPENT).values(id=identifier, until=until).on_conflict_do_nothing()
    return tx.connection.execute(made.returning(SPENT.c.id)).first() is not None


def prune_spent(tx: Transaction, *, before: Millis) -> int:
    """Forget used request states that are out of date anyway; how many."""
    return tx.connection.execute(delete(SPENT).where(SPENT.c.until < before)).rowcount
