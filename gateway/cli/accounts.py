"""Slack accounts as people write them on the command line: `U07`, `T024/U07`, `slack:T024/U07`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from gateway.settings import Settings

_SECONDS = 5.0


async def identities(settings: Settings, written: list[str]) -> tuple[str, ...]:
    """The accounts as reviewers are known by them. Slack is asked for the team no one named.

    Raises:
        Stop: not an account, or its team cannot be learned.
    """
    from approvals.slack.config import needs_team, person_of

    team = settings.slack_team_id
    if team is None and any(map(needs_team, written)):
        team = await _team(settings)
    found = []
    for one in written:
        identity = person_of(one, team)
        if identity is None:
            raise Stop(
                Exit.USAGE,
                f"{one} is no Slack account: write U0123ABCD (in Slack: profile, ⋮, Copy member "
                "ID), or T024BE7LD/U0123ABCD.",
            )
        found.append(identity)
    return tuple(found)


async def _team(settings: Settings) -> str:
    from approvals.slack.api import Limited, Unreachable, opened
    from approvals.slack.socket import SocketRefused, introduce
    from approvals.slack.workspace import KnownWorkspace

    config = settings.slack()
    if config is None:
        raise Stop(
            Exit.USAGE,
            "Of which workspace? Set SIGNOFF_SLACK_BOT_TOKEN and its neighbours first, or write "
            "the team too: T024BE7LD/U0123ABCD.",
        )
    pin = KnownWorkspace(config)
    try:
        async with opened(config.bot_token, config.api_url, seconds=_SECONDS) as api:
            await introduce(api, pin)
    except SocketRefused as refused:
        raise Stop(Exit.INVALID, str(refused)) from refused
    except (Limited, Unreachable) as error:
        raise Stop(
            Exit.UNREACHABLE, "Slack does not answer; write the team too: T024BE7LD/U0123ABCD."
        ) from error
    pinned = pin()
    return pinned.team_id if pinned is not None else ""
