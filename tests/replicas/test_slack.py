"""Two gateways on one PostgreSQL and one Slack: a press reaches either, and counts once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from sqlalchemy import URL

from approvals import reviewers
from tests.support.fake_slack.message import Message
from tests.support.fake_slack.payloads import click
from tests.support.fake_slack.sockets import Sockets
from tests.support.fake_slack.workspace import Workspace
from tests.support.killable_gateways import Ground, Nursery, ground
from tests.support.live_gateway import eventually

pytestmark = pytest.mark.postgres

CALLS = 4
TOOLS: dict[str, Any] = {"held": {"require_approval": True}}


@dataclass
class Town:
    portal: BlockingPortal
    slack: Workspace
    sockets: Sockets
    site: Ground

    def card(self, key: str) -> Message:
        """The one card of the call with this key, posted by whichever gateway."""

        def posted() -> Message | None:
            found = [one for one in self.slack.shown() if f'"{key}"' in str(one.blocks)]
            return found[0] if found and found[0].buttons() else None

        return eventually(posted)

    def press(self, card: Message, *, to: int) -> None:
        button = card.button("approval.approve")
        block = next(one["block_id"] for one in card.blocks if one["type"] == "actions")
        payload = click(
            self.slack, None, "approval.approve", value=button["value"], block=block,
            channel=card.channel, ts=card.ts,
        )  # fmt: skip
        self.portal.call(partial(self.sockets.deliver, payload, to=to))


@pytest.fixture
def town(tmp_path: Path, nursery: Nursery, postgres: URL) -> Iterator[Town]:
    slack = Workspace()
    sockets = Sockets(slack)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(slack.running()),
        ground(
            tmp_path,
            nursery,
            tools=TOOLS,
            agents=CALLS,
            SIGNOFF_DATABASE_URL=postgres.render_as_string(hide_password=False),
            SIGNOFF_HOLD="180",
            SIGNOFF_SLACK_BOT_TOKEN=slack.bot_token,
            SIGNOFF_SLACK_APP_TOKEN=slack.app_token,
            SIGNOFF_SLACK_CHANNEL="C1",
            SIGNOFF_SLACK_API_URL=slack.url,
        ) as site,
    ):
        site.site.write(partial(reviewers.link, reviewer_id="alice", identity="slack:T1/U1"))
        yield Town(portal, slack, sockets, site)
        site.assert_intact()


def test_presses_delivered_to_either_gateway_run_each_call_once(town: Town) -> None:
    with town.site.gateway() as one, town.site.gateway() as other:
        town.portal.call(town.sockets.connected, 2, 30)
        with ThreadPoolExecutor(CALLS + 2) as pool:
            calls = [
                pool.submit((one, other)[place % 2].call, token, "held", key=f"k{place}")
                for place, token in enumerate(town.site.agents)
            ]
            for place in range(CALLS):
                card = town.card(f"k{place}")
                # To both at once: whichever holds the agent, one of the two decides.
                presses = [pool.submit(town.press, card, to=to) for to in (0, 1)]
                for press in presses:
                    press.result()
            answers = [call.result() for call in calls]
        assert [answer["result"]["content"][0]["text"] for _, answer in answers] == [
            f"held k{n}" for n in range(CALLS)
        ]
        assert sorted(town.site.witness.ran()) == [("held", f"k{n}") for n in range(CALLS)]
        votes = town.site.rows("SELECT count(*) FROM decision")
        assert votes == [(CALLS,)]
        eventually(lambda: all(not message.buttons() for message in town.slack.shown()))
        assert len(town.slack.shown()) == CALLS


def test_when_one_gateway_dies_the_other_hears_the_next_press(town: Town) -> None:
    with town.site.gateway() as one:
        town.portal.call(town.sockets.connected, 1, 30)
        with town.site.gateway() as other:
            town.portal.call(town.sockets.connected, 2, 30)
            with ThreadPoolExecutor(1) as pool:
                call = pool.submit(one.call, town.site.agents[0], "held", key="k")
                card = town.card("k")
                other.end()
                town.portal.call(town.sockets.connected, 1, 30)
                town.press(card, to=0)
                assert not call.result()[1]["result"]["isError"]
    assert town.site.witness.ran() == [("held", "k")]
