"""The lines of `signoff history list`: a row each, on a terminal with its call in one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from approvals.headline import Headline, headline
from approvals.model import HistoryRow, Risk
from approvals.record.history import HistoryPage
from approvals.telling import Told, told_of
from gateway.admin.replay import labels
from gateway.cli import columns, show
from gateway.cli.columns import Cell, Column
from gateway.cli.record import Record

_PIPED = ("SEQ", "AT", "EVENT", "TOOL", "WHO", "APPROVAL", "RULE", "REASON", "RISK", "ABOUT")
_COLUMNS = (
    Column("SEQ"),
    Column("AT"),
    Column("EVENT"),
    Column("CALL", least=24, good=36, alone=True),
    Column("WHO", least=20),
    Column("APPROVAL", goes=1),
    Column("RISK", goes=2),
    Column("SERVER", least=12, goes=3),
    Column("REASON", least=24, goes=4, table_only=True),
    Column("RULE", least=20, goes=5, table_only=True),
)
_READ = 20_000  # characters of arguments that are read for a sentence


@dataclass(frozen=True, slots=True)
class PrintedRow:
    """One row as it is printed."""

    row: HistoryRow
    told: Told
    risk: Risk | None
    call: Headline | None  # None: it is about no call, or about a very long one

    @property
    def piped(self) -> tuple[str, ...]:
        """Its cells in a pipe."""
        event, told = self.row.event, self.told
        return (
            str(self.row.seq),
            show.moment(self.row.at),
            event.event,
            self._tool,
            told.who,
            told.approval_id[:10],
            event.rule,
            event.reason,
            self.risk or "",
            told.about,
        )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Its cells on a terminal."""
        event, told = self.row.event, self.told
        return (
            str(self.row.seq),
            show.moment(self.row.at),
            event.event,
            self.call or told.about or self._tool,
            told.who,
            told.approval_id[:10],
            self.risk or "",
            event.server,
            event.reason,
            event.rule,
        )

    @property
    def _tool(self) -> str:
        return "/".join(part for part in (self.row.event.server, self.row.event.tool) if part)


async def lines(record: Record, page: HistoryPage) -> list[PrintedRow]:
    """The rows of a page."""
    names = await record.database.read(labels)
    risks = await record.approvals.risks(page.rows)
    held = await record.approvals.headlines(page.rows)
    found = []
    for row in page.rows:
        told = told_of(row.event, names)
        found.append(PrintedRow(row, told, risks.get(row.seq), _call(row, told, held)))
    return found


def _call(row: HistoryRow, told: Told, held: Mapping[str, Headline]) -> Headline | None:
    """The sentence of the held call it belongs to; else of the call that it tells itself."""
    if told.approval_id in held:
        return held[told.approval_id]
    event = row.event
    if not event.tool or event.arguments is None or len(event.arguments) > _READ:
        return None
    return headline(event.tool, "", json.loads(event.arguments))


def draw(found: Sequence[PrintedRow]) -> None:
    """Print them: as wide as the terminal, or tab-separated into a pipe."""
    if not sys.stdout.isatty():
        show.table(_PIPED, [line.piped for line in found])
    elif found:
        columns.draw(_COLUMNS, [line.cells for line in found])
