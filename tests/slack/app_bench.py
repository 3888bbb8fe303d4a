"""A record with held calls, a workspace, and the app between them: no gateway. Not a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from approvals.model import Approval, State, Terms
from approvals.service import JudgeAgain
from approvals.slack.app import SlackApp, opened
from approvals.slack.config import SlackConfig
from tests.support.fake_slack.sockets import Sockets
from tests.support.fake_slack.workspace import Workspace
from tests.support.review_scene import Scene, open_scene

MINUTES = 30 * 60


@dataclass
class Bench:
    """Everything at hand."""

    scene: Scene
    slack: Workspace
    sockets: Sockets
    app: SlackApp
    config: SlackConfig

    def held(self, amount: int = 120_000, **terms: Any) -> Approval:
        """A call that waits. Reviewers: anyone who has the role, unless the terms name some."""
        given = {"risk": "medium", "expires": MINUTES, **terms}
        arguments = {"amount": amount, "customer": "cus_1"}
        return self.scene.held("create_charge", arguments, terms=Terms(**given))

    async def state(self, approval: Approval) -> State:
        found = await self.scene.approvals.get(approval.id)
        assert found is not None
        return found.state

    async def press(self, payload: dict[str, Any], kind: str = "interactive") -> Any:
        """Deliver it over the socket; done when its work is done. What the app acknowledged."""
        acknowledged = await self.sockets.deliver(payload, kind=kind)
        await self.settled()
        return acknowledged

    async def settled(self) -> None:
        """Until nothing that was pressed is still being worked on."""
        await self.app.inbound.idle()

    def whispered(self) -> list[str]:
        """What people were told alone, oldest first."""
        return [one["text"] for one in self.slack.ephemerals]


def setting(slack: Workspace, **more: Any) -> SlackConfig:
    given = {
        "bot_token": slack.bot_token,
        "app_token": slack.app_token,
        "signing_secret": slack.signing_secret,
        "api_url": slack.url,
        "public_url": "http://127.0.0.1:8788",
        "channel": "C1",
    }
    return SlackConfig(**{**given, **more})


@asynccontextmanager
async def bench(
    folder: Path, *, judge_again: JudgeAgain | None = None, **config: Any
) -> AsyncIterator[Bench]:
    """With alice, bob and carol: reviewers, U1, U2 and U3 in Slack."""
    slack = Workspace()
    sockets = Sockets(slack)
    scene = open_scene(folder)
    try:
        for user, name in (("U1", "alice"), ("U2", "bob"), ("U3", "carol")):
            await scene.people.add(name, role="approver", identities=(f"slack:T1/{user}",))
        async with slack.running():
            configured = setting(slack, **config)
            async with opened(
                configured,
                approvals=scene.approvals,
                people=scene.people,
                judge_again=judge_again,
            ) as app:
                if configured.app_token:
                    await sockets.connected()
                yield Bench(scene, slack, sockets, app, configured)
    finally:
        scene.wakeup.close()
        await scene.database.close()
