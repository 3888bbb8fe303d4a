"""Slack as a part of the gateway: whether anyone could decide from it, its door, its state.

Slack in trouble is told and otherwise ignored: calls stay pending, and the page works.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from fastapi import APIRouter

from approvals.reviewers import People
from approvals.service import Approvals, JudgeAgain
from approvals.slack.app import SlackApp, opened
from approvals.slack.config import SlackConfig, SlackUnusable
from gateway.enforcement.confirmations import Confirmations
from gateway.enforcement.policy_file import PolicyFile
from gateway.policy.rules import Policy
from gateway.policy.staffing import named
from web.slack import Door, router

_SLACK = ("slack:", "slack-group:")


@dataclass(frozen=True, slots=True)
class SlackSetup:
    """Slack, while it is set up."""

    app: SlackApp
    routes: APIRouter | None  # its HTTP door; None: clicks come in over Socket Mode only


def announce(chat: SlackSetup, policies: PolicyFile, confirmations: Confirmations) -> None:
    """Tell Slack what waits for an administrator: what waits now, and rules that are changed later.
    Words of these files are foreign: an agent may have written them.
    """

    def rules() -> str | None:
        waiting = policies.waiting
        if waiting is None:
            return None
        return f"{policies.path.name} was changed and waits to be confirmed: {waiting.text}"

    def servers() -> str | None:
        names = ", ".join(server.name for server in confirmations.waiting())
        return f"Servers wait to be confirmed, and are not started: {names}" if names else None

    def changed() -> None:
        if policies.waiting is not None:
            chat.app.notices.tell("rules", "/policy/confirm", rules)

    policies.listen(changed)
    changed()
    if confirmations.waiting():
        chat.app.notices.tell("servers", "/servers/confirm", servers)


async def open_slack(
    stack: AsyncExitStack,
    config: SlackConfig,
    *,
    approvals: Approvals,
    people: People,
    policy: Policy,
    judge_again: JudgeAgain,
) -> SlackSetup:
    """Listen to Slack until the stack is closed.

    Raises:
        SlackUnusable: no one could approve from it.
    """
    await check_people(config, people, policy)
    app = await stack.enter_async_context(
        opened(config, approvals=approvals, people=people, judge_again=judge_again)
    )
    if config.signing_secret is None:
        return SlackSetup(app, None)
    return SlackSetup(app, router(Door(config.signing_secret, app.inbound)))


async def check_people(config: SlackConfig, people: People, policy: Policy) -> None:
    """An empty list of reviewers must never come to mean everybody: it does not start.

    Raises:
        SlackUnusable: no Slack account could approve anything.
    """
    able = [one for one in await people.reviewers() if one.may_decide]
    known = {name for one in able for name in one.names()}
    ids = {one.id for one in able}
    if (
        any(name.startswith("slack:") for name in known)
        or any(name in ids for name in config.reviewers.values())
        or (config.email_domains and able)
        or any(name.startswith(_SLACK) for name in named(policy))
    ):
        return
    raise SlackUnusable(
        "Slack is set up, but no one could approve from it. Say who a reviewer is in Slack:\n"
        "  signoff reviewer add YOUR-NAME --slack U0123ABCD\n"
        "(in Slack: profile, ⋮, Copy member ID), or set SIGNOFF_SLACK_REVIEWERS or "
        "SIGNOFF_SLACK_EMAIL_DOMAINS, or name slack:TEAM/USER in policy.json."
    )
