"""A gateway that has been in use for long: what its record and its files hold. Not a test."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from approvals.model import Event
from approvals.record.database import Transaction
from tests.support.live_gateway import Site
from tests.support.ten_thousand import fill as hold

RULES: Final = 1_000
SERVERS: Final = 100
PENDING: Final = 10_000
HISTORY: Final = 10_000_000
_AT_ONCE: Final = 20_000  # rows of history in one transaction


def rules(count: int = RULES) -> dict[str, Any]:
    """So many tools with a rule each: a limit, a condition, an approval."""
    return {
        f"tool_{place}": {
            "limits": [
                {"counter": f"n{place}", "window": "hour", "max": 100 + place, "scope": "grant"}
            ],
            "deny_if": [{"conditions": [{"path": "args.text", "op": "eq", "value": f"v{place}"}]}],
            "approve_if": [{"conditions": [{"path": "args.amount", "op": "eq", "value": place}]}],
        }
        for place in range(count)
    }


def servers(url: str, count: int = SERVERS) -> dict[str, Any]:
    """So many servers, the measured one among them."""
    return {f"server-{place}": {"url": url} for place in range(count - 1)}


def fill(site: Site, *, pending: int = PENDING, history: int = HISTORY) -> None:
    """Held calls and rows of history, written by the code that writes them in use."""
    if pending:
        hold(site, pending=pending)

    def some(tx: Transaction, start: int, stop: int) -> None:
        for place in range(start, stop):
            tx.append(
                Event(
                    event="allowed" if place % 2 else "succeeded",
                    call_id=f"call_{place // 2}",
                    actor_kind="agent",
                    actor=f"agent-{place % 200}",
                    via="mcp",
                    grant=f"grt_{place % 200}",
                    server=f"server-{place % 50}",
                    tool=f"tool_{place % 1000}",
                    arguments='{"amount":10,"text":"some words"}',
                    arguments_digest=f"{place:064x}",
                    presented_digest=f"{place:064x}",
                    rule="/tools/tool_1/limits/0",
                    verdict="allow",
                )
            )

    with site.record() as database:
        for start in range(0, history, _AT_ONCE):
            stop = min(start + _AT_ONCE, history)
            database.journal.write_now(partial(some, start=start, stop=stop))
