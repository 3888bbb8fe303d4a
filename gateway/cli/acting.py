"""Who acts at this terminal: the reviewer named with --as or SIGNOFF_REVIEWER, or the only one.

Anyone who may read the record's key could write any row, so the name is taken at its word; the
history says that it came from the command line. Where the gateway was started with
SIGNOFF_CLI_DECIDES=false, or this command is, no one acts here but by a reviewer's token.
"""

from __future__ import annotations

import getpass
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from approvals.model import Reviewer
    from gateway.cli.record import Record
    from gateway.enforcement.confirmations import By

VARIABLE = "SIGNOFF_REVIEWER"
TOKEN = "SIGNOFF_REVIEWER_TOKEN"  # noqa: S105 - the name of a variable


async def permitted(
    record: Record, *, admin: bool = False, on_page: bool = True
) -> Reviewer | None:
    """Refuse where commands do not decide. The reviewer whose token is in the environment; None:
    there is none, and none is needed. `admin` and `on_page` say what a refusal names: whose token
    it takes, and whether the page does the same.

    Raises:
        Stop: the token is no reviewer's, or there is none and one is needed.
    """
    token = os.environ.get(TOKEN, "").strip()
    if token:
        found = await record.people.bearer(token)
        if found is None:
            raise Stop(Exit.DENIED, f"{TOKEN} holds no reviewer's token, or one that has ended.")
        return found
    if not record.settings.cli_decides or await _closed(record):
        way = "Do it on the page, or give" if on_page else "Give"
        whose = "an administrator's" if admin else "a reviewer's"
        raise Stop(
            Exit.DENIED,
            f"Commands do not decide here (SIGNOFF_CLI_DECIDES=false). {way} {whose} token in "
            f"{TOKEN}: the start that closed the commands printed an administrator's, and the page "
            "makes one under Agents, for the administrator who is signed in.",
        )
    return None


async def administrating(record: Record, *, on_page: bool = True) -> Reviewer | None:
    """As `permitted`, for what only administrators do on the page: a token must be one's.

    Raises:
        Stop: as `permitted`, or the token's reviewer is no administrator.
    """
    found = await permitted(record, admin=True, on_page=on_page)
    if found is not None and found.role != "admin":
        raise Stop(Exit.DENIED, f"{found.id} is {found.role}: this takes an administrator.")
    return found


async def administrator(record: Record, name: str | None) -> By:
    """Who confirms rules and commands: an administrator, or on a record that knows none yet who
    sits here.

    Raises:
        Stop: no administrator is meant, or it is not clear which.
    """
    from gateway.enforcement.confirmations import By

    proven = await administrating(record)
    if proven is not None:
        return By.reviewer(proven, "cli")
    able = [one for one in await record.people.reviewers() if one.role == "admin"]
    wanted = name or os.environ.get(VARIABLE, "").strip()
    if not able and not wanted:
        return By(kind="operator", id=f"operator {_login()}", via="cli")
    meant = [one for one in able if wanted in ("", one.id, *one.identities)]
    if len(meant) == 1:
        return By.reviewer(replace(meant[0], verified="cli"), "cli")
    names = ", ".join(one.id for one in able) or "no one yet"
    raise Stop(
        Exit.DENIED if wanted else Exit.USAGE,
        f"This takes an administrator ({names}): say who you are with --as NAME.",
    )


async def _closed(record: Record) -> bool:
    """Whether the gateway of this record was started so that commands do not decide."""
    from gateway.enforcement.confirmations import commands_decide

    return not await commands_decide(record.database)


async def reviewer(
    record: Record, name: str | None, *, admin: bool = False, on_page: bool = True
) -> Reviewer:
    """The reviewer who decides. `admin`: only administrators may, so only they are meant when
    no one is named; anyone who is named or holds the token may still be another.

    Raises:
        Stop: no one of that name, or several could be meant.
    """
    proven = await permitted(record, admin=admin, on_page=on_page)
    if proven is not None:
        if name and name not in (proven.id, *proven.identities):
            raise Stop(Exit.DENIED, f"The token in {TOKEN} is {proven.id}'s, not {name}'s.")
        return proven
    everyone = await record.people.reviewers()
    wanted = name or os.environ.get(VARIABLE, "").strip()
    if wanted:
        return _known(everyone, wanted)
    able = [one for one in everyone if (one.role == "admin" if admin else one.may_decide)]
    if len(able) == 1:
        return replace(able[0], verified="cli")
    if not able:
        add = "signoff reviewer add YOUR-NAME" + (" --role admin" if admin else "")
        raise Stop(Exit.DENIED, f"No one may decide yet. Add a reviewer: {add}")
    names = ", ".join(one.id for one in able)
    raise Stop(
        Exit.USAGE,
        f"Several people may decide ({names}): say who you are with --as NAME or {VARIABLE}=NAME.",
    )


def _known(everyone: tuple[Reviewer, ...], wanted: str) -> Reviewer:
    """The reviewer of this name.

    Raises:
        Stop: no one has it.
    """
    for one in everyone:
        if one.id == wanted or wanted in one.identities:
            return replace(one, verified="cli")
    known = ", ".join(one.id for one in everyone) or "no one yet"
    raise Stop(
        Exit.DENIED,
        f"There is no reviewer {wanted} (known: {known}). Add one: signoff reviewer add NAME",
    )


async def operator(record: Record, name: str | None) -> str:
    """The name to record for what needs no reviewer (freeze): never refused for want of one.

    Raises:
        Stop: a name was given, and no one has it.
    """
    if os.environ.get(TOKEN, "").strip() and (proven := await permitted(record)) is not None:
        return proven.id
    wanted = name or os.environ.get(VARIABLE, "").strip()
    if wanted:
        return _known(await record.people.reviewers(), wanted).id
    able = [one for one in await record.people.reviewers() if one.may_decide]
    return able[0].id if len(able) == 1 else f"operator {_login()}"


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
