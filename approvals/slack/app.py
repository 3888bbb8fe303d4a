"""One Slack app as a gateway runs it: who presses, what comes of it, the connection. Not pure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from approvals.reviewers import People
from approvals.service import Approvals, JudgeAgain
from approvals.slack import api as web_api
from approvals.slack.card_renderer import CardRenderer
from approvals.slack.config import SlackConfig
from approvals.slack.decisions import Deciding
from approvals.slack.ephemeral import Whispers
from approvals.slack.health import SlackHealth
from approvals.slack.identity import Directory, Identities
from approvals.slack.inbound import Inbound
from approvals.slack.notices import Notices
from approvals.slack.notifier import SlackNotifier
from approvals.slack.pending_list import PendingList
from approvals.slack.socket import Socket
from approvals.slack.workspace import KnownWorkspace

_PATIENCE = 5.0  # seconds a press may still take when the gateway stops


@dataclass(frozen=True, slots=True)
class SlackApp:
    """What runs. Closed with the block that opened it."""

    inbound: Inbound
    notifier: SlackNotifier
    health: SlackHealth
    pin: KnownWorkspace
    notices: Notices


@asynccontextmanager
async def opened(
    config: SlackConfig,
    *,
    approvals: Approvals,
    people: People,
    judge_again: JudgeAgain | None,
) -> AsyncIterator[SlackApp]:
    """Listen to Slack for the length of the block. Slack's troubles are in `health`, never here."""
    async with web_api.opened(config.bot_token, config.api_url) as api:
        pin, health = KnownWorkspace(config), SlackHealth()
        now = asyncio.get_running_loop().time
        directory = Directory(api, now)
        identities = Identities(config, people, approvals.database, directory)

        cards = CardRenderer(config, pin, approvals.clock)
        notifier = SlackNotifier(
            config, api, database=approvals.database, clock=approvals.clock, health=health
        )
        inbound = Inbound(
            config,
            api,
            deciding=Deciding(
                approvals, identities, judge_again=judge_again, shows_all=cards.shows_everything
            ),
            queue=PendingList(api, approvals, identities, cards=cards, now=now),
            whispers=Whispers(config, api, now),
            pinned=pin,
            adopt=notifier.adopt,
        )
        socket = Socket(config, api, inbound, health=health, pin=pin)
        notices = Notices(config, api)
        task = asyncio.create_task(socket.run(), name="slack socket")
        try:
            yield SlackApp(inbound, notifier, health, pin, notices)
        finally:
            await notices.aclose()
            # First what brings presses in, then what was pressed.
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await inbound.aclose(_PATIENCE)
