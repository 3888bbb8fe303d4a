"""`signoff history`: read the record, export it, and prove that no one changed it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import show
from gateway.cli.durations import moment
from gateway.cli.exits import Exit, Stop
from gateway.cli.groups import ListFirst
from gateway.cli.ids import grant_of, view_of
from gateway.cli.options import spread

if TYPE_CHECKING:
    from approvals.model import HistoryRow
    from approvals.record.history import Broken, Head, HistoryPage, HistoryQuery, Intact
    from gateway.cli.history_list import PrintedRow
    from gateway.cli.record import Record

_LAST = 2**63 - 1  # the largest number that a row may have
_CHECKING = "Checking the history"
_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


app = typer.Typer(
    cls=ListFirst, help="The record of every call and decision; bare: the same as list."
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows are meant; "" does not filter."""

    grant: Annotated[str, typer.Option(help="The grant's id.")] = ""
    tool: Annotated[str, typer.Option(help="The tool's name.")] = ""
    server: Annotated[str, typer.Option(help="The server's name.")] = ""
    rule: Annotated[str, typer.Option(help="JSON pointer of the rule.")] = ""
    verdict: Annotated[str, typer.Option(help="allow, deny, limited or hold.")] = ""
    event: Annotated[str, typer.Option(help="held, approved, denied, claimed, …")] = ""
    outcome: Annotated[str, typer.Option(help="succeeded, tool_error, outcome_unknown, …")] = ""
    by: Annotated[str, typer.Option(help="The reviewer or agent.")] = ""
    digest: Annotated[str, typer.Option(help="sha256 of a call, its arguments or its result.")] = ""
    approval: Annotated[str, typer.Option(help="The approval's id.")] = ""
    since: Annotated[str, typer.Option(help="From then on: 7d, 12h, 2026-11-23.")] = ""
    until: Annotated[str, typer.Option(help="Before then.")] = ""
    grep: Annotated[str, typer.Option(help="Text in tool, arguments, reason, rule, actor.")] = ""

    async def query(self, record: Record) -> HistoryQuery:
        """As the record takes them; a grant may be named by its label, an approval by a short id.

        Raises:
            Stop: there is no such grant or approval, or a time is none.
        """
        from approvals.record.history import HistoryQuery

        now = record.now()
        approval = (await view_of(record, self.approval)).approval.id if self.approval else ""
        grant = (await grant_of(record, self.grant)).id if self.grant else ""
        return HistoryQuery(
            grant=grant,
            tool=self.tool,
            server=self.server,
            rule=self.rule,
            verdict=self.verdict,
            event=self.event,
            outcome=self.outcome,
            actor=self.by,
            digest=self.digest,
            approval_id=approval,
            since=moment(self.since, now) if self.since else None,
            until=moment(self.until, now) if self.until else None,
            text=self.grep,
        )


