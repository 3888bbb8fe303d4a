"""Ids as people write them: the whole of it, an unambiguous beginning, or a grant's label."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from gateway.cli import show
from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from approvals.view import View
    from gateway.cli.record import Record
    from gateway.enforcement.grants import Grant

_APPROVAL = re.compile(r"(?:apr_)?([0-9A-Z]{6,26})", re.IGNORECASE | re.ASCII)
_ALIKE = str.maketrans("OIL", "011")  # what people read into an id that has none of these


async def view_of(record: Record, written: str) -> View:
    """What a reviewer is shown of this approval.

    Raises:
        Stop: there is none, or several begin like that.
    """
    view = None
    match = _APPROVAL.fullmatch(written)
    if match is not None:
        view = await record.approvals.view("apr_" + match[1].upper().translate(_ALIKE))
    if view is None:
        raise Stop(
            Exit.NOT_FOUND,
            f"There is no approval {show.line(written)}, or more than one begins like that.",
        )
    return view


async def grant_of(record: Record, written: str) -> Grant:
    """The grant of this id, beginning of an id, or label.

    Raises:
        Stop: there is none, or several could be meant.
    """
    from gateway.enforcement import grants

    everyone = await record.database.read(grants.listing)
    for found in (
        [one for one in everyone if one.id == written],
        [one for one in everyone if one.label == written and one.revoked_at is None],
        [one for one in everyone if len(written) >= 6 and one.id.startswith(written)],  # noqa: PLR2004 - "grt_" and two more
    ):
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(one.id for one in found)
            raise Stop(Exit.NOT_FOUND, f"Several grants could be meant: {ids}.")
    raise Stop(Exit.NOT_FOUND, f"There is no grant {show.line(written)}: see `signoff grant list`.")


async def known_servers(record: Record) -> set[str]:
    """Every server of servers.json, and every one that ever listed tools."""
    from gateway.enforcement.catalogue import Catalogue
    from gateway.servers import load_servers

    catalogue = Catalogue(record.database)
    await catalogue.load()
    known = {tool.server for tool in catalogue.tools()}
    try:
        servers = load_servers(record.settings.servers.read_bytes(), os.environ)
    except OSError:
        return known
    return known | set(servers.servers) | {problem.server for problem in servers.problems} - {""}
