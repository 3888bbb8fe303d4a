"""Socket Mode against connections that break, repeat and refuse: every press counts once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from approvals.model import Choice, State, Vote
from approvals.slack.api import opened as api_opened
from approvals.slack.app import SlackApp, opened
from approvals.slack.inbound import MOST_PRESSES, Ack
from approvals.slack.socket import SocketRefused, address, introduce
from approvals.slack.workspace import KnownWorkspace
from tests.slack.app_bench import Bench, bench, setting
from tests.support.fake_slack.message import Fault
from tests.support.fake_slack.payloads import click
from tests.support.fake_slack.sockets import NotAcknowledged, Sockets
from tests.support.fake_slack.workspace import Workspace
from tests.support.patience import PATIENCE
from tests.support.review_scene import open_scene


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as made:
        yield made


async def fault_within(app: SlackApp, seconds: float = PATIENCE) -> str:
    """The first thing that is wrong, told within these seconds."""
    async with asyncio.timeout(seconds):
        while not app.health.faults():  # noqa: ASYNC110 - as a monitor asks /readyz
            await asyncio.sleep(0.01)
    return app.health.faults()[0]


async def well(app: SlackApp, seconds: float = PATIENCE) -> None:
    """Until nothing is wrong any more."""
    async with asyncio.timeout(seconds):
        while app.health.faults():  # noqa: ASYNC110 - as a monitor asks /readyz
            await asyncio.sleep(0.01)


async def test_a_press_is_acknowledged_before_it_is_worked_on(there: Bench) -> None:
    held = there.held()
    there.slack.script("users.info", Fault(acted=True, seconds=1.0))
    await there.sockets.deliver(click(there.slack, held, "approval.approve"))
    assert await there.state(held) is State.PENDING
    await there.settled()
    assert await there.state(held) is State.APPROVED


async def test_the_same_envelope_twice_is_one_press(there: Bench) -> None:
    held = there.held(quorum=2)
    payload = click(there.slack, held, "approval.approve")
    for _ in range(3):
        await there.sockets.deliver(payload, envelope="same")
    await there.settled()
    assert len(await there.scene.approvals.decisions(held.id)) == 1
    assert there.whispered() == ["Your approval counts. 1 more person must approve."]


async def test_a_press_that_no_one_has_room_for_is_not_acknowledged(there: Bench) -> None:
    inbound, held, over = there.app.inbound, there.held(), asyncio.Event()

    async def wait() -> None:
        await over.wait()

    for _ in range(MOST_PRESSES):
        inbound.start(Ack(after=wait))
    payload = click(there.slack, held, "approval.approve")
    with pytest.raises(NotAcknowledged):  # so Slack tells whoever pressed, and sends events again
        await there.sockets.deliver(payload, envelope="again")
    assert await there.state(held) is State.PENDING
    over.set()
    await inbound.idle()
    await there.sockets.deliver(payload, envelope="again")
    await there.settled()
    assert await there.state(held) is State.APPROVED


async def test_a_hundred_presses_of_one_button_are_one_decision(there: Bench) -> None:
    held = there.held()
    payload = click(there.slack, held, "approval.approve")
    await asyncio.gather(*(there.sockets.deliver(payload) for _ in range(100)))
    await there.settled()
    assert len(await there.scene.approvals.decisions(held.id)) == 1
    assert len(there.whispered()) <= 5


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_a_renewed_connection_is_made_before_the_old_one_ends(
    there: Bench, reason: str
) -> None:
    await there.sockets.disconnect(reason, close=False)
    await there.sockets.made(2)
    held = there.held()
    await there.press(click(there.slack, held, "approval.approve"))
    assert await there.state(held) is State.APPROVED
    assert there.app.health.faults() == ()
    await there.sockets.connected(1)


async def test_a_connection_that_breaks_is_made_anew(there: Bench) -> None:
    there.sockets.cut()
    await there.sockets.made(2)
    held = there.held()
    await there.press(click(there.slack, held, "approval.approve"))
    assert await there.state(held) is State.APPROVED
    assert there.app.health.faults() == ()


async def test_a_connection_closed_in_the_middle_of_a_decision_loses_nothing(there: Bench) -> None:
    held = there.held()
    there.slack.script("users.info", Fault(acted=True, seconds=0.5))
    await there.sockets.deliver(click(there.slack, held, "approval.approve"))
    there.sockets.cut()
    await there.settled()
    assert await there.state(held) is State.APPROVED


async def test_a_press_whose_acknowledgement_is_lost_counts_and_the_next_one_is_told(
    there: Bench,
) -> None:
    held = there.held()
    payload = click(there.slack, held, "approval.approve")
    connection = there.sockets.connections[0]
    pending = asyncio.create_task(there.sockets.deliver(payload))
    await asyncio.sleep(0)
    await connection.socket.close()
    with pytest.raises(NotAcknowledged):
        await pending
    await there.sockets.made(2)
    await there.press(payload)
    assert await there.state(held) is State.APPROVED
    assert len(await there.scene.approvals.decisions(held.id)) == 1


async def test_switched_off_is_degraded_and_says_so(there: Bench) -> None:
    await there.sockets.disconnect("link_disabled")
    assert "switched off" in await fault_within(there.app)


async def test_too_many_connections_back_off_and_say_so(there: Bench) -> None:
    await there.sockets.disconnect("too_many_websockets")
    assert "Too many connections" in await fault_within(there.app)


async def test_one_of_two_replicas_takes_each_press(tmp_path: Path) -> None:
    async with (
        bench(tmp_path) as there,
        opened(
            there.config,
            approvals=there.scene.approvals,
            people=there.scene.people,
            judge_again=None,
        ) as second,
    ):
        await there.sockets.connected(2)
        held = [there.held(amount=number, quorum=2) for number in range(6)]
        for one in held:  # each is delivered to another connection than the one before
            await there.sockets.deliver(click(there.slack, one, "approval.approve", "U1"))
            await there.sockets.deliver(click(there.slack, one, "approval.approve", "U2"))
        await there.settled()
        await second.inbound.idle()
        assert {await there.state(one) for one in held} == {State.APPROVED}


async def test_a_press_in_slack_and_one_on_the_page_have_one_winner(there: Bench) -> None:
    bob = await there.scene.people.find("bob")
    assert bob is not None
    for number in range(10):
        held = there.held(amount=number)
        page = there.scene.approvals.decide(
            held.id, Vote(revision=1, reviewer=bob, choice=Choice.DENY, reason="no", via="page")
        )
        press = there.press(click(there.slack, held, "approval.approve"))
        await asyncio.gather(page, press)
        votes = await there.scene.approvals.decisions(held.id)
        found = await there.scene.approvals.get(held.id)
        assert found is not None
        assert len(votes) == 1
        assert (found.decided_by, found.decided_via) in (("bob", "page"), ("alice", "slack"))
        assert (found.state is State.APPROVED) == (votes[0].choice is Choice.APPROVE)


async def broken(folder: Path, slack: Workspace, **config: str) -> str:
    """What is wrong with an app set up like this; never a hang, and calls go on."""
    scene = open_scene(folder)
    try:
        async with opened(
            setting(slack, **config), approvals=scene.approvals, people=scene.people,
            judge_again=None,
        ) as app:  # fmt: skip
            return await fault_within(app)
    finally:
        scene.wakeup.close()
        await scene.database.close()


async def test_a_bad_token_is_told_within_seconds_and_by_the_settings_name(tmp_path: Path) -> None:
    slack = Workspace()
    sockets = Sockets(slack)
    async with slack.running():
        bot = await broken(tmp_path, slack, bot_token="xoxb-wrong")
        assert "SIGNOFF_SLACK_BOT_TOKEN" in bot
        assert "invalid_auth" in bot
        assert "xoxb-wrong" not in bot
        app = await broken(tmp_path, slack, app_token="xapp-wrong")
        assert "SIGNOFF_SLACK_APP_TOKEN" in app
        sockets.refuse = "missing_scope"
        assert "connections:write" in await broken(tmp_path, slack)
        assert "another workspace" in await broken(tmp_path, slack, team_id="T2")
    assert "cannot be reached" in await broken(tmp_path, slack)


async def test_preflight_raises_what_is_wrong_at_once(tmp_path: Path) -> None:
    slack = Workspace()
    Sockets(slack)
    async with slack.running():
        config = setting(slack)
        async with asyncio.timeout(5), api_opened("xoxb-wrong", slack.url) as api:
            with pytest.raises(SocketRefused, match="invalid_auth"):
                await introduce(api, KnownWorkspace(config))
            with pytest.raises(SocketRefused, match="APP_TOKEN"):
                await address(api, config)


async def test_slack_that_comes_back_is_well_again(tmp_path: Path) -> None:
    slack = Workspace()
    sockets = Sockets(slack)
    scene = open_scene(tmp_path)
    slack.script("auth.test", Fault(status=500), Fault(status=500), Fault(status=503))
    try:
        async with (
            slack.running(),
            opened(
                setting(slack), approvals=scene.approvals, people=scene.people, judge_again=None
            ) as app,
        ):
            assert "cannot be reached" in await fault_within(app)
            await sockets.connected()
            await well(app)
    finally:
        scene.wakeup.close()
        await scene.database.close()


async def test_an_app_of_another_name_is_not_listened_to(tmp_path: Path) -> None:
    async with bench(tmp_path, app_id="A2") as there:
        assert "another app" in await fault_within(there.app)
        held = there.held()
        await there.press(click(there.slack, held, "approval.approve"))
        assert await there.state(held) is State.PENDING


async def test_it_stops_at_once_and_lets_a_press_finish(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        held = there.held()
        there.slack.script("users.info", Fault(acted=True, seconds=0.3))
        await there.sockets.deliver(click(there.slack, held, "approval.approve"))
    # The record is closed by now; what was pressed got in before.
    scene = open_scene(tmp_path)
    try:
        found = await scene.approvals.get(held.id)
        assert found is not None
        assert found.state is State.APPROVED
    finally:
        scene.wakeup.close()
        await scene.database.close()
