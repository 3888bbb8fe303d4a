"""An approval that is taken back: while it may be, and what is said when it may not. Pure.

Until a call has started, anyone who approved it, or an administrator, may say that it shall not run
after all. `taking_back` does it.
"""

from __future__ import annotations

from typing import Final

from approvals.model import Approval, Execution, Millis, State

NOT_STARTED: Final = (Execution.NONE, Execution.NOT_EXECUTED)
"""Where an approved call stands of which nothing has left the gateway."""

NOT_YOURS: Final = "Only someone who approved it, or an administrator, may take it back."


def takeable(approval: Approval, now: Millis) -> bool:
    """Whether the approval may still be taken back."""
    usable = (approval.use_by or 0) > now
    return approval.state is State.APPROVED and approval.execution in NOT_STARTED and usable


def runs_from(approval: Approval) -> Millis:
    """Before this moment it does not start, by its row; 0: it may at once. The history decides."""
    waits = approval.state is State.APPROVED and approval.execution in NOT_STARTED
    if not (waits and approval.terms.undo):
        return 0
    return (approval.decided_at or 0) + approval.terms.undo * 1000


def taken_back(approval: Approval) -> bool:
    """Whether a person ended it after it was approved. Taking back takes away until when it may be
    used; what an agent withdraws keeps that, or was never approved.
    """
    by_person = bool(approval.decided_by) and approval.use_by is None
    return approval.state is State.WITHDRAWN and by_person


def too_late(approval: Approval) -> str:
    """Why there is nothing to take back any more, or not yet."""
    if approval.state is State.PENDING:
        return "It is not approved: deny it instead."
    if approval.state is State.APPROVED:
        return "It has started, and can no longer be taken back."
    if taken_back(approval):
        return f"{approval.decided_by} took it back already. Nothing ran."
    return f"It is {approval.state} already. Nothing is left to take back."
