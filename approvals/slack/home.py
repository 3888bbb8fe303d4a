"""What waits, as App Home and `/approvals` show it. Pure.

Short on purpose: who asks for what, why it was held, until when. Nothing is approved from a list,
because a list does not show every byte; denying is offered where a modal can follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from approvals.headline import headline_of
from approvals.model import Approval, Reviewer, short_id
from approvals.slack.action_values import ASK, DENY, OPEN, block_of, value_of
from approvals.slack.card_context import CardContext, name_of, wanted
from approvals.slack.text import visible, when

Json = dict[str, Any]

IN_HOME: Final = 15
IN_LIST: Final = 10

_LONGEST_NAME: Final = 120
_LONGEST_REASON: Final = 500


def home(
    reviewer: Reviewer | None, waiting: Sequence[Approval], look: CardContext, *, why: str = ""
) -> Json:
    """The Home tab; without a reviewer, why there is nothing to see."""
    if reviewer is None:
        return {"type": "home", "blocks": [_section("about", why)]}
    blocks: list[Json] = [_header(_count(waiting))]
    for place, approval in enumerate(waiting[:IN_HOME]):
        buttons = [
            _button(f"{DENY}:{place}", "Deny…", value=value_of(approval), style="danger"),
            _button(f"{ASK}:{place}", "Ask for a change…", value=value_of(approval)),
            _button(f"{OPEN}:{place}", "Review in full", url=look.link(approval)),
        ]
        blocks += [
            _section(f"what:{place}", _what(approval, look)),
            _facts(f"facts:{place}", approval),
            {"type": "actions", "block_id": block_of(approval), "elements": buttons},
            {"type": "divider"},
        ]
    return {"type": "home", "blocks": [*blocks, *_rest(waiting, IN_HOME, look)]}


def listing(waiting: Sequence[Approval], look: CardContext) -> Json:
    """The answer to `/approvals`: a message for the asker alone."""
    blocks: list[Json] = []
    for place, approval in enumerate(waiting[:IN_LIST]):
        opens = _button(f"{OPEN}:{place}", "Open", url=look.link(approval))
        blocks += [
            _section(f"what:{place}", _what(approval, look)) | {"accessory": opens},
            _facts(f"facts:{place}", approval),
        ]
    return {
        "response_type": "ephemeral",
        "text": _count(waiting),
        "blocks": [_header(_count(waiting)), *blocks, *_rest(waiting, IN_LIST, look)],
    }


def sentence(words: str) -> Json:
    """A message for the asker alone: one line of our words, no matter whose names are in it."""
    words = visible(words)
    return {"response_type": "ephemeral", "text": words, "blocks": [_section("said", words)]}


def _what(approval: Approval, look: CardContext) -> str:
    call = approval.call
    told = wanted(headline_of(approval), look).text
    agent = visible(call.grant_label)[:_LONGEST_NAME]
    why = visible(approval.ruling.reason)[:_LONGEST_REASON]
    name = name_of(approval)[: 2 * _LONGEST_NAME]
    lines = (told, f"{name}, asked by {agent or 'an agent'}", why)
    return "\n".join(filter(None, lines))


def _facts(block_id: str, approval: Approval) -> Json:
    risk = approval.risk
    words = (
        f"{risk} risk · ends {when(approval.expires_at)}, which counts as a denial · "
        f"`{short_id(approval.id)}`"
    )
    return {
        "type": "context",
        "block_id": block_id,
        "elements": [{"type": "mrkdwn", "verbatim": True, "text": words}],
    }


def _count(waiting: Sequence[Approval]) -> str:
    if not waiting:
        return "Nothing is waiting for you"
    return f"{len(waiting)} {'call waits' if len(waiting) == 1 else 'calls wait'} for you"


def _rest(waiting: Sequence[Approval], shown: int, look: CardContext) -> list[Json]:
    left = len(waiting) - shown
    queue = _button(f"{OPEN}:queue", "Open the queue", url=f"{look.url}/")
    if left > 0:
        return [_section("more", f"And {left} more.") | {"accessory": queue}]
    return [{"type": "actions", "block_id": "queue", "elements": [queue]}]


def _header(words: str) -> Json:
    return {"type": "header", "block_id": "header", "text": _plain(words)}


def _section(block_id: str, words: str) -> Json:
    return {"type": "section", "block_id": block_id, "text": _plain(words)}


def _button(action_id: str, words: str, **more: str) -> Json:
    return {"type": "button", "action_id": action_id, "text": _plain(words), **more}


def _plain(words: str) -> Json:
    return {"type": "plain_text", "text": words, "emoji": False}
