"""`signoff tools`: everything the agents can call, and accepting a definition that changed."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import show
from gateway.cli.exits import Exit, Stop
from gateway.cli.groups import ListFirst

if TYPE_CHECKING:
    from approvals.model import Reviewer
    from gateway.catalogue import Catalogue, Tool
    from gateway.cli.record import Record
    from web.deps import ToolLine

app = typer.Typer(cls=ListFirst, help="Everything the agents can call; bare: the same as list.")

_HASH = re.compile(r"[0-9a-f]{12,64}")


@app.command("list")
def list_(
    server: Annotated[str, typer.Option(help="Only this server's.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Server, tool, class, risk, what the policy says of it, and whether it changed."""
    from gateway.cli.record import run

    async def work(record: Record) -> list[ToolLine]:
        return [line for line in await _lines(record) if server in ("", line.server)]

    found = run(work)
    if json:
        items = [
            {
                "server": line.server,
                "tool": line.name,
                "class": line.kind,
                "risk": line.risk,
                "verdict": line.verdict,
                "rule": line.rule,
                "why": line.why,
                "class_settled_by": line.settled_by,
                "attacks": list(line.attacks),
                "state": _state(line),
                "hash": line.seen_hash,
                "description": line.description,
            }
            for line in found
        ]
        show.document("tools", items=items)
        return
    if not found:
        show.note("No server has listed its tools to this gateway yet; `signoff scan` asks one.")
    rows = [
        (
            line.server,
            line.name,
            f"{line.kind} (settled)" if line.settled_by else line.kind,
            line.risk,
            line.verdict,
            line.rule,
            _state(line).upper() if line.changed else _state(line),
        )
        for line in found
    ]
    show.table(("SERVER", "TOOL", "CLASS", "RISK", "VERDICT", "RULE", "STATE"), rows)
    if any(line.changed for line in found):
        show.note("A changed tool is refused until: signoff tools accept SERVER TOOL")


@app.command()
def accept(
    server: Annotated[str, typer.Argument(help="The server's name.")],
    tool: Annotated[str, typer.Argument(help="The tool's name.")],
    as_: Annotated[str | None, typer.Option("--as", help="Who accepts.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Only together with --hash.")
    ] = False,
    hash_: Annotated[
        str, typer.Option("--hash", help="The beginning (12 or more) of the new sha256.")
    ] = "",
) -> None:
    """Show how a tool's definition changed, and accept it as it is now."""
    from gateway import catalogue
    from gateway.cli.acting import reviewer
    from gateway.cli.record import run

    if yes and not _HASH.fullmatch(hash_.lower()):
        raise Stop(Exit.USAGE, "--yes goes only with --hash: what nobody saw is not accepted.")
    if not yes and not show.interactive():
        raise Stop(Exit.USAGE, "Nobody can be asked here: write --yes --hash DIGEST.")

    async def look(record: Record) -> tuple[Reviewer, Tool]:
        found = await _changed(record, server, tool)
        return await reviewer(record, as_), found

    who, found = run(look)
    _draw(found)
    if hash_ and not found.seen_hash.startswith(hash_.lower()):
        raise Stop(Exit.DENIED, "Not accepted: --hash names another definition.")
    if not yes and not show.asked("Accept this definition?"):
        raise Stop(Exit.DENIED, "Not accepted. The tool stays refused.")

    async def pin(record: Record) -> bool:
        return await record.database.journal.write(
            lambda tx: catalogue.accept(tx, server, tool, seen_hash=found.seen_hash, by=who.id)
        )

    if not run(pin):
        raise Stop(Exit.NOT_FOUND, "It changed again meanwhile: look at it once more.")
    print(f"{show.line(tool)} on {show.line(server)} is accepted.")


