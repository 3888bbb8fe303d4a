"""What every message of one gateway has in common: its page, and whom it may mention. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from approvals.model import Approval
from approvals.slack.text import harmless, visible

_NAMES: Final = 8  # reviewers mentioned in one message
_GROUP: Final = re.compile(r"slack-group:([TE][A-Z0-9]{1,63})/(S[A-Z0-9]{1,63})")
_PERSON: Final = re.compile(r"slack:([TE][A-Z0-9]{1,63})/([UW][A-Z0-9]{1,63})")


@dataclass(frozen=True, slots=True)
class Look:
    """What all cards of one gateway have in common."""

    url: str  # of the page, no slash at its end
    show_arguments: bool = True
    team: str = ""  # whose accounts may be mentioned; "" mentions nobody

    def link(self, approval: Approval) -> str:
        return f"{self.url}/approvals/{approval.id}"


def name_of(approval: Approval) -> str:
    """`refund on payments`, in characters that show."""
    return f"{visible(approval.call.tool)} on {visible(approval.call.server)}"


def person(reviewer: str, look: Look) -> str:
    """A reviewer in `mrkdwn`; "" when the name is not fit for it."""
    found = _PERSON.fullmatch(reviewer)
    if found is not None and found[1] == look.team:
        return f"<@{found[2]}>"
    return reviewer if harmless(reviewer) else ""


def mentions(approval: Approval, look: Look) -> list[str]:
    """The rule's reviewers that Slack knows, as mentions."""
    found = []
    for one in approval.terms.reviewers:
        group, person = _GROUP.fullmatch(one), _PERSON.fullmatch(one)
        if group is not None and group[1] == look.team:
            found.append(f"<!subteam^{group[2]}>")
        elif person is not None and person[1] == look.team:
            found.append(f"<@{person[2]}>")
    return found[:_NAMES]
