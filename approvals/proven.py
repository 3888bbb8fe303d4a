"""What the history says of one approval; the row is believed only where it says the same.

The meaning is `verify.py`'s, the script that outsiders prove an export with: there is one reading
of the history, and it is theirs. Rows are found by their index, checked against the chain's key,
and nothing of the approval may stand behind the last of them. Not pure.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from approvals.model import Approval, Execution, State
from approvals.permission import may_still_decide
from approvals.record.history import HISTORY, Head, authentic, head
from approvals.record.ledger import Pending, ledger_of
from approvals.record.proofs import FIXED, fixed_digest
from approvals.record.statements import COLUMNS
from approvals.record.transaction import HeadMoved, Transaction
from approvals.record.verify import Meaning, Permit
from approvals.rows import APPROVAL

_APPROVAL_ID: Final = COLUMNS.index("approval_id")
_STATES: Final = {"pending": State.PENDING, "approved": State.APPROVED}


def permit_of(tx: Transaction, approval_id: str) -> Permit | str:
    """What the history says of the approval; text: why it says nothing that counts."""
    stored = tx.connection.execute(
        select(HISTORY).where(HISTORY.c.approval_id == approval_id).order_by(HISTORY.c.seq)
    )
    rows = [*map(tuple, stored), *tx.buffered(_APPROVAL_ID, approval_id)]
    meaning = Meaning()
    for row in rows:
        if not authentic(row, tx.keys):
            return f"Row {row[0]} of the history is not what was written."
        meaning.take(dict(zip(COLUMNS, row, strict=True)))
    if meaning.problems:
        return f"The history contradicts itself: {meaning.problems[0]}."
    permit = meaning.permits.get(approval_id)
    if permit is None:
        return "The history does not know it."
    if not _is_last(tx, approval_id, rows[-1][0]):
        return "Rows of its history are gone."
    return permit


def contradiction(tx: Transaction, approval: Approval) -> str | None:
    """Why the row of an approval cannot be believed; None if the history says the same."""
    permit = permit_of(tx, approval.id)
    return permit if isinstance(permit, str) else differs(tx, approval, permit)


def differs(tx: Transaction, approval: Approval, permit: Permit) -> str | None:
    """In what the row says other than its history; None if in nothing that counts."""
    row = (
        tx.connection.execute(
            select(*(APPROVAL.c[name] for name in FIXED)).where(APPROVAL.c.id == approval.id)
        )
        .mappings()
        .one()
    )
    told = {
        "state": (approval.state, _STATES.get(permit.state, permit.state)),
        "execution": (approval.execution, _execution(permit)),
        "revision": (approval.revision, permit.revision),
        "digest": (approval.digest, permit.digest),
        "arguments_digest": (approval.arguments_digest, permit.arguments_digest),
        "masked": (approval.masked, permit.shown),
        "settlement": (approval.settlement, permit.settlement),
        "expires_at": (approval.expires_at, permit.expires_at or approval.expires_at),
        "round": (approval.round, permit.rounds if permit.fixed else approval.round),
        "fixed": (fixed_digest(row), permit.fixed or fixed_digest(row)),
    }
    for name, (here, there) in told.items():
        if here != there:
            return f"The record was changed by another hand: {name} is not what the history says."
    return None


def approvers(tx: Transaction, permit: Permit) -> set[str]:
    """Those who have approved what waits, and may still decide."""
    return {voter for voter in permit.voters if may_still_decide(tx.connection, voter)}


def _execution(permit: Permit) -> Execution:
    if permit.running:
        return Execution.EXECUTING
    if permit.asked:
        return Execution.INPUT_REQUIRED
    return Execution(permit.ended) if permit.ended else Execution.NONE


def _is_last(tx: Transaction, approval_id: str, seq: int) -> bool:
    """Whether no row of the approval stands behind this one: someone may have taken one out, or
    made it another's. See `continuity`: rows are read once for all approvals.

    Raises:
        Unproven: many have to be read first; the journal has that done, and tries again.
    """
    base, base_hash = tx.base
    if seq > base:
        return True  # of this very batch
    now = head(tx.connection)
    if (now.seq, now.hash) != (base, base_hash):
        if now.seq > base:
            raise HeadMoved
        return False  # the history was cut off
    view, _ = ledger_of(tx.connection)
    if not isinstance(view, Pending):
        raise TypeError("Only the journal proves an approval.")
    return view.continuity.is_last(
        tx.connection, approval_id, seq, upto=Head(base, base_hash), patient=tx.patient
    )
