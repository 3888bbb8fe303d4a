"""`signoff tools`: everything the agents can call, and settling what their servers changed."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli import in_force, show
from gateway.cli.consent import Consent
from gateway.cli.exits import Exit, Stop
from gateway.cli.groups import ListFirst
from gateway.cli.options import spread

if TYPE_CHECKING:
    from approvals.model import Reviewer
    from approvals.pins import Subject
    from gateway.admin.models import ToolLine
    from gateway.cli.record import Record
    from gateway.enforcement.catalogue import Catalogue, Pin, Tool

app = typer.Typer(cls=ListFirst, help="Everything the agents can call; bare: the same as list.")

Kind = Literal["tool", "prompt", "template", "instructions"]
_Server = Annotated[str, typer.Argument(help="The server's name.")]
_Tool = Annotated[str, typer.Argument(help="The tool's name (of a template: its uriTemplate).")]
_Which = Annotated[Kind, typer.Option("--kind", help="What it is, where it is no tool.")]
_All = Annotated[bool, typer.Option("--all", help="Everything that this server changed.")]


@app.command("list")
def list_(
    server: Annotated[str, typer.Option(help="Only this server's.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Server, tool, class, risk, what the policy says of it, and whether it changed."""
    from gateway.cli.record import run

    async def work(record: Record) -> tuple[list[ToolLine], list[Pin]]:
        lines, changed = await _lines(record)
        others = [one for one in changed if one.kind != "tool" and server in ("", one.server)]
        return [line for line in lines if server in ("", line.server)], others

    found, others = run(work)
    if json:
        show.document("tools", items=[_document(line) for line in found])
        return
    if not found:
        show.note("No server has listed its tools to this gateway yet; `signoff scan` asks one.")
    rows = [
        (
            line.server,
            line.name,
            f"{line.kind} (settled)" if line.settled_by else line.kind,
            line.risk,
            "refused until settled" if line.refused else line.verdict,
            line.rule,
            _state(line).upper() if line.changed else _state(line),
        )
        for line in found
    ]
    show.table(("SERVER", "TOOL", "CLASS", "RISK", "VERDICT", "RULE", "STATE"), rows)
    show.total(len(rows), "tool")
    if any(line.changed for line in found):
        show.note("A changed tool is refused until: signoff tools accept SERVER TOOL (or --all)")
    for line in found:
        if line.volatile:
            keys = ", ".join(show.line(key) for key in line.volatile)
            show.note(f"{show.line(line.name)} on {show.line(line.server)}: pinned without {keys}")
    for other in others:
        show.note(
            f"{_called(other.subject)} on {show.line(other.server)} changed, and is shown to "
            f"agents as pinned: signoff tools accept {show.line(other.server)} --all"
        )


def _document(line: ToolLine) -> dict[str, object]:
    """A tool for programs."""
    return {
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
        "without": list(line.volatile),
        "description": line.description,
    }


@app.command()
@spread
def accept(
    server: _Server,
    tool: _Tool = "",
    kind: _Which = "tool",
    all_: _All = False,
    as_: Annotated[str | None, typer.Option("--as", help="Who accepts.")] = None,
    *,
    consent: Consent,
) -> None:
    """Show how a definition changed, and accept it as the server says it now."""
    _settle(server, _wanted(server, tool, kind, everything=all_), as_, consent, _ACCEPT)


@app.command()
@spread
def keep(
    server: _Server,
    tool: _Tool = "",
    kind: _Which = "tool",
    all_: _All = False,
    as_: Annotated[str | None, typer.Option("--as", help="Who decides.")] = None,
    *,
    consent: Consent,
) -> None:
    """Show how a definition changed, and stay with the pinned one. Should the server still say
    otherwise, it is refused again at the next listing.
    """
    _settle(server, _wanted(server, tool, kind, everything=all_), as_, consent, _KEEP)


