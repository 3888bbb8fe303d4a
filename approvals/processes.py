"""Gateway processes: each has one row with one lease, and a call waits at a process only as long as
that lives. The row is written at the start, renewed, and gone with the process or its lease.

Not pure.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, insert, or_, select, update
from sqlmodel import SQLModel

from approvals.model import Approval, Millis
from approvals.record.tables import ProcessRow
from approvals.record.transaction import Transaction
from approvals.rows import APPROVAL

PROCESS: Final[Table] = SQLModel.metadata.tables[str(ProcessRow.__tablename__)]

TASK: Final = "task"
"""What a call is attached to whose agent follows it as a task: no process has to live for that."""


def new_id() -> str:
    """The id of a process that starts."""
    return f"gw_{secrets.token_hex(8)}"


def enter(tx: Transaction, process: str, *, name: str, lease_ms: int) -> tuple[str, ...]:
    """A process starts. Anyone who had its name is dead, whatever lease is left: their ids."""
    gone = forget(tx, PROCESS.c.name == name)
    tx.connection.execute(
        insert(PROCESS).values(
            id=process, name=name, started_at=tx.now, lease_until=tx.now + lease_ms
        )
    )
    return gone


def renew(tx: Transaction, process: str, *, name: str, lease_ms: int) -> bool:
    """It still lives; False if it was taken for dead meanwhile, and is entered again."""
    until = tx.now + lease_ms
    renewed = tx.connection.execute(
        update(PROCESS).where(PROCESS.c.id == process).values(lease_until=until)
    )
    if renewed.rowcount:
        return True
    tx.connection.execute(
        insert(PROCESS).values(id=process, name=name, started_at=tx.now, lease_until=until)
    )
    return False


def leave(tx: Transaction, process: str) -> None:
    """It ends: no one waits at it any more."""
    forget(tx, PROCESS.c.id == process)


def bury(tx: Transaction) -> tuple[str, ...]:
    """Forget the processes whose lease ran out; their ids."""
    return forget(tx, PROCESS.c.lease_until <= tx.now)


def forget(tx: Transaction, which: ColumnElement[bool]) -> tuple[str, ...]:
    """Take these rows out, and tell anyone who looks at a call that waited there."""
    rows = tx.connection.execute(delete(PROCESS).where(which).returning(PROCESS.c.id))
    gone = tuple(rows.scalars())
    if gone:
        left = tx.connection.execute(
            update(APPROVAL)
            .where(APPROVAL.c.attached_to.in_(gone), APPROVAL.c.attached_until > tx.now)
            .values(attached_until=tx.now, version=APPROVAL.c.version + 1)
            .returning(APPROVAL.c.id)
        )
        for approval_id in left.scalars():
            tx.ring(approval_id)
    return gone


def living(connection: Connection, now: Millis) -> frozenset[str]:
    """The processes at which a call may wait."""
    rows = connection.execute(select(PROCESS.c.id).where(PROCESS.c.lease_until > now))
    return frozenset(rows.scalars())


def waits(approval: Approval, now: Millis, alive: Collection[str]) -> bool:
    """Whether its agent waits: its own time and its process both last."""
    if (approval.attached_until or 0) <= now:
        return False
    return approval.attached_to == TASK or approval.attached_to in alive


def waited_for(now: Millis) -> ColumnElement[bool]:
    """The same, of rows of the approval table."""
    alive = select(PROCESS.c.id).where(PROCESS.c.lease_until > now)
    here = or_(APPROVAL.c.attached_to == TASK, APPROVAL.c.attached_to.in_(alive))
    return and_(
        APPROVAL.c.attached_until.is_not(None), APPROVAL.c.attached_until > now,
        APPROVAL.c.attached_to.is_not(None), here,
    )  # fmt: skip
