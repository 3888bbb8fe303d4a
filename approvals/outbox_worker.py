"""The outbox worker: tells notifiers what happened, at least once, whatever happens meanwhile.

Rows are leased in the record, sent outside any transaction, then dropped, put off or given up.
A notifier that fails slows down itself and no one else; nothing here can fail a decision.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final, Protocol

import structlog

from approvals import outbox
from approvals.model import Millis
from approvals.outbox import Notice
from approvals.record.database import Clock, Database, RecordUnavailable

log = structlog.get_logger()

POLL: Final = 1.0
"""Seconds between looks for what other processes queued and for what is due again."""

SYNC_SECONDS: Final = 15.0
"""Seconds one try may take."""

MOST_TRIES: Final = 25
OLDEST: Final = 86_400_000
"""Milliseconds after the change beyond which a failed try is the last."""

_FIRST_PAUSE: Final = 1.0  # seconds after the first failure; doubled with each, and jittered
_LONGEST_PAUSE: Final = 3_600.0
_LONGEST_REST: Final = 60.0  # seconds a notifier rests when everything it was given failed
_AT_ONCE: Final = 8
_BATCH: Final = 32
_RENEW: Final = outbox.LEASE / 3_000  # seconds after which what is in hand is leased again


class DeliveryRetry(Exception):
    """It did not work now. `after`: seconds for which the other side wants to be left alone."""

    def __init__(self, why: str, *, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class NotYet(Exception):
    """It was not tried, for it is not its turn. Counts as no failure; `after` as in `Retry`."""

    def __init__(self, why: str, *, after: float) -> None:
        super().__init__(why)
        self.after = after


class GiveUp(Exception):
    """It will never work: this notice is not tried again."""


class Notifier(Protocol):
    """Brings the outside up to date with one change of an approval, or reminds of it.

    Laws: `sync` may be called more than once for one notice (`delivery.id` stays the same), by
    several processes, and late; what it reads from the record may be newer than the notice. A
    notice of kind "reminder" asks for no more than a reminder, and only while the record still
    says pending; see `Notice`.
    """

    async def sync(self, delivery: Notice) -> None:
        """Returns once the other side has it, or there is nothing to tell of such a change.

        Raises:
            Retry: not now.
            NotYet: nothing was tried.
            GiveUp: never.
        """


@dataclass(frozen=True, slots=True)
class _Failed:
    """How one try failed; `after` as in `Retry`, `last` when there will be no other, `untried` when
    it was none.
    """

    why: str
    after: float | None = None
    last: bool = False
    untried: bool = False


class Outbox:
    """The worker of every notifier of this process. `run` it as one task, owned by the caller."""

    def __init__(
        self,
        database: Database,
        notifiers: Mapping[str, Notifier],
        *,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._notifiers = dict(notifiers)
        self._clock = clock
        self._jitter = jitter  # 0 to 1

    async def enlist(self) -> None:
        """Have every change queued for these notifiers, by this process and the command line."""
        names = tuple(self._notifiers)
        if self._database.journal.notifiers == names:
            return
        self._database.journal.notifiers = names
        await self._database.journal.write(partial(outbox.enlist, notifiers=names))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._notifiers:
                group.create_task(self._serve(name), name=f"outbox {name}")

    async def _serve(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        bell = asyncio.Event()

        def ring(rung: frozenset[str], _seq: int) -> None:
            if rung and not loop.is_closed():
                loop.call_soon_threadsafe(bell.set)

        self._database.journal.listen(ring)
        failures = 0
        while True:
            bell.clear()
            try:
                pause = await self.round(name)
            except RecordUnavailable:
                pause = POLL  # without a lease on record nothing is sent
            except Exception:  # a loop that must live on; it logs and tries again
                log.exception("outbox.failed", notifier=name)
                pause = POLL
            if pause is None:
                failures += 1
                rest = min(_LONGEST_REST, self._pause(failures))
                await asyncio.sleep(rest)
            elif pause > 0:
                failures = 0
                await asyncio.sleep(pause)
            else:
                failures = 0
                await _rung(bell)

    async def round(self, name: str) -> float | None:
        """Send what is due. 0: wait for more; seconds: the other side wants to be left alone for
        them; None: nothing got through.

        Raises:
            RecordUnavailable: nothing could be leased, so nothing was sent.
        """
        now = self._clock.now()
        if not await self._database.read(partial(outbox.is_due, notifier=name, now=now)):
            return 0
        taken = await self._database.journal.write(
            partial(outbox.lease, notifier=name, limit=_BATCH)
        )
        by_approval = [
            list(notices)
            for _, notices in groupby(
                sorted(taken, key=lambda one: (one.approval_id, one.version)),
                key=lambda one: one.approval_id,
            )
        ]
        gate = asyncio.Semaphore(_AT_ONCE)
        held = {one.id for one in taken}
        async with self._renewed(held), asyncio.TaskGroup() as group:
            tries = [
                group.create_task(self._in_order(gate, name, notices, held))
                for notices in by_approval
            ]
        failed = [task.result() for task in tries]
        wanted = [one.after for one in failed if one is not None and one.after is not None]
        if wanted:
            return min(_LONGEST_PAUSE, max(wanted))
        if failed and all(one is not None for one in failed):
            return None
        return 0.001 if len(taken) == _BATCH else 0

    async def _in_order(
        self, gate: asyncio.Semaphore, name: str, notices: list[Notice], held: set[str]
    ) -> _Failed | None:
        """One approval's notices, oldest first; what follows a failure waits for it."""
        async with gate:
            for place, notice in enumerate(notices):
                try:
                    failed = await self._one(name, notice, notices[place + 1 :], held)
                except RecordUnavailable:  # sent, perhaps; it is due again when its lease ends
                    held.difference_update(one.id for one in notices)
                    return _Failed("the record cannot be written")
                if failed is not None:
                    return None if failed.untried else failed
        return None

    @asynccontextmanager
    async def _renewed(self, held: set[str]) -> AsyncIterator[None]:
        """What is held stays leased for the length of the block, however long its tries take."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(_RENEW)
                with suppress(RecordUnavailable):  # then it may be told twice
                    await self._database.journal.write(partial(outbox.renew, held=frozenset(held)))

        task = asyncio.create_task(renew(), name="outbox lease")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _one(
        self, name: str, notice: Notice, followers: list[Notice], held: set[str]
    ) -> _Failed | None:
        """Try one notice and note how it went. None: it is done with."""
        write = self._database.journal.write
        failed = await self._try(name, notice)
        held.discard(notice.id)  # what is noted now decides when it is due: no renewal after it
        if failed is None:
            await write(partial(outbox.delivered, notice=notice))
            return None
        now = self._clock.now()
        if failed.untried:
            held.difference_update(one.id for one in followers)
            until = now + int(min(failed.after or 0, _LONGEST_PAUSE) * 1000)
            for waiting in (notice, *followers):
                await write(partial(outbox.hand_back, notice=waiting, until=until))
            return failed
        if failed.last or notice.tries >= MOST_TRIES or now - notice.at >= OLDEST:
            log.error("notice.given_up", notifier=name, notice=notice.id, why=failed.why)
            await write(partial(outbox.give_up, notice=notice, why=failed.why))
            return None
        held.difference_update(one.id for one in followers)
        until = self._until(now, notice, failed)
        await write(partial(outbox.put_off, notice=notice, until=until, why=failed.why))
        for later in followers:
            await write(partial(outbox.hand_back, notice=later, until=until))
        return failed

    async def _try(self, name: str, notice: Notice) -> _Failed | None:
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                await self._notifiers[name].sync(notice)
        except DeliveryRetry as retry:
            return _Failed(str(retry), retry.after)
        except NotYet as later:
            return _Failed(str(later), later.after, untried=True)
        except GiveUp as never:
            return _Failed(str(never), last=True)
        except TimeoutError:
            return _Failed(f"no end within {SYNC_SECONDS:.0f} seconds")
        except RecordUnavailable:
            return _Failed("the record cannot be read")
        except Exception as error:  # a notifier's bug must not stop the others
            log.exception("notifier.failed", notifier=name, notice=notice.id)
            return _Failed(type(error).__name__)
        return None

    def _until(self, now: Millis, notice: Notice, failed: _Failed) -> Millis:
        seconds = max(self._pause(notice.tries), min(failed.after or 0, _LONGEST_PAUSE))
        return now + int(seconds * 1000)

    def _pause(self, failures: int) -> float:
        """Seconds to wait after so many failures: doubled each time, never less than half of it."""
        whole = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 20))
        return whole * (0.5 + self._jitter() / 2)


async def _rung(bell: asyncio.Event) -> None:
    """Until someone commits here, or the next look is due."""
    try:
        async with asyncio.timeout(POLL):
            await bell.wait()
    except TimeoutError:
        return
