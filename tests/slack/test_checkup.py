"""`signoff doctor --slack`: each fault of a set-up is found, named, and said what to do about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from approvals.model import Reviewer
from approvals.slack.checkup import SlackFinding, checkup
from tests.slack.app_bench import bench, setting
from tests.support.fake_slack.message import Fault
from tests.support.fake_slack.payloads import click
from tests.support.fake_slack.sockets import Sockets
from tests.support.fake_slack.workspace import Workspace

ALICE = Reviewer(id="alice", role="approver", identities=("slack:T1/U1",))


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    made = Workspace()
    Sockets(made)
    async with made.running():
        yield made


async def found(
    slack: Workspace,
    *,
    people: tuple[Reviewer, ...] = (ALICE,),
    named: frozenset[str] = frozenset(),
    post: bool = False,
    direct: bool = False,
    **config: Any,
) -> dict[str, SlackFinding]:
    findings = checkup(setting(slack, **config), people, named, post=post, direct=direct)
    return {one.name: one async for one in findings}


async def test_a_good_set_up_is_ok_throughout_and_posts_a_card_to_press(slack: Workspace) -> None:
    told = await found(slack, post=True)
    assert {one.state for one in told.values()} == {"ok"}, told
    assert list(told) == [
        *("slack", "scopes", "socket mode", "http door", "channel", "reviewer", "test card"),
    ]
    (card,) = slack.shown("C1")
    assert [one["action_id"] for one in card.buttons()] == ["approval.test", "approval.open"]


async def test_direct_messages_warn_that_they_need_the_messages_tab(slack: Workspace) -> None:
    for told in (await found(slack, direct=True), await found(slack, channel=None)):
        assert told["direct messages"].state == "warning"
        assert "Messages Tab" in told["direct messages"].do
    assert "direct messages" not in await found(slack)


async def test_no_card_unless_asked_for(slack: Workspace) -> None:
    await found(slack)
    assert slack.shown() == []


@pytest.mark.parametrize(
    ("config", "check", "words"),
    [
        ({"bot_token": "xoxb-no"}, "slack", "SIGNOFF_SLACK_BOT_TOKEN"),
        ({"team_id": "T9"}, "slack", "another workspace"),
        ({"app_token": "xapp-no"}, "socket mode", "SIGNOFF_SLACK_APP_TOKEN"),
        ({"channel": "C9"}, "channel", "channel_not_found"),
        ({"email_domains": ("example.com",)}, "scopes", "users:read.email"),
    ],
    ids=str,
)
async def test_each_wrong_setting_is_named(config: dict[str, Any], check: str, words: str) -> None:
    slack = Workspace(scopes=frozenset({"chat:write", "users:read", "channels:read", "commands"}))
    Sockets(slack)
    async with slack.running():
        told = await found(slack, **config)
    assert told[check].state == "broken"
    assert words in told[check].found
    assert told[check].do


async def test_a_channel_the_app_is_not_in_or_that_is_archived(slack: Workspace) -> None:
    slack.channels["C1"].joined = False
    told = await found(slack)
    assert "/invite" in told["channel"].do
    slack.channels["C1"].archived = True
    assert "archived" in (await found(slack, post=True))["channel"].found
    assert (await found(slack, post=True))["test card"].state == "broken"


async def test_scopes_that_rules_need_are_missed(slack: Workspace) -> None:
    slack.scopes = frozenset({"chat:write", "users:read"})
    told = await found(slack, named=frozenset({"slack-group:T1/S1"}))
    assert "usergroups:read" in told["scopes"].found
    assert "not looked at" in told["channel"].found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"deleted": True}, "deactivated"),
        ({"is_bot": True}, "bot"),
        ({"is_restricted": True}, "guest"),
    ],
    ids=str,
)
async def test_reviewers_who_could_not_decide_are_named(
    slack: Workspace, change: dict[str, bool], words: str
) -> None:
    for name, value in change.items():
        setattr(slack.people["U1"], name, value)
    told = await found(slack)
    assert (told["reviewer"].state, words in told["reviewer"].found) == ("broken", True)


async def test_nobody_to_approve_is_said(slack: Workspace) -> None:
    told = await found(slack, people=(Reviewer(id="alice", role="approver"),))
    assert "no one could approve" in told["reviewers"].found


async def test_slack_out_of_reach_is_said(slack: Workspace) -> None:
    slack.script("auth.test", *[Fault(status=500)] * 4)
    assert "does not answer" in (await found(slack))["slack"].found


async def test_the_cards_button_answers_who_presses(
    slack: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:

    async with bench(tmp_path_factory.mktemp("bench")) as there:
        await there.press(click(there.slack, None, "approval.test", "U1", block="test"))
        assert there.whispered() == ["It works: the press arrived, and you decide as alice."]
