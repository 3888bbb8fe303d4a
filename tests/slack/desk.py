"""A record, a workspace, and the notifier between them under the real outbox. Not a test.

The record's clock is set by hand and is Slack's too; nothing waits for real time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from approvals.outbox import Notice, is_due, lease
from approvals.outbox_worker import Outbox
from approvals.record.database import Transaction
from approvals.slack import api as web_api
from approvals.slack.config import SlackConfig
from approvals.slack.health import SlackHealth
from approvals.slack.notifier import SlackNotifier
from approvals.slack.pacing import Lanes
from tests.support.fake_slack.message import Message
from tests.support.fake_slack.workspace import Workspace
from tests.support.patience import PATIENCE
from tests.support.record import Record

PAGE = "https://gate.example"
MOST_ROUNDS = 500


@dataclass
class Desk:
    """Everything at hand."""

    record: Record
    slack: Workspace
    notifier: SlackNotifier
    outbox: Outbox
    health: SlackHealth
    config: SlackConfig

    async def told(self, *, seconds: float = 7_200, step: float = 1.0) -> None:
        """Until the outbox has nothing left that falls due within these seconds of the clock."""
        until = self.record.clock.now() + seconds * 1000
        for _ in range(MOST_ROUNDS):
            await self.outbox.round("slack")
            if not self.due():
                waits = self.next_due()
                if waits is None or waits > until:
                    return
                self.record.clock.pass_(seconds=max(step, (waits - self.now()) / 1000))
        raise TimeoutError(self.rows("SELECT id, tries, error FROM outbox"))

    async def now_told(self) -> None:
        """What is due at this moment, and nothing that would be due later."""
        for _ in range(MOST_ROUNDS):
            if not self.due():
                return
            await self.outbox.round("slack")
        raise TimeoutError(self.rows("SELECT id, tries, error FROM outbox"))

    def now(self) -> int:
        return self.record.clock.now()

    def due(self) -> bool:
        now = self.now()
        return self.record.read(lambda connection: is_due(connection, "slack", now))

    def next_due(self) -> int | None:
        """When the next of the outbox's rows is due, reminders apart."""
        found = self.rows(
            "SELECT min(due_at) FROM outbox WHERE notifier = 'slack' "
            "AND done_at IS NULL AND kind <> 'reminder'"
        )
        return None if found[0][0] is None else int(found[0][0])

    def lease(self, tx: Transaction) -> tuple[Notice, ...]:
        """What is due, taken as a worker takes it that then dies."""
        return lease(tx, "slack", limit=10)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.record.read(
            lambda connection: [tuple(row) for row in connection.exec_driver_sql(query)]
        )

    def card(self) -> Message:
        """The one message that is not in a thread."""
        (found,) = self.slack.shown()
        return found

    def notes(self) -> list[str]:
        """What the threads were told, oldest first."""
        return [one.blocks[0]["text"]["text"] for one in self.slack.shown(thread=True)]


@asynccontextmanager
async def desk(
    record: Record,
    *,
    gap: int = 0,
    seconds: float = PATIENCE,
    window: float = 0.0,
    slack: Workspace | None = None,
    **config: Any,
) -> AsyncIterator[Desk]:
    """`gap`: milliseconds between two messages that we keep; `window`: seconds that Slack asks."""
    there = slack or Workspace(window=window, clock=lambda: record.clock.now() / 1000)
    async with (
        there.running(),
        opened(record, there, gap=gap, seconds=seconds, **config) as made,
    ):
        await made.outbox.enlist()
        yield made


@asynccontextmanager
async def opened(
    record: Record, slack: Workspace, *, gap: int = 0, seconds: float = PATIENCE, **config: Any
) -> AsyncIterator[Desk]:
    """A gateway's outbound half towards a workspace that runs already."""
    made = {
        "bot_token": slack.bot_token,
        "app_token": slack.app_token,
        "api_url": slack.url,
        "public_url": PAGE,
        "channel": "C1",
        **config,
    }
    configured = SlackConfig(**made)
    health = SlackHealth()
    async with web_api.opened(configured.bot_token, configured.api_url, seconds=seconds) as api:
        notifier = SlackNotifier(
            configured,
            api,
            database=record.database,
            clock=record.clock,
            health=health,
            lanes=Lanes(record.clock, gap=gap, patience=0),
        )
        outbox = Outbox(
            record.database, {"slack": notifier}, clock=record.clock, jitter=lambda: 1.0
        )
        yield Desk(record, slack, notifier, outbox, health, configured)


def actions(message: Message) -> list[str]:
    """The action ids of its buttons."""
    return [one["action_id"] for one in message.buttons()]


__all__ = ["PAGE", "Desk", "Notice", "actions", "desk", "opened"]
