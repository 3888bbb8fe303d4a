"""The ways into a gateway that its start prints: a sign-in link while no one is on record, and an
administrator's token where commands decide no more.

The token is made by the start that closes the commands, before it does: until then who starts
the gateway could have made one. No later start gives one away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from approvals.model import Millis
    from approvals.reviewers import People
    from gateway.app import Gateway

_DAY: Final = 86_400_000
_LASTS: Final = 365 * _DAY
SOON: Final = 30 * _DAY
"""How long before its end an administrators' last token is warned of."""


@dataclass(frozen=True, slots=True)
class Token:
    """An administrator's API token, readable only now."""

    owner: str
    secret: str


async def close_commands(gateway: Gateway) -> Token | None:
    """Where the settings say that commands do not decide and the record does not yet: an
    administrator's token, if none holds one. Call `note_commands` once it is printed.

    Raises:
        Stop: no one on record is an administrator.
    """
    from gateway.enforcement.confirmations import commands_decide

    if gateway.settings.cli_decides or not await commands_decide(gateway.database):
        return None
    names = await administrators(gateway.people)
    if not names:
        raise Stop(
            Exit.INVALID,
            "SIGNOFF_CLI_DECIDES=false would lock everybody out: no one on record is an "
            "administrator. Without it: signoff reviewer add NAME --role admin",
        )
    if await last_token(gateway.people, names) is not None:
        return None
    return Token(names[0], await gateway.people.token(names[0], lasts=_LASTS))


async def administrators(people: People) -> Sequence[str]:
    """Who may do everything."""
    return [one.id for one in await people.reviewers() if one.role == "admin"]


async def last_token(people: People, names: Sequence[str]) -> Millis | None:
    """When the last of these people's API tokens ends; None: they hold none."""
    ends = [end for name in names if (end := await people.token_until(name)) is not None]
    return max(ends, default=None)


def said_of(token: Token) -> tuple[str, ...]:
    """What a start prints of the token."""
    return (
        f"{token.secret}   (administrator {token.owner}'s, shown once, ends in a year)",
        "Keep it. Commands decide nothing here but with SIGNOFF_REVIEWER_TOKEN set to it, or to",
        f"another reviewer's: signoff reviewer link {token.owner}, signoff reviewer token NAME",
    )
