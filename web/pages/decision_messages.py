"""What came of a press, in words a person reads and in the status that says the same. Pure."""

from __future__ import annotations

from typing import assert_never

from approvals.model import (
    AlreadyDecided,
    Counted,
    Decided,
    EffectKnown,
    EffectSettled,
    Moved,
    NotAllowed,
    NotFound,
    SettledEffect,
    Settlement,
    Stale,
)
from approvals.taking_back import TakenBack, TooLate
from web.session import Viewer
from web.views.frame import FormNotice

BAD = 400
"""The first status that says no."""


def said_of_effect(settled: SettledEffect) -> tuple[FormNotice, int]:
    """What came of saying whether a call did what its effect key names."""
    match settled:
        case EffectSettled(settlement=settlement):
            done = "it was done" if settlement is Settlement.DONE else "it was not done"
            return FormNotice(f"Recorded: {done}.", "good"), 200
        case EffectKnown(state=state):
            return FormNotice(f"There is nothing to settle any more: it is {state}.", "bad"), 409
        case NotAllowed(why=why):
            return FormNotice(why, "bad"), 403
        case NotFound():
            return FormNotice("Someone was first: nothing of it is unknown any more.", "bad"), 409
    assert_never(settled)


def said_of_taking_back(done: TakenBack, viewer: Viewer) -> tuple[FormNotice, int]:
    """What came of taking an approval back."""
    if isinstance(done, TooLate):
        return FormNotice(done.why, "bad"), 409
    return said(done, viewer)


def said(decided: Decided, viewer: Viewer) -> tuple[FormNotice, int]:
    """What came of it, in words, and the status that says the same."""
    match decided:
        case Moved():
            return FormNotice("Recorded.", "good"), 200
        case Counted(missing=missing):
            people = "person" if missing == 1 else "people"
            return FormNotice(f"Your approval counts. {missing} more {people} must approve."), 200
        case AlreadyDecided(approval=approval):
            who = approval.decided_by or "the gateway"
            who = "you" if who == viewer.reviewer.id else who
            via = f" via {approval.decided_via}" if approval.decided_via else ""
            return FormNotice(f"Someone was first: {approval.state} by {who}{via}.", "bad"), 409
        case Stale():
            text = "The call was edited after this was shown. Look again; nothing was recorded."
            return FormNotice(text, "bad"), 409
        case NotAllowed(why=why):
            return FormNotice(why, "bad"), 403
        case NotFound():
            return FormNotice("There is no such approval.", "bad"), 404
    assert_never(decided)