@app.command("class")
def class_(
    server: Annotated[str, typer.Argument(help="The server's name.")],
    tool: Annotated[str, typer.Argument(help="The tool's name.")],
    kind: Annotated[
        str,
        typer.Argument(
            metavar="CLASS",
            help="Read, Other, Write, Execute, Destructive or Financial; guess: what Signoff "
            "reads in the definition.",
        ),
    ],
    as_: Annotated[str | None, typer.Option("--as", help="Who says so.")] = None,
) -> None:
    """Say what a tool is: its risk follows, until its definition changes."""
    from gateway import toolclass
    from gateway.catalogue import Catalogue
    from gateway.cli.acting import reviewer
    from gateway.cli.record import run
    from gateway.risk import Category

    wanted = next((one for one in Category if one.lower() == kind.lower()), None)
    if wanted is None and kind.lower() != "guess":
        known = ", ".join(Category)
        raise Stop(Exit.USAGE, f"{show.line(kind)} is no class: write one of {known}, or guess.")

    async def work(record: Record) -> Tool:
        who = await reviewer(record, as_)
        if who.role != "admin":
            raise Stop(
                Exit.DENIED, f"{show.line(who.id)} is no administrator: nothing was changed."
            )
        catalogue = Catalogue(record.database)
        await catalogue.load()
        found = _known(catalogue, server, tool)
        await record.database.journal.write(
            lambda tx: toolclass.settle(tx, server, tool, wanted, pinned=found.hash, by=who.id)
        )
        await catalogue.load()
        return _known(catalogue, server, tool)

    found = run(work)
    name = f"{show.line(tool)} on {show.line(server)}"
    if (found.settled.category if found.settled else None) is not wanted:
        raise Stop(Exit.NOT_FOUND, f"{name} changed meanwhile: look at it once more.")
    print(f"{name}: {found.assessment.category}, {found.assessment.risk} risk.")


def _state(line: ToolLine) -> str:
    return "changed" if line.changed else "new" if line.new else "accepted"


def _known(catalogue: Catalogue, server: str, tool: str) -> Tool:
    found = catalogue.tool(server, tool)
    if found is None:
        raise Stop(
            Exit.NOT_FOUND,
            f"{show.line(server)} never listed a tool {show.line(tool)}: see `signoff tools`.",
        )
    return found


async def _changed(record: Record, server: str, tool: str) -> Tool:
    from gateway.catalogue import Catalogue

    catalogue = Catalogue(record.database)
    await catalogue.load()
    found = _known(catalogue, server, tool)
    if not found.quarantined:
        raise Stop(Exit.NOT_FOUND, f"{show.line(tool)} has not changed since it was accepted.")
    return found


def _draw(found: Tool) -> None:
    """Print what differs, each side in full, with nothing hidden in it."""
    from approvals.fields import ABSENT, changes, text

    print(f"{show.line(found.name)} on {show.line(found.server)}, changed", end=" ")
    print(show.moment(found.changed_at))
    for change in changes(_plain(found.definition), _plain(found.seen)):
        print(show.line(text(change.path).removeprefix("args.")))
        for mark, value in (("-", change.before), ("+", change.after)):
            if value is not ABSENT:
                print(show.block(_written(value), f"  {mark} "))
    print(f"sha256       {found.seen_hash}")
    sys.stdout.flush()


def _plain(definition: Any) -> Any:
    return dict(definition)


def _written(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


async def _lines(record: Record) -> list[ToolLine]:
    """The page's own lines: catalogue and policy joined by the desk."""
    from gateway.catalogue import Catalogue
    from gateway.desk import Desk
    from gateway.freeze import Freezes
    from gateway.grants import Grants
    from gateway.policy.document import PolicyInvalid
    from gateway.reload import Policies
    from gateway.servers import Servers

    catalogue = Catalogue(record.database)
    await catalogue.load()
    clock = record.database.clock
    path = record.settings.policy
    try:
        policies = Policies(path, clock)
    except PolicyInvalid as invalid:
        raise Stop(Exit.INVALID, f"{invalid}. See: signoff policy check") from invalid
    except OSError as error:
        raise Stop(Exit.INVALID, f"{path} cannot be read: {error.strerror}") from error
    desk = Desk(
        database=record.database,
        grants=Grants(record.database, clock),
        freezes=Freezes(record.database),
        catalogue=catalogue,
        policies=policies,
        servers=Servers(servers={}),
    )
    return list(await desk.tools())
