"""Draws cards as this gateway's workspace is to see them. Not pure: it reads the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from approvals.record.clock import Clock
from approvals.slack.blocks import Json
from approvals.slack.card import card, shows_all
from approvals.slack.card_context import CardContext
from approvals.slack.config import SlackConfig
from approvals.slack.workspace import Pinned
from approvals.view import View


@dataclass(frozen=True, slots=True)
class CardRenderer:
    """`workspace` gives what is known of it by now."""

    config: SlackConfig
    workspace: Callable[[], Pinned | None]
    clock: Clock

    def context(self) -> CardContext:
        """What every card of this workspace is drawn with."""
        known = self.workspace()
        return CardContext(
            self.config.page_url,
            show_arguments=self.config.show_arguments,
            team=known.team_id if known is not None else "",
        )

    def render(self, view: View) -> tuple[str, list[Json]]:
        """Fallback text and blocks of the card."""
        drawn = card(view, self.context(), now=self.clock.now())
        return drawn.text, list(drawn.blocks)

    def shows_everything(self, view: View) -> bool:
        """Whether every byte of the call is on its card: only then is it approved there."""
        return shows_all(view, self.context())
