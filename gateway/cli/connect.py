"""`signoff connect`: how agents' programs reach the gateway.

For a program it makes a grant and prints the line to paste; for a server, started by a host, it is
that server: it speaks MCP on stdin and stdout.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import show
from gateway.cli.clients import EVERYTHING
from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from gateway.enforcement.grants import Grant
    from gateway.settings import Settings

TOKEN = "SIGNOFF_TOKEN"  # noqa: S105 - the name of a variable
URL = "SIGNOFF_URL"


def connect(
    name: Annotated[
        str,
        typer.Argument(
            help="A program: claude-code, claude-desktop, cursor, vscode, codex. Or a server's "
            "name, or all."
        ),
    ],
    server: Annotated[
        str, typer.Argument(help="For a program: the server it may use; default: all.")
    ] = EVERYTHING,
    token: Annotated[str | None, typer.Option(help="Print lines with this grant's token.")] = None,
    hold: Annotated[
        int | None, typer.Option(min=0, help="Seconds the new grant's held calls wait.")
    ] = None,
) -> None:
    """Connect a program, or be the server a host has started."""
    from gateway.cli.clients import PROGRAMS, lines
    from gateway.cli.config import FILE, said_by_file, settings

    started = name not in PROGRAMS and token is None and not sys.stdin.isatty()
    configured = settings(file=not started)
    if not started and (made := said_by_file()):
        # Anyone who wrote this folder may have written that: the address below is theirs.
        show.note(f"{FILE.absolute()} sets {', '.join(made)}; the address is made with it.")
    if name in PROGRAMS:
        _program(configured, name, server, token=token, hold=hold)
    elif not started:
        for program, text in lines(url_of(configured), name, token or "TOKEN"):
            print(f"# {program}\n{text}\n")
        if token is None:
            show.note("A program that starts commands gets MCP on stdin and stdout from this one.")
    else:
        _speak(configured, name, hold=hold)


def url_of(configured: Settings) -> str:
    """The gateway's URL: SIGNOFF_URL, or that of the gateway that runs here, or what the settings
    say.
    """
    from gateway.hosting.address import address

    return os.environ.get(URL, "").rstrip("/") or address(configured)


def _program(
    configured: Settings, name: str, server: str, *, token: str | None, hold: int | None
) -> None:
    from gateway.cli.clients import PROGRAMS, ClientTarget

    program = PROGRAMS[name]
    _known(configured, server)
    if token is None:
        grant, token = _grant(name, server, program.hold if hold is None else hold)
        waits = grant.hold if grant.hold is not None else configured.hold
        show.note(f"{grant.id}  {grant.label}: a held call waits up to {waits} s in place.")
    place = ClientTarget(url=url_of(configured), server=server, token=token, command=_ourselves())
    print(f"# {program.title}\n{program.line(place)}")


def _ourselves() -> str:
    """The command by its whole path: hosts that start it search other folders than a shell does."""
    found = Path(sys.argv[0]).absolute()
    return str(found) if found.name == "signoff" else "signoff"


def _known(configured: Settings, server: str) -> None:
    """Refuse a name that servers.json does not have, where there is such a file to look into.

    Raises:
        Stop: it has no such server.
    """
    if server == EVERYTHING or not configured.servers.exists():
        return

    from gateway.servers import load_servers

    known = load_servers(configured.servers.read_bytes(), os.environ).servers
    if server not in known:
        names = ", ".join([*known, EVERYTHING])
        raise Stop(Exit.NOT_FOUND, f"There is no server {server}; there are: {names}.")


def _grant(name: str, server: str, hold: int | None) -> tuple[Grant, str]:
    from gateway.cli.acting import administrating, operator
    from gateway.cli.record import Record, run
    from gateway.enforcement import grants

    async def work(record: Record) -> tuple[Grant, str]:
        await administrating(record)
        by = await operator(record, None)
        return await record.database.journal.write(
            lambda tx: grants.create(
                tx,
                label=f"{name}@{socket.gethostname()}",
                servers=frozenset({"*" if server == EVERYTHING else server}),
                hold=hold,
                by=by,
            )
        )

    return run(work, create=True)


def _speak(configured: Settings, name: str, *, hold: int | None) -> None:
    """Be the server that a host has started, with a grant of this machine's own or of the host's
    environment.
    """
    import asyncio

    from gateway.cli.clients import ClientTarget
    from gateway.connect.host import speak
    from gateway.hosting.logs import configure_logging

    configure_logging(configured.log, level="warning")
    token = os.environ.get(TOKEN, "").strip()
    if token and not os.environ.get(URL, "").strip():
        raise Stop(
            Exit.USAGE,
            f"{TOKEN} is set and {URL} is not. A token from the environment goes only to the "
            f"gateway that the environment names: set {URL}, too.",
        )
    url = url_of(configured)
    token = token or _own(configured, url, name, hold=hold)
    asyncio.run(speak(ClientTarget(url=url, server=name, token=token).address, token))


def _own(configured: Settings, url: str, name: str, *, hold: int | None) -> str:
    """The token that this machine keeps for the name."""
    from gateway.cli.credential import accepted, local_token, stored

    place = f"connect-{name}"
    token = stored(configured, place)
    if token is not None and hold is None and accepted(url, token):
        return token
    _known(configured, name)

    from gateway.cli.acting import administrating
    from gateway.cli.record import Record, run

    async def work(record: Record) -> str:
        await administrating(record)
        servers = frozenset({"*" if name == EVERYTHING else name})
        return await local_token(record, place, servers=servers, hold=hold)

    return run(work)
