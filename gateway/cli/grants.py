"""`signoff grant`: the bearer tokens of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import show
from gateway.cli.durations import Duration
from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from gateway.enforcement.grants import Grant

_DAY = 86_400  # seconds; no call is held longer in place, as SIGNOFF_HOLD has it

app = typer.Typer(help="The bearer tokens of agents.", no_args_is_help=True)


@app.command()
def create(
    label: Annotated[str, typer.Argument(help="Whose it is: claude-code@laptop.")],
    server: Annotated[
        list[str] | None, typer.Option(help="A server it may use; repeat; default: all.")
    ] = None,
    owner: Annotated[str, typer.Option(help="The reviewer whose agent this is.")] = "",
    hold: Annotated[
        int | None, typer.Option(min=0, max=_DAY, help="Seconds its held calls wait.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends: 30d, 12h.")] = None,
    json: Annotated[bool, typer.Option(help="Print JSON.")] = False,
) -> None:
    """Make a grant. Its token is shown once."""
    from gateway.cli.acting import administrating, operator
    from gateway.cli.record import Record, run
    from gateway.enforcement import grants

    lasts = Duration.parse(expires) if expires else None

    async def work(record: Record) -> tuple[grants.Grant, str]:
        await administrating(record)
        by = await operator(record, None)
        return await record.database.journal.write(
            lambda tx: grants.create(
                tx,
                label=label,
                servers=frozenset(server or ["*"]),
                owner=owner,
                hold=hold,
                expires_at=tx.now + lasts.milliseconds if lasts else None,
                by=by,
            )
        )

    grant, token = run(work, create=True)
    if json:
        show.document("grant", id=grant.id, label=grant.label, token=token)
        return
    print(f"{grant.id}  {show.line(grant.label)}  {', '.join(sorted(grant.servers))}")
    print(f"Token, shown once: {token}")
    show.note("Next: signoff connect SERVER --token TOKEN")


@app.command("list")
def list_(json: Annotated[bool, typer.Option(help="Print JSON.")] = False) -> None:
    """Every grant, newest first."""
    from gateway.cli.record import Record, run
    from gateway.enforcement import grants

    async def work(record: Record) -> tuple[list[grants.Grant], int]:
        return await record.database.read(grants.listing), record.database.clock.now()

    found, now = run(work)
    if json:
        items = [
            {
                "id": grant.id,
                "label": grant.label,
                "servers": sorted(grant.servers),
                "owner": grant.owner,
                "hold": grant.hold,
                "patience": grant.patience,
                "created_at": grant.created_at,
                "expires_at": grant.expires_at,
                "revoked_at": grant.revoked_at,
            }
            for grant in found
        ]
        show.document("grants", items=items)
        return
    rows = [
        (
            grant.id,
            grant.label,
            ", ".join(sorted(grant.servers)),
            "usable" if grant.usable(now) else "revoked" if grant.revoked_at else "expired",
            _hold(grant),
            show.moment(grant.created_at),
        )
        for grant in found
    ]
    from gateway.cli import columns
    from gateway.cli.columns import Column

    columns.draw(
        (
            Column("ID"),
            Column("LABEL", least=12),
            Column("SERVERS", least=12),
            Column("STATE"),
            Column("HOLD", least=8, good=16),
            Column("CREATED"),
        ),
        rows,
    )
    show.total(len(rows), "grant")


def _hold(grant: Grant) -> str:
    """How long its held calls wait in place, and why not longer."""
    asked = "default" if grant.hold is None else f"{grant.hold} s"
    if grant.patience is None:
        return asked
    most = grant.waits(grant.hold if grant.hold is not None else grant.patience)
    return f"{asked}, at most {most} s: its client gives up after {grant.patience} s"


@app.command()
def hold(
    grant: Annotated[str, typer.Argument(help="Its id or label.")],
    seconds: Annotated[
        int | None,
        typer.Argument(min=0, max=_DAY, help="Seconds; left out: the gateway's default."),
    ] = None,
) -> None:
    """Set how long held calls wait in place; what was learned of the client is forgotten."""
    from gateway.cli.acting import administrating, operator
    from gateway.cli.ids import grant_of
    from gateway.cli.record import Record, run
    from gateway.enforcement import grants

    async def work(record: Record) -> str:
        found = await grant_of(record, grant)
        await administrating(record)
        by = await operator(record, None)
        await record.database.journal.write(
            lambda tx: grants.set_hold(tx, found.id, seconds, by=by)
        )
        return found.id

    grant_id = run(work)
    print(f"{grant_id}: held calls wait {'as by default' if seconds is None else f'{seconds} s'}.")


@app.command()
def revoke(grant: Annotated[str, typer.Argument(help="Its id or label.")]) -> None:
    """End a grant. A running gateway stops accepting it within a second."""
    from gateway.cli.acting import administrating, operator
    from gateway.cli.ids import grant_of
    from gateway.cli.record import Record, run
    from gateway.enforcement import grants

    async def work(record: Record) -> tuple[str, bool]:
        found = await grant_of(record, grant)
        await administrating(record)
        by = await operator(record, None)
        return found.id, await record.database.journal.write(
            lambda tx: grants.revoke(tx, found.id, by=by)
        )

    grant_id, ended = run(work)
    if not ended:
        raise Stop(Exit.NOT_FOUND, f"{grant_id} had ended before: see `signoff grant list`.")
    print(f"{grant_id} is revoked.")
