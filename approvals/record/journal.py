"""The journal: every write goes as a function to one thread that owns one connection.

It takes whatever is queued, runs it in one transaction, commits, then resolves the waiters. There
is no linger: a batch forms by itself while the previous COMMIT is on its way. Not pure.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, cast

from approvals.digest import canonical
from approvals.model import Event
from approvals.record.clock import Clock
from approvals.record.continuity import Unproven
from approvals.record.keys import Keys
from approvals.record.transaction import HeadMoved, NotBegun, Transaction
from approvals.record.writer import Writer

T = TypeVar("T")
log = logging.getLogger("signoff.journal")

MOST_WAITING: Final = 10_000  # writes queued; more are refused at once
MOST_POSTED: Final = 20_000  # posts kept; beyond, the oldest is lost and counted
MOST_AT_ONCE: Final = 1_000  # functions in one transaction
POST_WITHIN: Final = 0.02  # seconds a post may wait for company
_PROVINGS: Final = 3  # so often others read the history for a write, before it does so itself
RETRY_POSTS: Final = 0.5  # seconds between tries while the record is unavailable


class RecordUnavailable(Exception):
    """The record cannot be written or read: disk full, locked, read-only, server down.

    The write did not commit, or is not known to have. Nothing may be done on its strength.
    """


@dataclass(slots=True)
class _Write:
    """One function on its way through the journal, and who waits for it (no one, for a post)."""

    fn: Callable[[Transaction], object]
    future: asyncio.Future[Any] | concurrent.futures.Future[Any] | None
    loop: asyncio.AbstractEventLoop | None
    patient: bool
    """It may read the history at length in the writer's thread: no one else can do so for it."""
    result: object = None
    error: Exception | None = None


class Committed(Protocol):
    """Told after each commit, in the writer's thread: must return at once and never raise."""

    def __call__(self, rung: frozenset[str], seq: int, /) -> None: ...


