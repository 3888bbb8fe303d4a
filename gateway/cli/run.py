"""`signoff run`: gateway, page and one server in a command, in place of the server's own.

A host that would start the server starts this instead. There is no daemon: it ends when the host
closes its stdin, and the record stays.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.exits import Exit, Stop

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch

if TYPE_CHECKING:
    from gateway.servers import Servers
    from gateway.settings import Settings


def run(
    command: Annotated[
        list[str], typer.Argument(help="What starts the server, after --: npx -y some-server")
    ],
    policy: Annotated[Path, typer.Option(help="The rules.")] = Path("policy.json"),
    name: Annotated[
        str, typer.Option(help="The server's name in the policy and the record.")
    ] = "server",
    data: Annotated[
        Path | None, typer.Option(help="Folder of the record; default: one for this command.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 picks a free one.")] = 0,
    hold: Annotated[
        int | None, typer.Option(min=0, help="Seconds a held call waits in place.")
    ] = None,
) -> None:
    """Guard one server in one command; no daemon."""
    import uvloop

    from gateway.cli.config import settings
    from gateway.hosting.server import Unstartable, configure_logging

    given = {"policy": policy, "port": port, "data": data, "hold": hold}
    configured = settings(
        file=False, **{key: value for key, value in given.items() if value is not None}
    )
    if "data" not in configured.model_fields_set:
        configured = configured.model_copy(update={"data": _folder(name, command, policy)})
    configure_logging(configured.log)
    try:
        uvloop.run(_run(configured, _only(name, command), name))
    except Unstartable as error:
        raise Stop(Exit.INVALID, str(error)) from error


def _folder(name: str, command: list[str], policy: Path) -> Path:
    """The same for the same command under the same rules, wherever a host starts it."""
    from gateway.settings import state_folder

    written = "\0".join([*command, str(policy.absolute())])
    return state_folder(name, written, os.environ)


def _only(name: str, command: list[str]) -> Servers:
    """The one server. It gets the environment it would have had from the host, less our own.

    Raises:
        Stop: the name is none.
    """
    from gateway.servers import CommandServer, Servers

    if not _NAME(name):
        raise Stop(Exit.USAGE, f"{name!r} is no name of a server: 1 to 64 of A-Z a-z 0-9 _ -.")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SIGNOFF_")}
    first, *rest = command
    only = CommandServer(
        name=name, command=first, args=tuple(rest), env=environ, written=tuple(command)
    )
    return Servers(servers={name: only})


async def _run(configured: Settings, servers: Servers, name: str) -> None:
    import asyncio

    from gateway.admin.reviewer_check import FIRST
    from gateway.cli.credential import local_token
    from gateway.cli.policy_news import teller
    from gateway.cli.record import Record
    from gateway.cli.way_in import close_commands, said_of
    from gateway.connect.host import speak
    from gateway.enforcement.confirmations import commands_decide, note_commands
    from gateway.hosting.server import running

    async with running(configured, servers) as (gateway, stopped):
        url, page = gateway.settings.url(), gateway.settings.page()
        first = not await gateway.people.reviewers()
        decides = gateway.settings.cli_decides and await commands_decide(gateway.database)
        link = "ask an administrator for one: commands do not decide here"
        if first or decides:
            link = await gateway.people.invite(FIRST.id, role=FIRST.role, url=page)
            link = f"{link}   (once, within 10 minutes)"
        closing = await close_commands(gateway)
        record = Record(gateway.settings, gateway.database, gateway.approvals, gateway.people)
        token = await local_token(record, f"run-{name}", servers=frozenset({name}))
        _say(f"page      {page}/")
        _say(f"sign in   {link}")
        for line in said_of(closing) if closing is not None else ():
            _say(f"token     {line}")
        if not gateway.settings.cli_decides:
            await note_commands(gateway.database, decide=False)
        _say(f"record    {gateway.settings.data.absolute()}")
        tell = teller(gateway.policies, _confirm(gateway.settings), _say)
        tell()
        gateway.policies.listen(tell)
        talking = asyncio.create_task(speak(f"{url}/mcp/{name}", token))
        await asyncio.wait({talking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


def _confirm(used: Settings) -> str:
    """The whole command that confirms the rules of this record."""
    where = {"SIGNOFF_DATA": used.data, "SIGNOFF_POLICY": used.policy}
    given = " ".join(f"{key}={shlex.quote(str(to.absolute()))}" for key, to in where.items())
    return f"{given} signoff policy confirm"


def _say(text: str) -> None:
    """A line for anyone who reads the host's log of this server."""
    print(f"signoff: {text}", file=sys.stderr, flush=True)
