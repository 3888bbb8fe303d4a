"""The gateway's own sessions with one legacy server: one a grant and set of capabilities.

Opened when first needed, closed when idle. A fresh session a request would be simpler and wrong:
servers keep state in sessions, and a server on pipes starts a process for each.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from approvals.digest import canonical, sha256
from approvals.owned_tasks import OwnedTasks
from gateway.relay.bridge.legacy_session import LegacySession
from gateway.relay.bridge.messages import Json
from gateway.relay.bridge.opening import open_session
from gateway.relay.upstreams.eviction import Place, Use, first_to_go
from gateway.relay.upstreams.upstream import NotSent, Upstream

log = structlog.get_logger()

IDLE_SECONDS = 1_800.0
MOST_LINES = 500
_CLOSE_SECONDS = 5.0

Key = tuple[str, str]


class SessionPool:
    """Sessions by who needs them."""

    def __init__(self, upstream: Upstream, *, max_result: int, idle: float = IDLE_SECONDS) -> None:
        self._upstream = upstream
        self._max_result = max_result
        self._idle = idle
        self._lines: dict[Key, LegacySession] = {}
        self._opening: dict[Key, asyncio.Task[LegacySession]] = {}
        self._closing = OwnedTasks()
        self._sweeper: asyncio.Task[None] | None = None

    async def line(self, grant: str, capabilities: Json, client: Json) -> LegacySession:
        """The session for this grant and these capabilities.

        Raises:
            WrongEra, NotSent: see `open_line`.
        """
        key = (grant, sha256(canonical(capabilities)))
        line = self._lines.get(key)
        if line is not None and not line.gone:
            line.used = time.monotonic()
            return line
        if line is not None:
            self._close(key)
        opening = self._opening.get(key)
        if opening is None:
            self._make_room(grant)
            # A task of its own: anyone who waits may go away, others wait for the same opening.
            opening = asyncio.create_task(
                self._open(key, capabilities, client), name=f"{self._upstream.name} opening"
            )
            self._opening[key] = opening
            opening.add_done_callback(lambda task: self._opened(key, task))
        return await asyncio.shield(opening)

    async def aclose(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for opening in self._opening.values():
            opening.cancel()
        for key in list(self._lines):
            self._close(key)
        await self._closing.wait(_CLOSE_SECONDS)
        self._closing.cancel()

    async def _open(self, key: Key, capabilities: Json, client: Json) -> LegacySession:
        line = await open_session(
            self._upstream, key[0], capabilities, client, max_result=self._max_result
        )
        self._lines[key] = line
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name=f"{self._upstream.name} idle")
        return line

    def _opened(self, key: Key, task: asyncio.Task[LegacySession]) -> None:
        self._opening.pop(key, None)
        if not task.cancelled():
            task.exception()  # everybody who waited may be gone

    def _make_room(self, grant: str) -> None:
        if len(self._lines) + len(self._opening) < MOST_LINES:
            return
        places = {
            key: Place(key[0], Use.IDLE if line.idle else Use.BUSY, line.used)
            for key, line in self._lines.items()
        }
        gone = first_to_go(places, grant, most=MOST_LINES)
        if gone is None:
            raise NotSent(f"{self._upstream.name}: too many sessions are in use")
        self._close(gone)

    def _close(self, key: Key) -> None:
        self._closing.start(self._lines.pop(key).close(), name="session end")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, self._idle / 4))
            before = time.monotonic() - self._idle
            for key, line in list(self._lines.items()):
                if line.gone or (line.idle and line.used <= before):
                    log.info("bridge.session_closed", server=self._upstream.name)
                    self._close(key)
