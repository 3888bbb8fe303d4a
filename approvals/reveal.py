"""Looking behind a mask: who may decide sees what the scanner hid, an administrator also what
the policy redacts where the rule says so. Each look is a row before anything is shown. Not pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from approvals.differences import Places
from approvals.model import Approval, NotAllowed, NotFound, Reviewer, Via
from approvals.moves import Actor, record
from approvals.permission import may_review
from approvals.record.transaction import Transaction
from approvals.redact import masked, scanned
from approvals.rows import load
from approvals.seal import SealBroken

_TOLD: Final = 50  # paths that a row names


@dataclass(frozen=True, slots=True)
class Revealed:
    """The arguments without the masks this person may look behind."""

    approval: Approval
    arguments: str  # canonical JSON


@dataclass(frozen=True, slots=True)
class NothingMasked:
    """There is nothing this person may look behind, or nothing left to show; `why` says which."""

    why: str


Look = Revealed | NothingMasked | NotAllowed | NotFound


def reveals(approval: Approval, reviewer: Reviewer) -> bool:
    """Whether there is something for this person to look behind."""
    if not reviewer.may_decide:
        return False
    return _opens(approval, reviewer) or bool(scanned(json.loads(approval.masked), approval.redact))


def _opens(approval: Approval, reviewer: Reviewer) -> bool:
    """Whether what the policy redacts is open to this person too."""
    named = bool(approval.redact) and approval.terms.reveal == "admin"
    return named and reviewer.role == "admin"


def reveal(tx: Transaction, approval_id: str, *, reviewer: Reviewer, via: Via) -> Look:
    """Take the masks off for this person, and put it on record. An administrator may always look;
    others where they may decide.
    """
    try:
        found = load(tx.connection, approval_id, keys=tx.keys)
    except SealBroken:
        return NothingMasked("The stored arguments cannot be opened with this gateway's key.")
    if found is None:
        return NotFound()
    if reviewer.role != "admin":
        refused = may_review(tx.connection, found, reviewer, approving=False, via=via)
        if refused is not None:
            return NotAllowed(refused)
    if not found.call.arguments:
        return NothingMasked("The arguments of this call are no longer kept.")
    if not reveals(found, reviewer):
        return NothingMasked("Nothing in it is masked that you may look behind.")
    opened = _opens(found, reviewer)
    places = Places.of(len(found.masked))
    paths = [
        places.text(path)[0] for path in scanned(json.loads(found.masked), found.redact)[:_TOLD]
    ]
    if opened:
        paths += found.redact
    record(
        tx,
        found,
        "revealed",
        actor=Actor.reviewer(reviewer, via),
        told={"data": {"paths": paths}},
    )
    shown = () if opened else found.redact
    text = masked(found.call.arguments, shown, key=tx.keys.fingerprint, scan=False)
    return Revealed(found, text)
