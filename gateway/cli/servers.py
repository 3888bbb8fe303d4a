"""`signoff server`: the servers of servers.json, and confirming how one is started or reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import show
from gateway.cli.groups import ListFirst

if TYPE_CHECKING:
    from gateway.cli.record import Record
    from gateway.servers import Server

app = typer.Typer(cls=ListFirst, help="The servers behind the gateway; bare: the same as list.")


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Every server: how it is started or reached, and whether that was confirmed."""
    from gateway.cli.confirming import configured, unconfirmed
    from gateway.cli.record import exists, run, settings
    from gateway.enforcement.server_display import digest, shown

    servers = configured()

    async def work(record: Record) -> list[Server]:
        return await unconfirmed(record, servers.servers.values())

    where = settings()
    trusting = where.policy_trust == "file" or not exists(where)
    waiting = set() if trusting else {server.name for server in run(work)}
    items = [
        {
            "name": name,
            "what": shown(server),
            "state": "waits" if name in waiting else "confirmed",
            "hash": digest(server),
        }
        for name, server in servers.servers.items()
    ]
    if json:
        show.document("servers", items=items)
        return
    show.table(
        ("SERVER", "STATE", "COMMAND OR URL"),
        [(one["name"], one["state"], one["what"]) for one in items],
    )
    show.total(len(items), "server")
    for problem in servers.problems:
        show.note(show.line(str(problem)))
    if waiting:
        show.note("What waits is not started or reached until: signoff server confirm NAME")


@app.command()
def confirm(
    name: Annotated[
        list[str] | None, typer.Argument(help="The server; none: all that wait.")
    ] = None,
    as_: Annotated[str | None, typer.Option("--as", help="Which administrator confirms.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Only together with --hash.")
    ] = False,
    hash_: Annotated[
        str, typer.Option("--hash", help="The beginning (12 or more) of the sha256 you mean.")
    ] = "",
) -> None:
    """Show how a server is started or reached, and let it be."""
    from gateway.cli.confirming import confirm_servers

    confirm_servers(name or [], as_, yes=yes, wanted=hash_.lower())