@app.command("list")
@spread
def list_(
    *,
    filters: Filters,
    before: Annotated[
        int | None, typer.Option(min=0, max=_LAST, help="Only rows before this number.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """What happened, newest first."""
    from gateway.cli.record import run

    async def work(record: Record) -> tuple[HistoryPage, int | None, list[PrintedRow]]:
        from gateway.cli import history_list

        query = await filters.query(record)
        page = await _search(record, replace(query, before=before, limit=limit))
        rows = [] if json else await history_list.lines(record, page)
        return page, await record.approvals.history_count(query), rows

    page, total, lines = run(work)
    if json:
        from web.api import item_of

        items = [item_of(row) for row in page.rows]
        show.document("history", items=items, total=total, next=page.next)
        return
    from gateway.cli import history_list

    history_list.draw(lines)
    _tell_total(len(lines), total, page.next, last=before is not None)


def _tell_total(shown: int, total: int | None, following: int | None, *, last: bool) -> None:
    """How many rows there are, and how to see the others."""
    if following is not None:
        known = f"{show.counted(shown, 'row')}; there may be more" if total is None else ""
        known = known or f"{shown} of {show.counted(total or 0, 'row')}"
        show.note(f"{known}. More: the same with --before {following}")
    elif not shown:
        show.note("No such row.")
    elif not sys.stdout.isatty():
        return
    elif last and total is not None:
        show.note(f"These are the last {shown} of {show.counted(total, 'row')}.")
    else:
        show.note(f"{show.counted(shown, 'row')}.")


class ExportForm(StrEnum):
    """How an export is written."""

    JSONL = "jsonl"
    CSV = "csv"


@app.command()
@spread
def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write into.")],
    form: Annotated[
        ExportForm, typer.Option("--format", help="JSON lines or CSV.")
    ] = ExportForm.JSONL,
    *,
    filters: Filters,
    force: Annotated[bool, typer.Option("--force", help="Write over an earlier export.")] = False,
) -> None:
    """Write the rows, and the script that proves them anywhere."""
    from approvals.export import Exported, write
    from gateway.cli.progress import progress
    from gateway.cli.record import run

    if not force and (output.is_file() or (output.is_dir() and any(output.iterdir()))):
        raise Stop(Exit.USAGE, f"{output} is not an empty folder; --force writes there anyway.")

    async def work(record: Record) -> Exported:
        query, now = await filters.query(record), record.now()
        with progress("Writing the rows") as far:
            return await record.database.read(
                lambda connection: write(
                    connection, query, output, form=form.value, now=now, far=far
                )
            )

    try:
        done = run(work)
    except OSError as error:
        raise Stop(Exit.INVALID, f"{output} cannot be written: {error.strerror}") from error
    print(f"{done.rows} rows in {done.folder}. Head {_written(done.head)}")
    show.note(f"Anyone proves them with: python {done.folder / 'verify.py'} {done.folder}")


@app.command()
def head(json: Json = False) -> None:
    """The last row, as SEQ:HASH. Keep it elsewhere: `verify --head` finds a history cut short."""
    from approvals.record.history import head as read_head
    from gateway.cli.record import run

    async def work(record: Record) -> Head:
        return await record.database.read(read_head)

    found = run(work)
    if json:
        show.document("head", seq=found.seq, hash=found.hash)
        return
    print(f"{found.seq}:{found.hash}")


@app.command()
def verify(
    head: Annotated[str, typer.Option(help="A head kept earlier, SEQ:HASH.")] = "",
    json: Json = False,
) -> None:
    """Prove that no row was changed, removed, added or moved. Exit code 8 when one was."""
    from approvals.record.history import Head, Intact
    from approvals.record.history import verify as verify_rows
    from gateway.cli.progress import progress
    from gateway.cli.record import run

    against = None
    if head:
        match = _HEAD.fullmatch(head.strip())
        if match is None:
            raise Stop(Exit.USAGE, "--head is SEQ:HASH, as `signoff history head` printed it.")
        against = Head(int(match[1]), match[2])

    async def work(record: Record) -> Intact | Broken:
        keys, seen = record.database.keys, record.database.watch.head
        noted = against or (seen if seen.seq else None)
        with progress(_CHECKING) as far:
            return await record.database.read(
                lambda connection: verify_rows(connection, keys, against=noted, far=far)
            )

    found = run(work)
    if isinstance(found, Intact):
        if json:
            show.document("verify", intact=True, rows=found.rows, head=_written(found.head))
            return
        print(f"Intact: {found.rows} rows. Head {_written(found.head)}")
        if against is None:
            show.note("Rows cut off before they were seen show only against a kept head: --head")
        return
    if json:
        show.document("verify", intact=False, seq=found.seq, why=found.why)
    raise Stop(Exit.BROKEN, f"BROKEN at row {found.seq}: {found.why}")


@app.command()
def accept(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Go on with a record that is not the one seen before: you put an older copy back yourself."""
    from approvals.model import Event
    from approvals.record.history import Broken
    from approvals.record.history import verify as verify_rows
    from approvals.record.ledger import RESTARTED
    from approvals.record.signed import tell
    from gateway.cli.acting import administrating, operator
    from gateway.cli.progress import progress
    from gateway.cli.record import run

    async def work(record: Record) -> Head | None:
        await administrating(record, on_page=False)
        database = record.database
        trouble = database.watch.trouble
        if trouble is None:
            return None
        with progress(_CHECKING) as far:
            found = await database.read(
                lambda connection: verify_rows(connection, database.keys, far=far)
            )
        show.note(trouble)
        if isinstance(found, Broken):
            show.note(f"The history is broken at row {found.seq}: {found.why}")
        if not yes and not typer.confirm("Go on with the record as it is?", default=False):
            raise Stop(Exit.USAGE, "Nothing was changed.")
        event = Event(event="history_accepted", actor_kind="operator", reason=trouble)
        by = await operator(record, None)
        await database.journal.write(
            lambda tx: tell(tx, [(RESTARTED, tx.seq + 1, None)], event=event._replace(actor=by))
        )
        return await database.read(database.watch.accept)

    head = run(work)
    if head is None:
        print("Nothing is wrong: the record is the one that was seen before.")
        return
    print(f"Going on from {_written(head)}. Restart running gateways.")


def _written(head: Head) -> str:
    return f"{head.seq}:{head.hash}"


async def _search(record: Record, query: HistoryQuery) -> HistoryPage:
    """A full page: a search that stopped early is taken up again."""
    from approvals.record.history import HistoryPage

    rows: list[HistoryRow] = []
    while True:
        page = await record.approvals.history(replace(query, limit=query.limit - len(rows)))
        rows += page.rows
        if page.next is None or len(rows) >= query.limit:
            return HistoryPage(tuple(rows), page.next)
        query = replace(query, before=page.next)
