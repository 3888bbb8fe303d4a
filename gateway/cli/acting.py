"""Who acts at this terminal: the reviewer named with --as or SIGNOFF_REVIEWER, or the only one.

Whoever may read the record's key could write any row, so the name is taken at its word; the
history says that it came from the command line.
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

VARIABLE = "SIGNOFF_REVIEWER"
_DECIDE = ("approver", "admin")


async def reviewer(record: Record, name: str | None) -> Reviewer:
    """The reviewer who decides.

    Raises:
        Stop: nobody of that name, or several could be meant.
    """
    everyone = await record.people.reviewers()
    wanted = name or os.environ.get(VARIABLE, "").strip()
    if wanted:
        for one in everyone:
            if one.id == wanted or wanted in one.identities:
                return replace(one, verified="cli")
        known = ", ".join(one.id for one in everyone) or "nobody yet"
        raise Stop(
            Exit.DENIED,
            f"There is no reviewer {wanted} (known: {known}). Add one: signoff reviewer add NAME",
        )
    able = [one for one in everyone if one.role in _DECIDE]
    if len(able) == 1:
        return replace(able[0], verified="cli")
    if not able:
        raise Stop(
            Exit.DENIED, "Nobody may decide yet. Add a reviewer: signoff reviewer add YOUR-NAME"
        )
    names = ", ".join(one.id for one in able)
    raise Stop(
        Exit.USAGE,
        f"Several people may decide ({names}): say who you are with --as NAME or {VARIABLE}=NAME.",
    )


async def operator(record: Record, name: str | None) -> str:
    """The name to record for what needs no reviewer (freeze, thaw): never refused for want of one.

    Raises:
        Stop: a name was given, and nobody has it.
    """
    if name or os.environ.get(VARIABLE, "").strip():
        return (await reviewer(record, name)).id
    able = [one for one in await record.people.reviewers() if one.role in _DECIDE]
    return able[0].id if len(able) == 1 else f"operator {_login()}"


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
