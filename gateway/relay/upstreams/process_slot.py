"""The place of one stdio process: started when it is used, started again after it died.

A slot belongs to one legacy session, to one modern grant, or to everybody (`shared`). It replays
the recorded `initialize` to a new process, and backs off from one that keeps dying.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from gateway.relay.upstreams.eviction import Use
from gateway.relay.upstreams.message_queue import MessageQueue, QueuedMessage, QueueEnded
from gateway.relay.upstreams.process import Command, End
from gateway.relay.upstreams.stdio_connection import Limits, Message, StdioConnection
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown

LONGEST_DELAY = 30.0
HEALTHY_SECONDS = 60.0
_TO_LONGEST = 6  # doublings after which the longest delay is reached


@dataclass(frozen=True, slots=True)
class Restarts:
    """Deaths in a row, and the time (monotonic, seconds) before which none is started again."""

    deaths: int = 0
    until: float = 0.0


def after_death(restarts: Restarts, *, lived: float, now: float, first: float) -> Restarts:
    """`first` seconds, doubling up to 30 s; a process that lived for a minute begins again."""
    deaths = 1 if lived >= HEALTHY_SECONDS else restarts.deaths + 1
    delay = min(LONGEST_DELAY, first * 2 ** min(deaths - 1, _TO_LONGEST))
    return Restarts(deaths, now + delay)


class RestartDelay:
    """The back-off of one requester, across its slots."""

    def __init__(self) -> None:
        self.restarts = Restarts()


@dataclass(frozen=True, slots=True)
class Handshake:
    """The legacy opening of a session, kept to open a new process the same way."""

    initialize: Message
    initialized: Message | None = None
    answer: Message | None = None


class InitializeRefused(Exception):
    """The server answered `initialize` with an error."""

    def __init__(self, answer: Message) -> None:
        super().__init__("initialize was refused")
        self.answer = answer


class ProcessSlot:
    """At most one living process. `handshake` None: the modern era, which opens nothing."""

    def __init__(
        self,
        command: Command,
        limits: Limits,
        *,
        owner: str,
        pace: RestartDelay,
        handshake: Handshake | None,
        own: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """`owner`: the grant it is for. `own` takes a process's task over until it is done."""
        self.owner = owner
        self._command = command
        self._limits = limits
        self._pace = pace
        self._own = own
        self._channel: StdioConnection | None = None
        self._opening: asyncio.Task[StdioConnection] | None = None
        self._closed = False
        self._made = time.monotonic()
        self.handshake = handshake
        self.inboxes: dict[str, MessageQueue] = {}

    @property
    def channel(self) -> StdioConnection | None:
        """The living process's channel, if there is one and it is open."""
        opening = self._opening is not None and not self._opening.done()
        alive = self._channel is not None and self._channel.process.alive
        return self._channel if alive and not opening else None

    @property
    def touched(self) -> float:
        return self._made if self._channel is None else max(self._made, self._channel.touched)

    @property
    def use(self) -> Use:
        """Whether something is in flight, or someone listens."""
        if self._opening is not None and not self._opening.done():
            return Use.BUSY
        if self._channel is not None and self._channel.process.alive and self._channel.busy:
            return Use.BUSY
        reading = any(inbox.reading for inbox in self.inboxes.values())
        return Use.LISTENING if reading else Use.IDLE

    @property
    def idle(self) -> bool:
        """Nothing in flight and no one listening."""
        return self.use is Use.IDLE

    async def open(self) -> StdioConnection:
        """The living process, started (again) where there is none.

        Raises:
            NotSent: it cannot be started, or not yet again.
            OutcomeUnknown: it got the opening and did not answer it.
            Refused: it answered the opening with an error.
        """
        if (channel := self.channel) is not None:
            return channel
        if self._opening is None or self._opening.done():
            # A task of its own: anyone who waits may go away, others wait for the same start.
            self._opening = asyncio.create_task(self._open(), name=f"stdio {self._command.name}")
            self._opening.add_done_callback(_seen)
        return await asyncio.shield(self._opening)

    def close(self, why: str = "stopped") -> None:
        """Stop the process (its task goes on until it is gone) and end the GET streams."""
        self._closed = True
        if self._channel is not None:
            self._channel.process.stop(why)
        for inbox in self.inboxes.values():
            inbox.fail(QueueEnded())

    async def _open(self) -> StdioConnection:
        self._check_open()
        if time.monotonic() < self._pace.restarts.until:
            raise NotSent(f"{self._command.name}: backing off")
        self._channel = channel = StdioConnection(
            self._command,
            self._limits,
            modern=self.handshake is None,
            inboxes=self.inboxes,
            on_end=self._ended,
        )
        self._own(channel.process.run())
        await channel.process.started
        self._check_open()  # `close` may have come while it was being started
        if self.handshake is not None:
            try:
                self.handshake = await self._greet(channel, self.handshake)
            except BaseException:
                channel.process.stop("not opened")
                raise
        return channel

    def _check_open(self) -> None:
        if self._closed:
            raise NotSent(f"{self._command.name}: stopped")

    async def _greet(self, channel: StdioConnection, handshake: Handshake) -> Handshake:
        flight = channel.request(handshake.initialize, owner="")
        letter: QueuedMessage | None = None
        try:
            async with asyncio.timeout(self._limits.start):
                while letter is None or not letter.last:
                    letter = await flight.mailbox.get(self._limits.start)
        except TimeoutError:
            raise OutcomeUnknown("no answer to initialize") from None
        answer: Message = json.loads(letter.data)
        if "result" not in answer:
            raise InitializeRefused(answer)
        if handshake.initialized is not None:
            channel.notify(handshake.initialized, owner="")
        # Later sessions of a shared process get the first answer, whatever a restart brings.
        return replace(handshake, answer=handshake.answer or answer)

    def _ended(self, end: End, lived: float) -> None:
        if end.crashed:
            now = time.monotonic()
            self._pace.restarts = after_death(
                self._pace.restarts, lived=lived, now=now, first=self._limits.first_delay
            )


def _seen(task: asyncio.Task[StdioConnection]) -> None:
    """Everybody who waited may be gone: an exception then is no one's to hear."""
    if not task.cancelled():
        task.exception()
