"""`signoff doctor --slack`: what Slack says of this set-up, and a card to press."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.cli.check import Check

if TYPE_CHECKING:
    from approvals.model import Reviewer
    from gateway.settings import Settings


def examine_slack(configured: Settings, *, card: bool) -> list[Check]:
    """Every check of Slack; with `card`, a test card is posted."""
    config = configured.slack()
    if config is None:
        do = "Set SIGNOFF_SLACK_BOT_TOKEN, SIGNOFF_SLACK_APP_TOKEN and SIGNOFF_SLACK_CHANNEL."
        return [Check("slack", "broken", "not set up", do)]
    return asyncio.run(_examine(configured, card=card))


async def _examine(configured: Settings, *, card: bool) -> list[Check]:
    from approvals.slack.checkup import checkup
    from approvals.slack.notifier import DIRECT

    config = configured.slack()
    assert config is not None  # noqa: S101 - `examine_slack` looked
    people = await _people(configured)
    named, channels = _stated(configured)
    direct = DIRECT in channels
    findings = checkup(config, people, named, post=card, direct=direct)
    return [Check(one.name, one.state, one.found, one.do) async for one in findings]


async def _people(configured: Settings) -> tuple[Reviewer, ...]:
    from gateway.cli.record import exists, opened

    if not exists(configured):
        return ()
    async with opened(configured) as record:
        return await record.people.reviewers()


def _stated(configured: Settings) -> tuple[frozenset[str], frozenset[str]]:
    """Whom the policy names, and which channels; what is wrong with the file is another check's."""
    from gateway.policy.document import PolicyInvalid, load
    from gateway.policy.staffing import channels, named

    try:
        policy = load(configured.policy.read_bytes(), name=configured.policy.name)
    except (OSError, PolicyInvalid):
        return frozenset(), frozenset()
    return named(policy), channels(policy)
