"""What every message of one gateway has in common: its page, and whom it may mention. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from approvals.headline import HIDDEN, Headline
from approvals.model import Approval, Reviewer
from approvals.permission import refusal
from approvals.slack.text import escape, fit, harmless, visible
from approvals.view import View

_AGENT: Final = 40  # characters of an agent's name in front of a sentence
_PLAIN: Final = re.compile(r"-?[€$£¥]?[0-9](?:[0-9A-Za-z.,+ -]|(?<=[0-9]):(?=[0-9]{2}))*")
"""Amounts, dates and sizes."""
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


def wanted(headline: Headline, look: CardContext) -> Headline:
    """The call in one sentence, as far as Slack may know it."""
    return headline if look.show_arguments else headline.without_values


def asks(view: View, look: CardContext) -> str:
    """Who wants what, as one line of plain text: "billing-agent wants to charge €1,200.00 to …"."""
    told = wanted(view.headline, look)
    agent = fit(visible(view.approval.call.grant_label or view.approval.call.grant), _AGENT)
    return f"{agent} wants to {told.inside.text}" if told.ruled else f"{agent}: {told.text}"


def heard(headline: Headline) -> str:
    """The sentence in `mrkdwn`, which notifications are read from: a value that might make more
    than text there is left out.
    """
    return "".join(
        _heard(part.shown, part.quoted) if part.kind == "value" else escape(part.shown)
        for part in headline.parts
    )


def _heard(shown: str, quoted: str) -> str:
    return quoted if harmless(shown) or _PLAIN.fullmatch(shown) else HIDDEN


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
