"""Taking an approval back before its call has started. Not pure.

The row leaves *approved* in one UPDATE that names its version, as a claim's does: whichever is
first, the other finds nothing. The history keeps who, and by which right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from approvals.decide import LONGEST_REASON, fresh
from approvals.model import Approval, Moved, NotAllowed, NotFound, Reviewer, Via
from approvals.moves import Actor, move
from approvals.permission import may_still_decide, voted_as
from approvals.proven import differs, permit_of
from approvals.record.transaction import Transaction
from approvals.record.verify import Permit
from approvals.reversal import NOT_YOURS, takeable, too_late
from approvals.reviewers import find
from approvals.rows import load


@dataclass(frozen=True, slots=True)
class TooLate:
    """Nothing was changed: it has started, or is not approved (any more). `why` is for people."""

    approval: Approval
    why: str


TakenBack = Moved | TooLate | NotAllowed | NotFound


def take_back(
    tx: Transaction, approval_id: str, *, reviewer: Reviewer, via: Via, reason: str = ""
) -> TakenBack:
    """Who approved it, or an administrator, ends an approval of which nothing has started."""
    found = load(tx.connection, approval_id)
    if found is None:
        return NotFound()
    if not reviewer.may_decide:
        return NotAllowed("Your role may look, but not decide.")
    approval = fresh(tx, found)
    if not takeable(approval, tx.now):
        return TooLate(approval, too_late(approval))
    permit = permit_of(tx, approval.id)
    if isinstance(permit, str):
        return NotAllowed(permit)
    changed = differs(tx, approval, permit)
    if changed is not None:
        return NotAllowed(changed)
    right = _right(tx, approval, permit, reviewer)
    if isinstance(right, str):
        return NotAllowed(right)
    reason = reason.replace("\x00", "")[:LONGEST_REASON]
    moved = move(
        tx,
        approval,
        "taken_back",
        actor=Actor.reviewer(reviewer, via),
        values={
            "decided_at": tx.now,
            "decided_by": reviewer.id,
            "decided_via": via,
            "reason": reason,
            "use_by": None,
        },
        told={"reason": reason, "data": right},
    )
    if moved is None:
        now = load(tx.connection, approval_id) or approval
        return TooLate(now, too_late(now))
    return Moved(moved)


def _right(
    tx: Transaction, approval: Approval, permit: Permit, reviewer: Reviewer
) -> dict[str, Any] | str:
    """By which right this person takes it back, as the history keeps it; text: by none."""
    if not may_still_decide(tx.connection, reviewer.id):
        return "You may no longer decide."
    known = find(tx.connection, reviewer.id)
    own = {reviewer.id} if known is None else {known.id, *known.identities}
    name = voted_as(tx.connection, approval, reviewer)
    if name in own & permit.voters:  # of names that the history can tell are one person's
        return {"right": "approved", "voter": name}
    if known is not None and known.role == "admin":
        return {"right": "admin"}
    return NOT_YOURS
