"""What happens by the clock: deadlines, leases, retention, and the policy file's changes.

Each loop lives on: a round that fails (a database that is down) is logged and tried again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog

from approvals import queue
from approvals.store import Database, RecordUnavailable, Transaction
from gateway.freeze import Freezes
from gateway.guard import LEASE_MS, Guard
from gateway.reload import Policies

log = structlog.get_logger()

_SWEEP_SECONDS = 1.0
_LEASE_SECONDS = LEASE_MS / 3_000
_RETENTION_SECONDS = 3_600.0


class Housekeeping:
    """The gateway's own tasks."""

    def __init__(
        self,
        *,
        database: Database,
        guard: Guard,
        freezes: Freezes,
        policies: Policies,
        retention_days: int,
    ) -> None:
        self._journal = database.journal
        self._guard = guard
        self._freezes = freezes
        self._policies = policies
        self._retention_days = retention_days
        self.record_works = True  # as of the last sweep

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run until the block ends."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        hangup = signal.SIGHUP
        tasks = [
            asyncio.create_task(self._every(_SWEEP_SECONDS, self._sweep), name="sweep"),
            asyncio.create_task(self._every(_LEASE_SECONDS, self._renew), name="leases"),
            asyncio.create_task(self._policies.watch(self._guard.policy_changed, stop)),
        ]
        try:
            loop.add_signal_handler(hangup, self._reload)
        except (ValueError, NotImplementedError, RuntimeError):
            hangup = None  # type: ignore[assignment]  # not the main thread: no signals here
        try:
            yield
        finally:
            stop.set()
            if hangup is not None:
                loop.remove_signal_handler(hangup)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _reload(self) -> None:
        if self._policies.reload():
            self._pending = asyncio.ensure_future(self._guard.policy_changed())

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception:  # a loop that must live on; it logs and tries again
                log.exception("housekeeping.failed")
            await asyncio.sleep(seconds)

    async def _sweep(self) -> None:
        try:
            await self._freezes.load()
            await self._journal.write(_sweep)
        except RecordUnavailable:
            self.record_works = False
            raise
        self.record_works = True

    async def _renew(self) -> None:
        await self._journal.write(
            partial(queue.renew_leases, owner=self._guard.owner, lease_ms=LEASE_MS)
        )


def _sweep(tx: Transaction) -> None:
    queue.expire_due(tx, tx.now)
    queue.recover_leases(tx, tx.now)
