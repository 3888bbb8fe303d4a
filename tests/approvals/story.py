"""A history with a bit of everything, for the tests of chain, search and export. Not a test."""

from __future__ import annotations

from approvals.model import Choice, Event, Terms
from approvals.record.database import Transaction
from tests.support.record import ALICE, BOB, Record


def told(record: Record) -> None:
    """An allowed call, one that two people approved and that ran, a denied one, a waiting one."""

    def allowed(tx: Transaction) -> None:
        tx.append(
            Event(
                event="allowed",
                call_id="call_1",
                actor_kind="agent",
                actor="grt_1",
                grant="grt_1",
                server="payments",
                tool="list",
                arguments='{"q":"=cmd|calc"}',
                presented_digest="d" * 64,
                rule="/tools/list",
                verdict="allow",
            )
        )
        tx.append(
            Event(
                event="succeeded",
                call_id="call_1",
                grant="grt_1",
                server="payments",
                tool="list",
                presented_digest="d" * 64,
                outcome="succeeded",
                latency_ms=3,
            )
        )

    record.write(allowed)
    record.clock.pass_(seconds=10)
    held = record.hold({"amount": 5}, terms=Terms(quorum=2))
    record.decide(held, ALICE)
    record.decide(held, BOB, reason='ok,\r\n"fine"')
    record.claim(held)
    record.finish(held)
    record.clock.pass_(seconds=10)
    record.decide(record.hold({"amount": 6}, grant="grt_2"), choice=Choice.DENY, reason="no")
    record.hold({"amount": 7})