@app.command()
@spread
def pin(
    server: _Server,
    tool: _Tool = "",
    kind: _Which = "tool",
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="KEY", help="A key that may change freely; may be given again."
        ),
    ] = None,
    as_: Annotated[str | None, typer.Option("--as", help="Which administrator.")] = None,
    *,
    consent: Consent,
) -> None:
    """Pin a definition without the keys named here, and with all others. Agents go on seeing the
    pinned text, whatever the server writes there. Without --without, every key is pinned. What the
    server has changed is shown first.
    """
    from gateway.cli.record import run

    keys = without or []
    if "name" in keys or "uriTemplate" in keys:
        raise Stop(Exit.USAGE, "A name cannot be volatile: it is what is pinned.")
    subject = _wanted(server, tool, kind, everything=False)
    if subject is None:
        raise Stop(Exit.USAGE, f"Name the {kind}.")

    consent.check()

    async def look(record: Record) -> tuple[Reviewer, Pin]:
        return await _administrator(record, as_), await _pinned(record, server, subject)

    who, found = run(look)
    if found.quarantined:
        _draw(found)
        sys.stdout.flush()
        if not consent.names(found.seen_hash):
            raise Stop(Exit.DENIED, "Not pinned: --hash names another definition.")
        consent.can_ask(found.seen_hash)
        some = ", ".join(show.line(key) for key in sorted(set(keys)))
        how = f"without {some}" if keys else "with every key"
        if not consent.yes and not show.asked(
            f"Pin it {how}? Where nothing else changed, it passes again."
        ):
            raise Stop(Exit.DENIED, "Nothing was pinned: what changed stays refused.")
    if not run(lambda record: _repin(record, found, keys, who.id)):
        raise Stop(Exit.NOT_FOUND, "It changed again meanwhile: look at it once more.")
    named = ", ".join(show.line(key) for key in sorted(set(keys)))
    print(
        f"{_called(subject)} on {show.line(server)} is pinned without {named}."
        if keys
        else f"{_called(subject)} on {show.line(server)} is pinned with every key."
    )


def _wanted(server: str, tool: str, kind: Kind, *, everything: bool) -> Subject | None:
    """What is meant; None: all that the server changed."""
    if everything:
        if tool:
            raise Stop(Exit.USAGE, "Either a tool, or --all.")
        return None
    if kind == "instructions":
        return ("instructions", "")
    if not tool:
        raise Stop(
            Exit.USAGE, f"Name the {kind}, or settle all that {show.line(server)} changed: --all."
        )
    return (kind, tool)


def _settle(
    server: str, wanted: Subject | None, as_: str | None, consent: Consent, way: _Way
) -> None:
    """Show what differs, ask, and settle exactly what was shown."""
    from gateway.cli.record import run
    from gateway.enforcement.catalogue import pins_digest

    consent.check()

    async def look(record: Record) -> tuple[Reviewer, list[Pin]]:
        found = await _changed(record, server, wanted)
        return await _approver(record, as_), found

    who, found = run(look)
    for one in found:
        _draw(one)
    digest = pins_digest(found)
    if len(found) > 1:
        print(f"sha256 of all {len(found)}: {digest}")
    sys.stdout.flush()
    if not consent.names(digest):
        raise Stop(Exit.DENIED, "Not settled: --hash names another definition.")
    consent.can_ask(digest)
    these = "this definition" if len(found) == 1 else f"these {len(found)} definitions"
    if not consent.yes and not show.asked(way.question.format(these=these)):
        raise Stop(Exit.DENIED, "Nothing was settled: what changed stays refused.")
    seen = {one.subject: one.seen_hash for one in found}
    if not run(lambda record: way.settle(record, server, seen, who.id)):
        raise Stop(Exit.NOT_FOUND, "It changed again meanwhile: look at it once more.")
    for one in found:
        print(f"{_called(one.subject)} on {show.line(server)} is {way.done}.")


async def _administrator(record: Record, name: str | None) -> Reviewer:
    from gateway.cli.acting import reviewer

    who = await reviewer(record, name, admin=True, on_page=False)
    if who.role != "admin":
        raise Stop(Exit.DENIED, f"{who.id} is {who.role}: only an administrator may do this.")
    return who


async def _approver(record: Record, name: str | None) -> Reviewer:
    from gateway.cli.acting import reviewer

    who = await reviewer(record, name)
    if not who.may_decide:
        raise Stop(Exit.DENIED, f"{who.id} is {who.role}, who may look and not decide.")
    return who


@dataclass(frozen=True, slots=True)
class _Way:
    """One of the two ways to settle a change."""

    question: str
    done: str
    settle: Callable[[Record, str, Mapping[Subject, str], str], Awaitable[bool]]


async def _accept(record: Record, server: str, seen: Mapping[Subject, str], by: str) -> bool:
    from gateway.enforcement import catalogue

    return await record.database.journal.write(lambda tx: catalogue.accept(tx, server, seen, by=by))


async def _keep(record: Record, server: str, seen: Mapping[Subject, str], by: str) -> bool:
    from approvals import pins

    return await record.database.journal.write(lambda tx: pins.keep(tx, server, seen, by=by))


