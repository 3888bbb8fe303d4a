"""An emulator made by others sees what we mean to post: cards, metadata, changes, threads."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from approvals.model import Approval, Choice, Terms
from approvals.outbox_worker import Outbox
from approvals.record.clock import SystemClock
from approvals.record.database import Database, Transaction
from approvals.slack import api as web_api
from approvals.slack import messages
from approvals.slack.config import SlackConfig
from approvals.slack.health import SlackHealth
from approvals.slack.notifier import SlackNotifier
from approvals.slack.pacing import Lanes
from tests.slack.emulator import CHANNEL, TOKEN, emulator
from tests.support.fake_slack.rules import wrong_blocks
from tests.support.record import BOB, KEYS, HandClock, Record

pytestmark = pytest.mark.node


@dataclass
class Seen:
    """A record whose notifier talks to the emulator."""

    record: Record
    api: web_api.SlackApi
    outbox: Outbox
    health: SlackHealth

    async def told(self) -> None:
        for _ in range(5):
            await self.outbox.round("slack")

    async def messages(self) -> list[dict[str, Any]]:
        params = {"channel": CHANNEL, "include_all_metadata": "true"}
        return list((await self.api.read("conversations.history", params))["messages"])

    async def thread(self, ts: str) -> list[str]:
        found = await self.api.read("conversations.replies", {"channel": CHANNEL, "ts": ts})
        return [one["blocks"][0]["text"]["text"] for one in found["messages"][1:]]


@asynccontextmanager
async def seen(folder: Path, channel: str = CHANNEL) -> AsyncIterator[Seen]:
    with emulator() as url:
        clock = HandClock(SystemClock().now())  # the emulator's own clock is the real one
        record = Record(Database.open(f"sqlite:///{folder}/r.db", key=KEYS, clock=clock), clock, "")
        config = SlackConfig(
            bot_token=TOKEN,
            signing_secret="s",
            api_url=url,
            public_url="https://gate.example",
            channel=channel,
        )
        health = SlackHealth()
        async with web_api.opened(TOKEN, url) as api:
            notifier = SlackNotifier(
                config,
                api,
                database=record.database,
                clock=clock,
                health=health,
                lanes=Lanes(clock, gap=0),
            )
            outbox = Outbox(record.database, {"slack": notifier}, clock=clock)
            await outbox.enlist()
            yield Seen(record, api, outbox, health)
        record.database.close_now()


async def test_the_life_of_a_call_as_others_see_it(tmp_path: Path) -> None:
    hostile = {"amount": 1200, "note": "<!channel> *ok* `x` \u202e </blocks>"}
    async with seen(tmp_path) as there:
        held = there.record.hold(hostile, terms=Terms(quorum=2, risk="high"))
        await there.told()
        (card,) = await there.messages()
        assert card["metadata"]["event_payload"]["id"] == held.id
        assert wrong_blocks(card["blocks"]) == []
        title = card["blocks"][0]["text"]["text"]
        spelled = "<!channel> *ok* `x` \\u202e </blocks>"
        assert title == f"claude-code: Refund amount 1200, “{spelled}”"
        assert "confirm" in json.dumps(card["blocks"])
        there.record.decide(held)
        await there.told()
        there.record.decide(held, BOB, Choice.DENY, reason="no")
        await there.told()
        (denied,) = await there.messages()
        assert denied["ts"] == card["ts"]
        assert denied["text"] == "Denied: Refund amount 1200, …, by bob."
        assert all(block["type"] != "actions" for block in denied["blocks"])
        assert await there.thread(card["ts"]) == ["alice approved: 1 of 2."]
        assert there.health.faults() == ()


async def test_a_channel_by_name_is_found_where_names_are_not_taken(tmp_path: Path) -> None:
    async with seen(tmp_path, channel="#general") as there:
        there.record.hold()
        await there.told()
        assert len(await there.messages()) == 1


def killed(tx: Transaction, held: Approval) -> None:
    """The record as a gateway leaves it that is killed between a post and its note."""
    messages.place(tx, held, CHANNEL)
    claimed = messages.claim(tx, f"{held.id}/card/{CHANNEL}")
    assert claimed is not None
    messages.release(tx, claimed, certain=False)


async def test_a_card_in_doubt_is_found_by_its_metadata_among_others(tmp_path: Path) -> None:
    async with seen(tmp_path) as there:
        held = there.record.hold()
        for key in ("other", f"{held.id}/card/{CHANNEL}"):
            await there.api.write(
                "chat.postMessage",
                {
                    "channel": CHANNEL,
                    "text": key,
                    "metadata": {"event_type": "approval_card", "event_payload": {"key": key}},
                },
            )
        there.record.write(lambda tx: killed(tx, held))
        await there.told()
        texts = sorted(one["text"] for one in await there.messages())
        assert len(texts) == 2
        assert texts[0].startswith("Approve? Refund pay_1, amount 1200 (claude-code, ")
        assert texts[1] == "other"
