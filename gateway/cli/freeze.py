"""`signoff freeze` and `signoff thaw`: the kill switch. It needs no one's leave and no gateway."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import show
from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from gateway.cli.record import Record


class What(StrEnum):
    """What can be stopped."""

    GRANT = "grant"
    SERVER = "server"
    EVERYTHING = "everything"


Name = Annotated[str | None, typer.Argument(help="The grant's id or label, or the server.")]
As = Annotated[str | None, typer.Option("--as", help="Who does it, for the history.")]


def freeze(
    what: Annotated[
        What | None, typer.Argument(help="What to stop; nothing: list what is stopped.")
    ] = None,
    name: Name = None,
    as_: As = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Refuse all calls of a grant, to a server, or at all.

    With nothing: list what is frozen.
    """
    if what is None:
        _list(json=json)
        return
    changed, target = _change(what, name, as_, on=True)
    print(f"{target} {'is' if changed else 'was already'} frozen: its calls are refused.")


def thaw(what: Annotated[What, typer.Argument()], name: Name = None, as_: As = None) -> None:
    """Let them go on."""
    changed, target = _change(what, name, as_, on=False)
    if not changed:
        raise Stop(Exit.NOT_FOUND, f"{target} was not frozen.")
    print(f"{target} goes on.")


def _change(what: What, name: str | None, as_: str | None, *, on: bool) -> tuple[bool, str]:
    from gateway.cli.acting import administrating, operator
    from gateway.cli.record import run
    from gateway.enforcement import freezes as switch

    if (what is What.EVERYTHING) != (name is None):
        raise Stop(Exit.USAGE, "Write: grant ID, server NAME, or everything.")

    async def work(record: Record) -> tuple[bool, str]:
        if not on:  # stopping needs no one's leave
            await administrating(record)
        by = await operator(record, as_)
        subject = await _subject(record, what, name or "", on=on)
        change = switch.freeze if on else switch.thaw
        changed = await record.database.journal.write(
            lambda tx: change(tx, what.value, subject, by=by)
        )
        return changed, f"{what.value} {show.line(subject)}".strip().capitalize()

    return run(work)


async def _subject(record: Record, what: What, name: str, *, on: bool) -> str:
    """The name as the switch keeps it. A mistyped one must not look as if it had stopped anything.

    Raises:
        Stop: there is no such grant or server.
    """
    from gateway.cli.ids import grant_of, known_servers

    if what is What.GRANT:
        return (await grant_of(record, name)).id
    if what is What.SERVER and on:
        known = await known_servers(record)
        if known and name not in known:
            raise Stop(
                Exit.NOT_FOUND,
                f"There is no server {show.line(name)}; known: {', '.join(sorted(known))}.",
            )
    return name


def _list(*, json: bool) -> None:
    from gateway.cli.record import run
    from gateway.enforcement import freezes as switch

    async def work(record: Record) -> dict[str, int]:
        return await record.database.read(switch.frozen_now)

    found = []
    for key, at in sorted(run(work).items()):
        _, kind, name = key.split(":", 2)
        found.append((kind, name, at))
    if json:
        items = [{"what": kind, "name": name, "since": at} for kind, name, at in found]
        show.document("frozen", items=items)
        return
    if not found:
        show.note("Nothing is frozen.")
    show.table(("WHAT", "NAME", "SINCE"), [(kind, n, show.moment(at)) for kind, n, at in found])
    show.total(len(found), "freeze")