_ACCEPT = _Way("Accept {these} as the server says it now?", "accepted", _accept)
_KEEP = _Way("Stay with what was pinned before {these}?", "kept as it was pinned", _keep)


def _called(subject: Subject) -> str:
    kind, name = subject
    if kind == "tool":
        return show.line(name)
    return "The text of instructions" if kind == "instructions" else f"{kind} {show.line(name)}"


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
    from gateway.cli.acting import reviewer
    from gateway.cli.record import run
    from gateway.enforcement import tool_class
    from gateway.enforcement.catalogue import Catalogue
    from gateway.risk import Category

    wanted = next((one for one in Category if one.lower() == kind.lower()), None)
    if wanted is None and kind.lower() != "guess":
        known = ", ".join(Category)
        raise Stop(Exit.USAGE, f"{show.line(kind)} is no class: write one of {known}, or guess.")

    async def work(record: Record) -> Tool:
        who = await reviewer(record, as_, admin=True)
        if who.role != "admin":
            raise Stop(
                Exit.DENIED, f"{show.line(who.id)} is no administrator: nothing was changed."
            )
        catalogue = Catalogue(record.database)
        await catalogue.load()
        found = _known(catalogue, server, tool)
        await record.database.journal.write(
            lambda tx: tool_class.settle(tx, server, tool, wanted, pinned=found.hash, by=who.id)
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


async def _changed(record: Record, server: str, wanted: Subject | None) -> list[Pin]:
    from gateway.enforcement.catalogue import Catalogue

    catalogue = Catalogue(record.database)
    await catalogue.load(server)
    if wanted is None:
        found = catalogue.quarantined(server)
        if not found:
            raise Stop(Exit.NOT_FOUND, f"Nothing of {show.line(server)} has changed.")
        return found
    pin = await _pinned(record, server, wanted)
    if not pin.quarantined:
        raise Stop(Exit.NOT_FOUND, f"{_called(wanted)} has not changed since it was accepted.")
    return [pin]


async def _pinned(record: Record, server: str, wanted: Subject) -> Pin:
    from gateway.enforcement.catalogue import Catalogue

    catalogue = Catalogue(record.database)
    await catalogue.load(server)
    pin = catalogue.pin(server, *wanted)
    if pin is None:
        raise Stop(
            Exit.NOT_FOUND,
            f"{show.line(server)} never listed a {wanted[0]} {show.line(wanted[1])}: "
            "see `signoff tools`.",
        )
    return pin


async def _repin(record: Record, found: Pin, keys: list[str], by: str) -> bool:
    from approvals import pins

    return await record.database.journal.write(
        lambda tx: pins.set_volatile(
            tx, found.server, found.subject, keys, by=by, seen=found.seen_hash
        )
    )


def _draw(found: Pin) -> None:
    """Print what differs, each side in full, with nothing hidden in it."""
    from approvals.differences import ABSENT, changes, text

    print(f"{_called(found.subject)} on {show.line(found.server)}, changed", end=" ")
    print(show.moment(found.changed_at))
    for change in changes(_plain(found.definition), _plain(found.seen)):
        print(show.line(text(change.path).removeprefix("args.")))
        for mark, value in (("-", change.before), ("+", change.after)):
            if value is not ABSENT:
                print(show.block(_written(value), f"  {mark} "))
    if found.back_at is not None:
        print(f"since {show.moment(found.back_at)} the server says again what is pinned")
    print(f"sha256       {found.seen_hash}")


def _plain(definition: Any) -> Any:
    return dict(definition)


def _written(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


async def _lines(record: Record) -> tuple[list[ToolLine], list[Pin]]:
    """The page's own lines: catalogue and policy joined; and all that changed."""
    from gateway.admin.service import AdminService
    from gateway.enforcement.catalogue import Catalogue
    from gateway.enforcement.confirmations import Confirmations
    from gateway.enforcement.freezes import Freezes
    from gateway.enforcement.grants import Grants
    from gateway.servers import Servers

    catalogue = Catalogue(record.database)
    await catalogue.load()
    servers = Servers(servers={})
    policies, known = await in_force.policies(record)
    admin = AdminService(
        database=record.database,
        grants=Grants(record.database, record.database.clock),
        freezes=Freezes(record.database),
        catalogue=catalogue,
        policies=policies,
        servers=servers,
        confirmations=Confirmations(record.database, policies, servers, known),
    )
    return list(await admin.tools()), catalogue.quarantined()
