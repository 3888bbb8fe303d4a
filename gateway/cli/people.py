"""`signoff reviewer`: the people who may decide, their sign-in links and API tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gateway.cli import show
from gateway.cli.durations import Duration
from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from approvals.model import Reviewer
    from gateway.cli.record import Record

T = TypeVar("T")

app = typer.Typer(help="The people who may decide.", no_args_is_help=True)

_MINUTES = "good once, within 10 minutes"


class Role(StrEnum):
    """What a reviewer may do."""

    APPROVER = "approver"
    VIEWER = "viewer"
    ADMIN = "admin"


Slack = Annotated[
    list[str] | None, typer.Option(help="Slack account: U0123ABCD, or T024BE7LD/U0123ABCD; repeat.")
]
Name = Annotated[str, typer.Argument(help="The name policies and the history use.")]


@app.command()
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="What this person may do.")] = Role.APPROVER,
    identity: Annotated[
        list[str] | None,
        typer.Option(help="Also known as: slack:T024/U07, oidc:bob@example.com; repeat."),
    ] = None,
    slack: Slack = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Add a reviewer, or change one, and print a one-time sign-in link."""
    from gateway.cli.accounts import identities
    from gateway.hosting.address import page_address

    async def work(record: Record) -> tuple[Reviewer, str]:
        also = (*(identity or ()), *await identities(record.settings, slack or []))
        added = await record.people.add(name, role=role.value, identities=also)
        return added, await record.people.invite(name, url=page_address(record.settings))

    added, link = _run(work, create=True)
    if json:
        show.document(
            "reviewer",
            id=added.id,
            role=added.role,
            identities=list(added.identities),
            link=link,
        )
        return
    also = f", also {', '.join(added.identities)}" if added.identities else ""
    print(f"{added.id} is {added.role}{also}")
    print(f"Sign in: {link}")
    show.note(f"The link is {_MINUTES}.")


@app.command()
def identify(
    name: Name,
    slack: Slack = None,
    identity: Annotated[
        list[str] | None, typer.Option(help="oidc:bob@example.com and the like; repeat.")
    ] = None,
) -> None:
    """Have a reviewer known by further names, and keep everything else as it is."""
    from gateway.cli.accounts import identities

    async def work(record: Record) -> Reviewer:
        also = (*(identity or ()), *await identities(record.settings, slack or []))
        if not also:
            raise Stop(Exit.USAGE, "Say by which name: --slack U0123ABCD, or --identity oidc:…")
        for one in also:
            known = await record.people.link(name, one)
        return known

    known = _run(work)
    print(f"{known.id} is also {', '.join(known.identities)}")


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Everybody who may decide or look."""

    async def work(record: Record) -> tuple[Reviewer, ...]:
        return await record.people.reviewers()

    everyone = _run(work, looks=True)
    if json:
        items = [
            {"id": one.id, "role": one.role, "identities": list(one.identities)} for one in everyone
        ]
        show.document("reviewers", items=items)
        return
    if not everyone:
        show.note("No one yet: signoff reviewer add NAME")
    rows = [(one.id, one.role, ", ".join(one.identities)) for one in everyone]
    show.table(("NAME", "ROLE", "ALSO KNOWN AS"), rows)
    show.total(len(rows), "reviewer")


@app.command()
def remove(name: Name) -> None:
    """Remove a reviewer: sessions, links and tokens end at once. Past decisions stay."""

    async def work(record: Record) -> bool:
        return await record.people.remove(name)

    if not _run(work):
        raise Stop(Exit.NOT_FOUND, f"There is no reviewer {show.line(name)}.")
    print(f"{name} is removed.")


@app.command()
def link(name: Name) -> None:
    """Print a new one-time sign-in link."""
    from gateway.hosting.address import page_address

    async def work(record: Record) -> str:
        return await record.people.invite(name, url=page_address(record.settings))

    print(_run(work))
    show.note(f"The link is {_MINUTES}.")


@app.command()
def token(
    name: Name,
    expires: Annotated[str, typer.Option(help="When it ends: 30d, 12h.")] = "90d",
) -> None:
    """Print a new token for the reviewers' API, shown once. Agents' doors do not take it."""
    lasts = Duration.parse(expires).milliseconds

    async def work(record: Record) -> str:
        return await record.people.token(name, lasts=lasts)

    print(_run(work))
    show.note(f"Send it as `Authorization: Bearer …` to /api/v1. It ends in {expires}.")


def _run(work: Callable[[Record], Awaitable[T]], *, create: bool = False, looks: bool = False) -> T:
    """`looks`: it changes nothing."""
    from approvals.reviewers import ReviewerRefused
    from gateway.cli.acting import administrating
    from gateway.cli.record import run

    async def checked(record: Record) -> T:
        if not looks:
            await administrating(record, on_page=False)
        return await work(record)

    try:
        return run(checked, create=create)
    except ReviewerRefused as refused:
        raise Stop(Exit.NOT_FOUND, str(refused)) from refused
