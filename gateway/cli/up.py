"""`signoff up`, `signoff demo`."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.enforcement.confirmations import Confirmations
    from gateway.settings import Settings

_YOUNG_OBJECTS: Final = 5_000  # new objects between two looks at the youngest


def up(
    port: Annotated[int | None, typer.Option(help="Port; default 8788 or SIGNOFF_PORT.")] = None,
    host: Annotated[str | None, typer.Option(help="Address; default 127.0.0.1.")] = None,
) -> None:
    """Run the gateway, the reviewers' page and its API."""
    import uvloop

    from gateway.cli.record import settings
    from gateway.hosting.server import Unstartable, configure_logging

    given: dict[str, Any] = {"port": port, "host": host}
    configured = settings(**{key: value for key, value in given.items() if value is not None})
    configure_logging(configured.log)
    try:
        uvloop.run(_up(configured))
    except Unstartable as error:
        raise Stop(Exit.INVALID, str(error)) from error


async def _up(configured: Settings) -> None:
    from functools import partial

    from gateway.cli import show
    from gateway.cli.config import FILE, said_by_file
    from gateway.cli.policy_news import teller
    from gateway.enforcement.server_display import shown
    from gateway.hosting.server import running

    async with running(configured) as (gateway, stopped):
        url, page = gateway.settings.url(), gateway.settings.page()
        beside = gateway.settings.page_beside()
        print(f"Page      {page}/")
        if beside is not None:
            print(f"          or {beside}/   (each has its own sign-in)")
        print(f"MCP       {url}/mcp   (all servers a grant reaches)")
        for name in sorted(gateway.servers.servers):
            print(f"MCP       {url}/mcp/{name}")
        for problem in gateway.servers.problems:
            print(f"          ! {problem.server}: {problem.text}")
        print(f"Record    {gateway.settings.data.absolute()}")
        made = said_by_file()
        if made:
            print(f"Settings  {FILE.absolute()} sets {', '.join(made)}")
        if gateway.is_first:
            print(f"Confirmed {gateway.settings.policy}, at this first start of the record")
            for server in gateway.servers.servers.values():
                print(f"Confirmed server {server.name}: {show.line(shown(server))}")
        _tell_servers(gateway.confirmations)
        tell = teller(gateway.policies, "signoff policy confirm", partial(print, flush=True))
        tell()
        gateway.policies.listen(tell)
        await _tell_way_in(gateway)
        sys.stdout.flush()
        _spare_collections()
        await stopped


async def _tell_way_in(gateway: Gateway) -> None:
    """Print how people come in; from then on commands decide no more, if the settings say so.

    Raises:
        Stop: no one could come in.
    """
    from gateway.admin.reviewer_check import FIRST
    from gateway.cli.way_in import administrators, close_commands, last_token, said_of
    from gateway.enforcement.confirmations import commands_decide, note_commands

    people, page = gateway.people, gateway.settings.page()
    beside = gateway.settings.page_beside()
    is_first = not await people.reviewers()
    if is_first:
        link = await people.invite(FIRST.id, role=FIRST.role, url=page)
        print(f"Sign in   {link}   (once, within 10 minutes)")
        if beside is not None:
            link = await people.invite(FIRST.id, url=beside)
            print(f"          or {link}")
    token = await close_commands(gateway)
    if token is not None:
        first, *more = said_of(token)
        print(f"Token     {first}")
        for line in more:
            print(f"          {line}")
    sys.stdout.flush()
    if not gateway.settings.cli_decides:
        await note_commands(gateway.database, decide=False)
    if is_first:
        print("Connect   signoff connect claude-code   (or cursor, vscode, codex, …)")
        return
    names = await administrators(people)
    print(f"Sign in   signoff reviewer link {names[0] if len(names) == 1 else 'NAME'}", end="")
    closed = not await commands_decide(gateway.database)
    print("   (with an administrator's token in SIGNOFF_REVIEWER_TOKEN)" if closed else "")
    if closed and await last_token(people, names) is None:
        print(
            "          ! no administrator holds one: anyone who is signed in makes it on the page,"
        )
        print("          under Agents. Who is neither cannot come in any more.")


def _tell_servers(confirmations: Confirmations) -> None:
    """Say which servers wait to be confirmed, and how each differs from what was."""
    from gateway.cli import show
    from gateway.enforcement.server_display import differences, shown

    for server in confirmations.waiting():
        print(f"Waits     server {server.name}: {show.line(shown(server))}")
        for change in differences(confirmations.stated(server.name), server):
            print(f"          {show.line(str(change))}")
        print(f"          not started until you confirm: signoff server confirm {server.name}")


def _spare_collections() -> None:
    """What is loaded by now stays for good: never walk it again for garbage, and look seldom for
    new garbage, for a call leaves hardly any that reference counts do not free.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)


def demo(
    auto: Annotated[bool, typer.Option("--auto", help="Approve by itself, then end.")] = False,
    busy: Annotated[
        bool, typer.Option("--busy", help="Three agents that call every few seconds.")
    ] = False,
    slack: Annotated[
        bool, typer.Option("--slack", help="Decide in a local Slack, and show what it is sent.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 0,
) -> None:
    """See it all, with an agent that needs you; no set-up."""
    from gateway.cli.demo.run import run

    code = run(auto=auto, busy=busy, slack=slack, port=port)
    if code:
        raise Stop(Exit.INTERNAL, "The demo did not end as it should; see above.")
