"""The words both halves of Slack agree on: action ids, block ids, the value of a button. Pure.

A button carries a look-up key and nothing else: which approval, which revision, and the beginning
of the digest of what was shown. It is no secret and proves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from approvals.model import Approval

APPROVE: Final = "approval.approve"
DENY: Final = "approval.deny"
ASK: Final = "approval.ask"
EDIT: Final = "approval.edit"
TAKE_BACK: Final = "approval.take_back"
DONE: Final = "effect.done"
NOT_DONE: Final = "effect.not_done"
"""Another call did what this one does, or did not: a person found out."""
OPEN: Final = "approval.open"
"""A URL button: it sends a payload too, to be acknowledged and otherwise ignored."""

EVENT: Final = "approval_card"
"""`event_type` of a message's metadata; its payload is `{"id", "revision", "kind"}`."""

_DIGEST: Final = 12
_VALUE: Final = re.compile(r"v1\|(apr_[A-Za-z0-9_-]{1,64})\|([1-9][0-9]{0,8})\|([0-9a-f]{12})")
_BLOCK: Final = "decide"


@dataclass(frozen=True, slots=True)
class Pressed:
    """What the value of a button says."""

    approval_id: str
    revision: int
    digest: str  # the first 12 hex digits of Approval.digest

    def means(self, approval: Approval) -> bool:
        """Whether the button was made for the approval as it stands."""
        return (
            self.approval_id == approval.id
            and self.revision == approval.revision
            and approval.digest.startswith(self.digest)
        )


def value_of(approval: Approval) -> str:
    """The value of every button that decides: `v1|<id>|<revision>|<first 12 of the digest>`."""
    return f"v1|{approval.id}|{approval.revision}|{approval.digest[:_DIGEST]}"


def parse_value(value: object) -> Pressed | None:
    """What a button's value says; None when it is not one of ours."""
    found = _VALUE.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else Pressed(found[1], int(found[2]), found[3])


def block_of(approval: Approval) -> str:
    """The block_id of the buttons: new with every change of the row, as Slack asks of updates."""
    return f"{_BLOCK}:{approval.id}:{approval.revision}:{approval.version}"


def is_our_block(block_id: object) -> bool:
    """Whether a payload's block_id is one that `block_of` makes."""
    return isinstance(block_id, str) and block_id.startswith(f"{_BLOCK}:apr_")
