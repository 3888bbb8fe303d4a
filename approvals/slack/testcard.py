"""The card of `signoff doctor --slack`: asks for nothing, proves that presses arrive. Pure."""

from __future__ import annotations

from typing import Any, Final

TEST: Final = "approval.test"
"""Action id of its button; the gateway answers anyone who presses it."""

TEXT: Final = "Signoff can post here."


def test_card(page_url: str) -> list[dict[str, Any]]:
    """The blocks of the card."""
    words = (
        "Approvals of agents' calls will be announced here. Press the button while the gateway "
        "runs: it answers you, and says whether you are a reviewer."
    )
    button = {
        "type": "button",
        "action_id": TEST,
        "text": {"type": "plain_text", "text": "Does it hear me?"},
    }
    link = {
        "type": "button",
        "action_id": "approval.open",
        "text": {"type": "plain_text", "text": "Open the queue"},
        "url": f"{page_url.rstrip('/')}/",
    }
    return [
        {"type": "header", "block_id": "what", "text": {"type": "plain_text", "text": TEXT}},
        {"type": "section", "block_id": "why", "text": {"type": "plain_text", "text": words}},
        {"type": "actions", "block_id": "test", "elements": [button, link]},
    ]
