"""The policy that a gateway of this place starts on: what was confirmed, and what closes since,
rather than a file that waits. Also what commands go by.
"""

from __future__ import annotations

from collections.abc import Mapping

from approvals.confirmed import Confirmed
from approvals.record.database import Database
from gateway.admin.reviewer_check import ReviewerCheck
from gateway.enforcement.confirmations import closing_text, read_confirmed, starting_text
from gateway.enforcement.policy_file import PolicyFile
from gateway.settings import Settings


async def known_rules(settings: Settings, database: Database) -> Mapping[str, Confirmed] | None:
    """What was confirmed; None: the files are taken as they are, or nothing ever was.

    Raises:
        Unconfirmed: as `read_confirmed`.
    """
    if settings.policy_trust == "file":
        return None
    return await read_confirmed(database, settings.policy)


def open_policy(
    settings: Settings,
    database: Database,
    staff: ReviewerCheck,
    known: Mapping[str, Confirmed] | None,
) -> PolicyFile:
    """The policy by what is known to be confirmed.

    Raises:
        PolicyInvalid: it has errors.
        OSError: it is the file, which cannot be read.
    """
    path = settings.policy
    return PolicyFile(
        path,
        database.clock,
        confirmed=None if settings.policy_trust == "file" else starting_text(known, path),
        closing=closing_text(known),
        staffed=staff.suffices,
        people=staff.names,
    )
