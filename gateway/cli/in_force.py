"""The rules that a gateway of this place goes by: what was confirmed, and what closes since, rather
than a file that waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import show
from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from approvals.confirmed import Confirmed
    from gateway.cli.record import Record
    from gateway.enforcement.policy_file import PolicyFile
    from gateway.policy.rules import Policy


async def policies(record: Record) -> tuple[PolicyFile, Mapping[str, Confirmed] | None]:
    """The policy as a start would find it, and what is confirmed (None: the files are taken as they
    are, or nothing was ever confirmed).

    Raises:
        Stop: no gateway would start on it.
    """
    from gateway.admin.reviewer_check import ReviewerCheck, vouched
    from gateway.admin.starting_policy import known_rules, open_policy
    from gateway.enforcement.confirmations import Unconfirmed
    from gateway.hosting.logs import configure_logging
    from gateway.policy.document import PolicyInvalid

    settings, database = record.settings, record.database
    configure_logging(settings.log, level="critical")  # what it finds is told by the command
    staff = ReviewerCheck(record.people, lambda: found.current, vouched=vouched(settings))
    await staff.meet()
    try:
        known = await known_rules(settings, database)
        found = open_policy(settings, database, staff, known)
    except Unconfirmed as error:
        raise Stop(Exit.INVALID, str(error)) from error
    except PolicyInvalid as invalid:
        raise Stop(Exit.INVALID, f"{invalid}. See: signoff policy check") from invalid
    except OSError as error:
        raise Stop(Exit.INVALID, f"{settings.policy} cannot be read: {error.strerror}") from error
    return found, known


def policy(given: Path | None) -> Policy:
    """The rules of the given file; without one, those in force here. Where they are not simply the
    file's, a first line on stderr says which they are.

    Raises:
        Stop: there are none, or they have errors.
    """
    from gateway.cli.policy import load
    from gateway.cli.record import exists, run, settings

    if given is not None:
        return load(given)
    where = settings()
    if not exists(where):
        return load(where.policy)

    async def look(record: Record) -> PolicyFile:
        return (await policies(record))[0]

    try:
        found = run(look)
    except Stop as stop:
        rules = load(where.policy)  # all its errors are told there
        show.note(f"This is what {where.policy} says; what is in force cannot be told: {stop.text}")
        return rules
    _tell(found, where.policy)
    return found.current


def _tell(found: PolicyFile, path: Path) -> None:
    closing = " and what closes since" if found.closing is not None else ""
    if found.waiting is not None:
        show.note(
            f"This is in force: what was confirmed{closing}. {path} is another text, which waits "
            f"to be confirmed; name it to see what it says."
        )
    elif found.rejected is not None:
        show.note(
            f"This is in force: what was confirmed{closing}. {path} is not: "
            f"{show.line(found.rejected.text)}"
        )
    elif closing:
        show.note(f"This is in force: {path}, which closes more than what was confirmed.")
