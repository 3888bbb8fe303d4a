"""Wake-ups: anyone who waits for an approval is told to look again. They make it fast, never right.

Rings come from this process's commits at once, from other processes' through a watcher thread: it
runs only while someone waits, and reads what the history gained. Not pure.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from sqlalchemy import Connection, text

from approvals.record.database import Database
from approvals.record.engines import writer_engine
from approvals.record.journal import RecordUnavailable
from approvals.record.writer import CHANNEL

POLL: Final = 0.2
"""Seconds between looks at what other processes committed."""

_MOST_ROWS: Final = 5_000  # history rows read for rings; beyond that everybody is woken


class Wakeup:
    """Wakes waiters of one database in this process. Close it before the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiters: dict[str, set[Waiter]] = {}
        self._everything: set[Waiter] = set()
        self._needed = threading.Event()
        self._closing = threading.Event()
        database.journal.listen(self._committed)
        self._thread = threading.Thread(target=self._watch, name="signoff-wakeup", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def waiting(self, approval_id: str | None) -> Iterator[Waiter]:
        """Be woken for this approval, or for every one when None. Register, then look at the row,
        then wait: a change between look and wait is kept.
        """
        waiter = Waiter(asyncio.get_running_loop())
        with self._lock:
            if approval_id is None:
                self._everything.add(waiter)
            else:
                self._waiters.setdefault(approval_id, set()).add(waiter)
        self._needed.set()
        try:
            yield waiter
        finally:
            with self._lock:
                self._everything.discard(waiter)
                if approval_id is not None:
                    same = self._waiters.get(approval_id, set())
                    same.discard(waiter)
                    if not same:
                        self._waiters.pop(approval_id, None)

    def ring(self, ids: frozenset[str]) -> None:
        """Wake the waiters of these approvals. From any thread."""
        with self._lock:
            woken = set(self._everything)
            for approval_id in ids:
                woken |= self._waiters.get(approval_id, set())
        _wake(woken, ids)

    def ring_all(self) -> None:
        """Wake everybody: something changed, and it is not known what."""
        with self._lock:
            woken = self._everything.union(*self._waiters.values())
        _wake(woken, frozenset())

    def close(self) -> None:
        self._closing.set()
        self._needed.set()
        self._thread.join()

    def _committed(self, rung: frozenset[str], _seq: int) -> None:
        if rung:
            self.ring(rung)

    def _watch(self) -> None:
        while True:
            self._needed.wait()
            if self._closing.is_set():
                return
            try:
                self._watch_while_needed()
            except RecordUnavailable:
                self._closing.wait(POLL)

    def _watch_while_needed(self) -> None:
        look = _Look(self._database)
        try:
            seen = look.head()
            self.ring_all()  # waiters that looked before `seen` was known look once more
            while not self._closing.is_set():
                with self._lock:
                    if not self._waiters and not self._everything:
                        self._needed.clear()
                        return
                look.pause(self._closing)
                if not look.changed():
                    continue
                head = look.head()
                if head - seen > _MOST_ROWS:
                    self.ring_all()
                elif head > seen:
                    ids = look.touched(seen, head)
                    if ids:
                        self.ring(ids)
                seen = head
        finally:
            look.close()


class Waiter:
    """One place to wait. Rings that come while no one looks are kept and merged."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._rung = asyncio.Event()
        self._ids: set[str] = set()
        self._unknown = False

    async def wait(self, seconds: float) -> frozenset[str] | None:
        """The approvals rung since the last wait, empty for "anything"; None when time is up."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return None
        self._rung.clear()
        ids = frozenset() if self._unknown else frozenset(self._ids)
        self._ids.clear()
        self._unknown = False
        return ids

    def rung(self, ids: frozenset[str]) -> None:
        """Called in the waiter's own loop."""
        if ids:
            self._ids |= ids
        else:
            self._unknown = True
        self._rung.set()


def _wake(waiters: set[Waiter], ids: frozenset[str]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
    for waiter in waiters:
        loops.setdefault(waiter.loop, []).append(waiter)
    for loop, woken in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is gone, and its waiters with it
            loop.call_soon_threadsafe(_wake_all, woken, ids)


def _wake_all(waiters: list[Waiter], ids: frozenset[str]) -> None:
    for waiter in waiters:
        waiter.rung(ids)


class _Look:
    """The watcher's own connection: what did anyone commit since the last look?"""

    def __init__(self, database: Database) -> None:
        self._engine = writer_engine(database.url)
        self._postgres = database.is_postgres
        self._version: object = None
        try:
            self._connection: Connection = self._engine.connect()
            if self._postgres:
                self._connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        except Exception as error:
            self._engine.dispose()
            raise RecordUnavailable("The record cannot be watched.") from error

    def pause(self, closing: threading.Event) -> None:
        """Until the next look is due: 0.2 s, or as soon as PostgreSQL notifies."""
        if not self._postgres:
            closing.wait(POLL)
            return
        driver: Any = self._connection.connection.dbapi_connection

        def listen() -> None:
            for _ in driver.notifies(timeout=POLL, stop_after=1):
                pass

        self._guarded(listen)

    def changed(self) -> bool:
        """Whether anyone may have committed. SQLite tells without reading a page."""
        if self._postgres:
            return True
        version = self._guarded(lambda: self._scalar("PRAGMA data_version"))
        changed = bool(version != self._version)
        self._version = version
        return changed

    def head(self) -> int:
        return int(self._guarded(lambda: self._scalar("SELECT max(seq) FROM history")) or 0)

    def touched(self, after: int, upto: int) -> frozenset[str]:
        """The approvals the history tells of between these two heads."""
        query = text(
            "SELECT DISTINCT approval_id FROM history "
            "WHERE seq > :after AND seq <= :upto AND approval_id IS NOT NULL"
        )
        found: list[str] = self._guarded(
            lambda: list(
                self._connection.execute(query, {"after": after, "upto": upto}).scalars().all()
            )
        )
        return frozenset(found)

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it may be broken already; nothing was written on it
            self._connection.invalidate()
            self._connection.close()
        self._engine.dispose()

    def _scalar(self, sql: str) -> Any:
        return self._connection.exec_driver_sql(sql).scalar()

    def _guarded(self, fn: Callable[[], Any]) -> Any:
        try:
            return fn()
        except Exception as error:
            raise RecordUnavailable("The record cannot be watched.") from error
