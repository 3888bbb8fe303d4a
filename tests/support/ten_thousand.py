"""Ten thousand held calls on record, put there as agents would have. Not a test."""

from __future__ import annotations

from functools import partial

from approvals.model import Terms
from approvals.queue import open_approval
from approvals.record.database import Transaction
from tests.support.live_gateway import Site
from tests.support.record import RULING, call

PENDING = 10_000
_AT_ONCE = 500


def fill(site: Site, *, pending: int = PENDING) -> list[str]:
    """Hold this many calls of two hundred agents; their ids."""
    ids: list[str] = []

    def some(tx: Transaction, start: int) -> list[str]:
        return [
            open_approval(
                tx,
                call=call(
                    {"key": f"k{place}", "text": "x" * 500},
                    grant=f"grt_{place % 200}",
                    grant_label=f"agent-{place % 200}",
                    server="w",
                    tool="held",
                    tool_hash="",
                ),
                ruling=RULING,
                terms=Terms(expires=86_400),
            ).id
            for place in range(start, min(start + _AT_ONCE, pending))
        ]

    with site.record() as database:
        for start in range(0, pending, _AT_ONCE):
            ids += database.journal.write_now(partial(some, start=start))
    return ids
