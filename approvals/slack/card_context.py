"""What every message of one gateway has in common: its page, and whom it may mention. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from approvals.model import Approval, Reviewer
from approvals.permission import refusal
from approvals.slack.text import harmless, visible
from approvals.view import View

_NAMES: Final = 8  # reviewers mentioned in one message
_GROUP: Final = re.compile(r"slack-group:([TE][A-Z0-9]{1,63})/(S[A-Z0-9]{1,63})")
_PERSON: Final = re.compile(r"slack:([TE][A-Z0-9]{1,63})/([UW][A-Z0-9]{1,63})")


@dataclass(frozen=True, slots=True)
class CardContext:
    """What all cards of one gateway have in common."""

    url: str  # of the page, no slash at its end
    show_arguments: bool = True
    team: str = ""  # whose accounts may be mentioned; "" mentions no one

    def link(self, approval: Approval) -> str:
        return f"{self.url}/approvals/{approval.id}"


def name_of(approval: Approval) -> str:
    """`refund on payments`, in characters that show."""
    return f"{visible(approval.call.tool)} on {visible(approval.call.server)}"


def person(reviewer: str, look: CardContext) -> str:
    """A reviewer in `mrkdwn`; "" when the name is not fit for it."""
    found = _PERSON.fullmatch(reviewer)
    if found is not None and found[1] == look.team:
        return f"<@{found[2]}>"
    return reviewer if harmless(reviewer) else ""


def mentions(view: View, look: CardContext, people: Iterable[Reviewer]) -> list[str]:
    """Those who still have to decide and whom Slack knows, as mentions: the accounts and groups the
    rule names, and the accounts of the people on record whom it names, or whom it lets decide by
    naming no one. Who has voted is left out.
    """
    approval = view.approval
    voted = frozenset(vote.reviewer for vote in view.votes)
    found: dict[str, None] = {}
    for one in approval.terms.reviewers:
        group = _GROUP.fullmatch(one)
        if group is not None and group[1] == look.team:
            found[f"<!subteam^{group[2]}>"] = None
        elif one not in voted:
            found.update(dict.fromkeys(_accounts((one,), look)))
    for each in people:
        names = each.names()
        may = refusal(approval.terms, each, grant=approval.call.grant, owner="", approving=True)
        accounts = dict.fromkeys(_accounts(sorted(names), look))
        if may is not None or not voted.isdisjoint(names):
            found = {one: None for one in found if one not in accounts}
        else:
            found.update(accounts)
    return list(found)[:_NAMES]


def _accounts(names: Iterable[str], look: CardContext) -> Iterator[str]:
    for name in names:
        account = _PERSON.fullmatch(name)
        if account is not None and account[1] == look.team:
            yield f"<@{account[2]}>"
