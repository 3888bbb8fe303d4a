"""What came of a press, in words for the one who pressed. Pure. "" where the card says it all."""

from __future__ import annotations

from typing import Final, assert_never

from approvals.model import (
    AlreadyDecided,
    Approval,
    Counted,
    Decided,
    EffectKnown,
    EffectSettled,
    Moved,
    NotAllowed,
    NotFound,
    Reviewer,
    SettledEffect,
    Settlement,
    Stale,
    State,
)
from approvals.reversal import taken_back
from approvals.slack.text import escape, utc
from approvals.taking_back import TakenBack, TooLate

GONE: Final = "There is no such call any more. Nothing was done."
CHANGED: Final = (
    "The call was changed after this was shown. Nothing was done: look at the newest card."
)
EXPIRED: Final = "Nothing was done: it has expired, which counts as a denial."
RECORD_DOWN: Final = "The record cannot be written right now. Nothing was decided; try again."
FAILED: Final = "Something went wrong in the gateway. Look at the card before you press again."
NOT_SHOWN: Final = (
    "Slack does not show all of this call, so it cannot be approved here. Nothing was done: press "
    "Review in full."
)
NOT_HERE: Final = (
    "Its rule has this call approved on the page, not in Slack. Nothing was done: press Review in "
    "full."
)
TOO_LATE: Final = "Slack was too slow to open the form. Nothing was done; press again."
NOT_READY: Final = "The gateway is still connecting to Slack. Nothing was done; try again."


def said(decided: Decided, reviewer: Reviewer) -> str:
    """The answer to a decision."""
    match decided:
        case Moved():
            return ""
        case Counted(missing=missing):
            people = "person" if missing == 1 else "people"
            return f"Your approval counts. {missing} more {people} must approve."
        case AlreadyDecided(approval=approval):
            return standing(approval, reviewer)
        case Stale():
            return CHANGED
        case NotAllowed(why=why):
            return f"{escape(why)} Nothing was recorded."
        case NotFound():
            return GONE
    assert_never(decided)


def said_of_taking_back(done: TakenBack, reviewer: Reviewer) -> str:
    """The answer to taking an approval back."""
    if isinstance(done, TooLate):
        return f"Nothing was done. {escape(done.why)}"
    return said(done, reviewer)


def said_of_effect(settled: SettledEffect) -> str:
    """The answer to whether a call did what its effect key names."""
    match settled:
        case EffectSettled(settlement=settlement):
            done = "it was done" if settlement is Settlement.DONE else "it was not done"
            return f"Recorded: {done}."
        case EffectKnown(state=state):
            return f"Nothing was recorded: by now it is {state}."
        case NotAllowed(why=why):
            return f"{escape(why)} Nothing was recorded."
        case NotFound():
            return CHANGED
    assert_never(settled)


def standing(approval: Approval, reviewer: Reviewer) -> str:
    """How a call stands that waits no longer."""
    match approval.state:
        case State.APPROVED | State.DENIED:
            mine = approval.decided_by in reviewer.names()
            who = "you" if mine else escape(approval.decided_by)
            at = f" at {utc(approval.decided_at)}" if approval.decided_at else ""
            via = f" via {approval.decided_via}" if approval.decided_via else ""
            return f"Nothing was done: it was {approval.state} by {who}{via}{at}."
        case State.EXPIRED:
            return EXPIRED
        case State.WITHDRAWN if taken_back(approval):
            return f"Nothing was done: {escape(approval.decided_by)} took the approval back."
        case State.WITHDRAWN:
            return "Nothing was done: the agent no longer wants it."
        case State.SUPERSEDED:
            return "Nothing was done: the rules or the tool changed, and it may not run."
        case State.PENDING:
            return CHANGED
    assert_never(approval.state)
