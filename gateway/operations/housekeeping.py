"""What happens by the clock: deadlines, leases, retention, notices, the policy file's changes.

Each loop lives on: a round that fails (a database that is down) is logged and tried again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import structlog

from approvals import effects, processes, queue, retention
from approvals.outbox import prune
from approvals.outbox_worker import Outbox
from approvals.record import signed
from approvals.record.database import Database, RecordUnavailable, Transaction
from approvals.reviewers import prune_nonces
from approvals.tasks import prune_spent
from gateway.admin.reviewer_check import ReviewerCheck
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.confirmations import Confirmations
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.guard import Guard
from gateway.enforcement.policy_file import PolicyFile

log = structlog.get_logger()

_SWEEP_SECONDS = 1.0
_RENEWALS = 3  # of a lease in its time
_RETENTION_SECONDS = 3_600.0
_STAFF_SECONDS = 10.0
_REST_SECONDS = 10.0  # between two rows about a policy file that does not count
_KEEP_SECONDS = 60.0
_DAY_MS = 86_400_000
_NOTICES_MS = 2 * _DAY_MS  # twice as long as a notice is tried


class Housekeeping:
    """The gateway's own tasks."""

    def __init__(
        self,
        *,
        database: Database,
        guard: Guard,
        freezes: Freezes,
        catalogue: Catalogue,
        policies: PolicyFile,
        confirmations: Confirmations,
        staff: ReviewerCheck,
        outbox: Outbox,
        retention_days: int,
        name: str,
    ) -> None:
        self._journal = database.journal
        self._watch = database.watch
        self._guard = guard
        self._freezes = freezes
        self._catalogue = catalogue
        self._policies = policies
        self._confirmations = confirmations
        self._staff = staff
        self._outbox = outbox
        self._retention_days = retention_days
        self._name = name  # of this process
        self.halted: Callable[[], str | None] = lambda: freezes.halted
        self._renew_at = 0.0  # the loop's time
        self._tell_at = 0.0  # the loop's time; see `_told_lately`
        self._told = policies.current.hash
        self._policy_untold = False  # a change of the policy is not on record yet
        self.record_works = True  # as of the last sweep

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run until the block ends."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        hungup = asyncio.Event()
        pause = min(_SWEEP_SECONDS, self._guard.lease_ms / 1000 / _RENEWALS)
        tasks = [
            asyncio.create_task(self._every(pause, self._sweep), name="sweep"),
            asyncio.create_task(self._every(_RETENTION_SECONDS, self._drop), name="retention"),
            asyncio.create_task(self._every(_STAFF_SECONDS, self._staff.look), name="staff"),
            asyncio.create_task(self._every(_KEEP_SECONDS, self._keep), name="keep"),
            asyncio.create_task(self._outbox.run(), name="outbox"),
            asyncio.create_task(self._every(0, partial(self._reload, hungup)), name="reload"),
            asyncio.create_task(
                self._policies.watch(self._policy_changed, stop), name="policy watch"
            ),
        ]
        try:
            with _on_hangup(loop, hungup.set):
                yield
        finally:
            stop.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._guard.sum_up(stopping=True)

    async def _reload(self, hungup: asyncio.Event) -> None:
        """Read the policy file once the operator asks for it by SIGHUP."""
        await hungup.wait()
        hungup.clear()
        if await self._policies.refresh_aside():
            await self._policy_changed()

    async def _policy_changed(self) -> None:
        """Record it. While that cannot be done the next sweeps try again: the watch goes on."""
        self._policy_untold = True
        try:
            await self._tell_policy()
        except RecordUnavailable:
            log.warning("policy.not_recorded")

    async def _tell_policy(self) -> None:
        if not self._policy_untold or self._told_lately():
            return
        self._policy_untold = False  # first: the sweep and the watch must not both tell it
        try:
            await self._confirmations.keep_closing()
            await self._guard.policy_changed()
        except RecordUnavailable:
            self._policy_untold = True
            raise
        await self._staff.look()

    def _told_lately(self) -> bool:
        """A file that does not count may be written again and again, perhaps by an agent: the
        history keeps one row of it every few seconds.
        """
        now = asyncio.get_running_loop().time()
        counts = self._policies.rejected is None and self._policies.waiting is None
        if not counts and now < self._tell_at and self._policies.current.hash == self._told:
            return True
        self._tell_at, self._told = now + _REST_SECONDS, self._policies.current.hash
        return False

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
            await self._catalogue.load_classes()
            self._guard.sum_up()
            if await self._confirmations.look():
                self._policy_untold = True
            await self._confirmations.keep_closing()
            now = asyncio.get_running_loop().time()
            renew = now >= self._renew_at
            await self._journal.write(partial(self._round, renew=renew))
        except RecordUnavailable:
            self.record_works = False
            raise
        self.record_works = True
        await self._tell_policy()
        if renew:
            self._renew_at = now + self._guard.lease_ms / 1000 / _RENEWALS

    async def _keep(self) -> None:
        """Write down, beside the key, how far the history went."""
        await asyncio.to_thread(self._watch.keep)

    async def _drop(self) -> None:
        days = self._retention_days * _DAY_MS
        while await self._journal.write(
            lambda tx: retention.drop_contents(tx, before=tx.now - days)
        ):
            pass
        await self._journal.write(lambda tx: prune(tx, before=tx.now - max(days, _NOTICES_MS)))
        await self._journal.write(lambda tx: prune_spent(tx, before=tx.now))
        await self._journal.write(effects.prune)
        await self._journal.write(lambda tx: prune_nonces(tx, before=tx.now))

    def _round(self, tx: Transaction, *, renew: bool) -> None:
        # Our own first: when the record was down for longer than a lease, what we are sending has
        # only a lease that no one could renew.
        if renew:
            process, lease = self._guard.process, self._guard.lease_ms
            processes.renew(tx, process, name=self._name, lease_ms=lease)
            self._guard.renew(tx)
        processes.bury(tx)
        queue.expire_due(tx, tx.now)
        self._guard.recover(tx)
        signed.keep_near(tx)


@contextmanager
def _on_hangup(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> Iterator[None]:
    """Call `work` for each SIGHUP, for the length of the block; never outside the main thread, the
    only one that hears signals.
    """
    try:
        loop.add_signal_handler(signal.SIGHUP, work)
    except (ValueError, NotImplementedError, RuntimeError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
