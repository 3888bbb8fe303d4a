"""The lines of `signoff pending`: what waits, in one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from approvals.headline import headline_of
from approvals.model import Approval, Millis, short_id
from gateway.cli import columns, show
from gateway.cli.columns import Cell, Column

_COLUMNS = (
    Column("ID"),
    Column("RISK"),
    Column("CALL", least=32, good=44, alone=True),
    Column("SERVER", least=16, goes=1),
    Column("AGENT", least=16),
    Column("AGE", said="age"),
    Column("LEFT", said="left"),
)


def draw(found: Sequence[Approval], now: Millis) -> None:
    """Print them."""
    rows: list[tuple[Cell, ...]] = [
        (
            short_id(one.id),
            one.risk,
            headline_of(one),
            one.call.server,
            one.call.grant_label,
            show.span(now - one.created_at),
            show.span(one.expires_at - now),
        )
        for one in found
    ]
    columns.draw(_COLUMNS, rows)
