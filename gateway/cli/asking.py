"""Before a command starts or reaches what a file names: show it, and ask.

A file that lies in a folder may have come with it (a cloned project). What an administrator has
confirmed as it stands needs no second word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gateway.cli import show

if TYPE_CHECKING:
    from approvals import confirmed
    from gateway.servers import Server
    from gateway.settings import Settings


def chosen(servers: Mapping[str, Server], *, yes: bool, sure: Iterable[str] = ()) -> set[str]:
    """The names of those that may be started or reached now: all of them once someone says so,
    else `sure`. All others are shown first.
    """
    from gateway.enforcement.server_display import shown

    known = set(sure) & servers.keys()
    unsure = [server for name, server in servers.items() if name not in known]
    if not unsure:
        return known
    for server in unsure:
        show.note(f"  {server.name}: {show.line(shown(server))}")
    if yes:
        return set(servers)
    if not show.interactive():
        show.note("No one can be asked here, so none of these is started: --yes does.")
        return known
    return set(servers) if show.asked("Start or reach these, to ask for their tools?") else known


def already_confirmed(configured: Settings, servers: Mapping[str, Server]) -> set[str]:
    """The servers that an administrator confirmed exactly as they stand in the file."""
    from approvals import confirmed

    known = _known(configured)
    return {
        name
        for name, server in servers.items()
        if (there := known.get(confirmed.server_key(name))) is not None
        and there.text == server.stated
    }


def waiting(configured: Settings, servers: Mapping[str, Server]) -> set[str]:
    """The servers that no gateway of this record starts before someone confirms them."""
    from approvals import confirmed

    if configured.policy_trust == "file" or confirmed.POLICY not in _known(configured):
        return set()  # never started: the first start confirms
    return servers.keys() - already_confirmed(configured, servers)


def _known(configured: Settings) -> Mapping[str, confirmed.Confirmed]:
    """What was confirmed on this record, if there is one that can be read."""
    import asyncio
    from functools import partial

    from approvals import confirmed
    from gateway.cli.exits import Stop
    from gateway.cli.record import exists, opened

    if not exists(configured):
        return {}

    async def look() -> Mapping[str, confirmed.Confirmed]:
        async with opened(configured) as record:
            keys = record.database.keys
            return await record.database.read(partial(confirmed.confirmed, keys=keys))

    try:
        return asyncio.run(look())
    except Stop:
        return {}  # anyone who needs the record says what is wrong with it
