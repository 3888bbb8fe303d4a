"""What one journalled operation costs: two history rows and one counter, durable, per operation.

Run: python tests/bench/journal_bench.py [sqlalchemy-url]. Prints wall and CPU time an operation.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import uvloop

from approvals.model import Event
from approvals.record.clock import SystemClock
from approvals.record.database import Database, Transaction
from approvals.record.keys import Keys

ARGUMENTS = '{"amount":1200,"currency":"eur","note":"' + "x" * 120 + '"}'


def operation(tx: Transaction) -> None:
    """An allowed call's verdict, its counter and its outcome."""
    window = tx.now // 60_000 * 60_000
    state = tx.counter("bench")
    used = state.used if state and state.window_start == window else Decimal(0)
    tx.set_counter("bench", window, used + 1)
    tx.append(
        Event(
            event="allowed",
            call_id="call_0123456789",
            actor_kind="agent",
            actor="grt_0123456789",
            grant="grt_0123456789",
            server="payments",
            tool="create_charge",
            arguments=ARGUMENTS,
            arguments_digest="a" * 64,
            presented_digest="b" * 64,
            policy_hash="c" * 64,
            rule="/tools/create_charge",
            verdict="allow",
        )
    )
    tx.append(
        Event(
            event="succeeded",
            call_id="call_0123456789",
            actor_kind="gateway",
            grant="grt_0123456789",
            server="payments",
            tool="create_charge",
            outcome="succeeded",
            result_digest="d" * 64,
            latency_ms=12,
        )
    )


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(database: Database, callers: int, seconds: float) -> None:
    done = 0
    stop = time.perf_counter() + seconds
    waits: list[float] = []

    async def caller() -> None:
        nonlocal done
        while (began := time.perf_counter()) < stop:
            await database.journal.write(operation)
            waits.append(time.perf_counter() - began)
            done += 1

    began, used = time.perf_counter(), cpu()
    await asyncio.gather(*(caller() for _ in range(callers)))
    wall, used = time.perf_counter() - began, cpu() - used
    waits.sort()
    print(
        f"c={callers:<3} {wall / done * 1e6:7.1f} us/op wall {used / done * 1e6:7.1f} us/op CPU"
        f"   p50 {waits[done // 2] * 1e3:6.2f} ms  p99 {waits[done * 99 // 100] * 1e3:6.2f} ms"
        f"   {done} ops"
    )


async def main(url: str) -> None:
    database = Database.open(url, key=Keys(b"k" * 32), clock=SystemClock())
    for callers in (1, 16, 64):
        await measure(database, callers, seconds=3)
    await database.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{Path(folder) / 'b.db'}"))