class Journal:
    """The only way to write. One per process; close it to flush what was posted."""

    def __init__(self, writer: Writer, *, keys: Keys, clock: Clock) -> None:
        self._writer = writer
        self._keys = keys
        self._clock = clock
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()  # None: look again
        self._posted: deque[_Write] = deque()
        self._lost = 0  # posts that no row tells of yet
        self._losing = threading.Lock()
        self._asleep = False
        self._closing = False
        self._stopped = False
        self._listeners: tuple[Committed, ...] = ()
        self.notifiers: tuple[str, ...] = ()
        """Who the outbox tells of changes; set once, by the composition root."""
        self.trouble: str | None = None
        """Why the last batch did not commit; None once one did."""
        self.prove: Callable[[int], concurrent.futures.Future[None]] | None = None
        """How to read the history after a row in another thread; set once, by `Database`."""
        self.seq = 0
        """The history's head as of this process's last commit."""
        self._thread = threading.Thread(target=self._run, name="signoff-journal", daemon=True)
        self._thread.start()

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run the function in the next transaction; its result, once that is on disk.

        If it raises, it alone is rolled back and the exception is raised here. A caller that is
        cancelled meanwhile learns nothing: its write may still commit.

        Raises:
            RecordUnavailable: it did not commit, or is not known to have.
        """
        loop = asyncio.get_running_loop()
        for left in range(_PROVINGS, -1, -1):
            future: asyncio.Future[T] = loop.create_future()
            self._enqueue(_Write(fn, future, loop, patient=not left))
            try:
                return await future
            except Unproven as error:
                await asyncio.wrap_future(self._proving(error))
        raise AssertionError("A patient write is never unproven.")

    def write_now(self, fn: Callable[[Transaction], T]) -> T:
        """As `write`, blocking: for callers without an event loop."""
        for left in range(_PROVINGS, -1, -1):
            future: concurrent.futures.Future[T] = concurrent.futures.Future()
            self._enqueue(_Write(fn, future, None, patient=not left))
            try:
                return future.result()
            except Unproven as error:
                self._proving(error).result()
        raise AssertionError("A patient write is never unproven.")

    def post(self, fn: Callable[[Transaction], object]) -> None:
        """Write without waiting: with the next batch, or within 20 ms. Survives an unavailable
        record in memory, in order and bounded; does not survive a crash. What is lost beyond the
        bound, or because it raised, is counted: the next batch appends how many (`rows_lost`).
        """
        if self._closing:
            raise RecordUnavailable("The record is closed.")
        if len(self._posted) >= MOST_POSTED:
            self._posted.popleft()
            self._lose(1)
        self._posted.append(_Write(fn, None, None, patient=True))
        if self._asleep:  # set before the writer looks at the posts a last time: never missed
            self._queue.put(None)

    def listen(self, listener: Committed) -> None:
        """Tell this listener of every commit from now on."""
        self._listeners = (*self._listeners, listener)

    async def close(self) -> None:
        """Write what is queued and posted, then stop."""
        await asyncio.get_running_loop().run_in_executor(None, self.close_now)

    def close_now(self) -> None:
        self._closing = True
        self._queue.put(None)
        self._thread.join()

    def _lose(self, posts: int) -> None:
        with self._losing:
            self._lost += posts

    def _proving(self, error: Unproven) -> concurrent.futures.Future[None]:
        if self.prove is None:
            raise error
        return self.prove(error.seq)

    def _enqueue(self, write: _Write) -> None:
        if self._closing:
            raise RecordUnavailable("The record is closed.")
        if self._queue.qsize() >= MOST_WAITING:
            raise RecordUnavailable("Too many writes are waiting.")
        self._queue.put(write)
        if self._stopped:  # the writer may have looked a last time before this
            self._refuse_rest()

    def _refuse_rest(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                write = self._queue.get_nowait()
                if write is not None:
                    write.error = RecordUnavailable("The record is closed.")
                    self._resolve([write])

    def _run(self) -> None:
        while True:
            batch = self._take()
            if batch:
                self._commit(batch)
            elif self._closing:
                break
        self._writer.drop()
        self._stopped = True
        self._refuse_rest()

    def _take(self) -> list[_Write]:
        """Everything queued, posts first; empty when there was only a call to look again."""
        first = self._first()
        batch: list[_Write] = []
        posted = self._posted
        while posted and len(batch) < MOST_AT_ONCE:
            batch.append(posted.popleft())
        if first is not None:
            batch.append(first)
        self._take_queued(batch)
        return batch

    def _take_queued(self, batch: list[_Write]) -> None:
        """Put what is queued by now into the batch."""
        while len(batch) < MOST_AT_ONCE:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                return
            if more is not None:
                batch.append(more)

    def _first(self) -> _Write | None:
        if self._closing:
            try:
                return self._queue.get_nowait()
            except queue.Empty:
                return None
        try:
            return self._queue.get(timeout=POST_WITHIN if self.trouble is None else RETRY_POSTS)
        except queue.Empty:
            pass
        self._asleep = True
        try:
            return None if self._posted else self._queue.get()
        finally:
            self._asleep = False

    def _commit(self, batch: list[_Write]) -> None:
        """Commit the batch as one transaction or, if one of it raises, each as its own."""
        try:
            self._attempt(batch, open_to_more=True)
        except RecordUnavailable as error:
            self._unavailable(batch, error)
        except Exception as error:  # noqa: BLE001  # whatever one write raises is its caller's
            if len(batch) == 1:
                batch[0].error = error
            else:
                self._each_alone(batch)
                return
        self._resolve(batch)

    def _each_alone(self, batch: list[_Write]) -> None:
        for place, write in enumerate(batch):
            try:
                self._attempt([write])
            except RecordUnavailable as error:
                self._unavailable(batch[place:], error)
                self._resolve(batch[place:])
                return
            except Exception as error:  # noqa: BLE001  # as above
                write.error = error
            self._resolve([write])

    def _attempt(self, batch: list[_Write], *, open_to_more: bool = False) -> None:
        try:
            self._run_through(batch, open_to_more=open_to_more)
        except HeadMoved:
            self._run_through(batch)

    def _run_through(self, batch: list[_Write], *, open_to_more: bool = False) -> None:
        try:
            self._writer.begin()
            tx = self._writer.transaction(
                now=self._clock.now(), keys=self._keys, notifiers=self.notifiers
            )
        except self._writer.errors as error:
            raise self._dropped("The record cannot be opened for writing.") from error
        lost = self._lost
        try:
            if lost:
                tx.append(_rows_lost(lost))
            self._fill(tx, batch, open_to_more=open_to_more)
        except NotBegun as error:
            raise self._dropped("The record cannot be opened for writing.") from error.__cause__
        except Exception as error:
            alone = len(batch) == 1
            if not self._writer.rollback() or (alone and self._writer.is_outage(error)):
                gone = self._dropped("The record cannot be written.")
                if alone:
                    raise gone from error
            raise
        try:
            self._writer.commit(tx)
        except NotBegun as error:
            raise self._dropped("The record cannot be opened for writing.") from error.__cause__
        except self._writer.errors as error:
            raise self._dropped("The record did not confirm a write.") from error
        self.trouble = None
        self._lose(-lost)
        self.seq = tx.seq
        for listener in self._listeners:
            listener(tx.rung, tx.seq)

    def _fill(self, tx: Transaction, batch: list[_Write], *, open_to_more: bool) -> None:
        for write in batch:
            tx.patient = write.patient
            write.result = write.fn(tx)
        if open_to_more:  # what came meanwhile need not wait for a commit of its own
            before = len(batch)
            self._take_queued(batch)
            for write in batch[before:]:
                tx.patient = write.patient
                write.result = write.fn(tx)
        tx.flush()

    def _dropped(self, why: str) -> RecordUnavailable:
        """Forget the connection; what to tell those who waited."""
        self._writer.drop()
        return RecordUnavailable(why)

    def _unavailable(self, batch: list[_Write], error: RecordUnavailable) -> None:
        cause = error.__cause__
        self.trouble = f"{error} ({type(cause).__name__})" if cause else str(error)
        log.error("journal.unavailable", extra={"writes": len(batch), "why": str(cause)})
        for write in batch:
            write.error = RecordUnavailable(str(error))  # one each: a traceback grows as it rises
            write.error.__cause__ = cause
        kept = [
            _Write(write.fn, None, None, patient=True) for write in batch if write.future is None
        ]
        if not self._closing:
            self._posted.extendleft(reversed(kept))
        elif kept:  # the log alone can tell: there will be no later batch
            log.error("journal.posts_lost", extra={"posts": len(kept)})

    def _resolve(self, batch: list[_Write]) -> None:
        """Tell the waiters: one wake-up of each event loop, however large the batch."""
        loops: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
        for write in batch:
            if write.loop is not None:
                loops.setdefault(write.loop, []).append(write)
            elif write.future is None:
                if write.error is not None and not isinstance(write.error, RecordUnavailable):
                    log.error("journal.post_failed", exc_info=write.error)
                    self._lose(1)
            else:
                _settle(write)
        for loop, writes in loops.items():
            try:
                loop.call_soon_threadsafe(_settle_all, writes)
            except RuntimeError:  # the loop is gone, and its waiters with it
                log.warning("journal.loop_closed", extra={"writes": len(writes)})


def _rows_lost(posts: int) -> Event:
    """The row that stands for posts which were never written."""
    return Event(
        event="rows_lost",
        actor_kind="gateway",
        via="gateway",
        reason=f"{posts} rows (outcomes, refusals) could not be written.",
        data=canonical({"lost": posts}).decode(),
    )


def _settle_all(writes: list[_Write]) -> None:
    for write in writes:
        _settle(write)


def _settle(write: _Write) -> None:
    future = cast("asyncio.Future[Any]", write.future)
    if future.done():  # its caller was cancelled
        return
    if write.error is None:
        future.set_result(write.result)
    else:
        future.set_exception(write.error)
