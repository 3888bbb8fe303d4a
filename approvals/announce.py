"""What the notifiers are to be told, queued in the transaction of the change it tells. Not pure.

`outbox` hands the rows out; `notify` sends them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table, insert
from sqlmodel import SQLModel

from approvals.digest import canonical
from approvals.model import Approval, Millis
from approvals.record.tables import OutboxRow
from approvals.record.transaction import Transaction

OUTBOX: Final[Table] = SQLModel.metadata.tables[str(OutboxRow.__tablename__)]

_QUIET: Final = frozenset(
    {"attached", "claimed", "contents_dropped", "delivered", "repeated", "revealed"}
)
"""Events no notifier is told of: nothing a person was shown changes."""


def announce(tx: Transaction, approval: Approval, kind: str) -> None:
    """Queue the change for each notifier; they get it as soon as it is committed."""
    if kind not in _QUIET:
        put(tx, approval, kind, at=tx.now)


def put(tx: Transaction, approval: Approval, kind: str, *, at: Millis, reminder: int = 0) -> None:
    """One outbox row for each notifier, due then. `reminder` counts from 1; 0: it is none."""
    if not tx.notifiers:
        return
    payload = canonical(
        {
            "at": at,
            "execution": str(approval.execution),
            "reminder": reminder,
            "revision": approval.revision,
            "state": str(approval.state),
            "version": approval.version,
        }
    ).decode()
    what = f"{kind}-{reminder}" if reminder else kind
    tx.connection.execute(
        insert(OUTBOX),
        [
            {
                "id": f"{approval.id}/{approval.version}/{what}/{notifier}",
                "notifier": notifier,
                "approval_id": approval.id,
                "kind": kind,
                "payload": payload,
                "tries": 0,
                "due_at": at,
                "error": "",
            }
            for notifier in tx.notifiers
        ],
    )
