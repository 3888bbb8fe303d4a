"""Messages on their way to one reader: a request's stream, or a session's GET stream.

Bounded: a reader who does not keep up loses the oldest messages, never the last one. Not pure:
the reader waits on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """One JSON-RPC message as bytes. `last`: nothing follows it."""

    data: bytes
    last: bool = False


class QueueEnded(Exception):
    """Nothing will come any more."""


class MessageQueue:
    """One writer, one reader. `reading` says whether someone holds the stream open."""

    def __init__(self, *, limit: int, letters: int = 1_000) -> None:
        self._waiting: deque[bytes] = deque()
        self._limit = limit
        self._letters = letters
        self._size = 0
        self._lost = 0
        self._end: QueuedMessage | Exception | None = None
        self._bell = asyncio.Event()
        self.reading = False

    def put(self, data: bytes) -> None:
        """Leave a message; the oldest are dropped beyond `limit` bytes. The log tells of the first
        and, at the end, how many.
        """
        if self._end is not None:
            return
        self._waiting.append(data)
        self._size += len(data)
        while len(self._waiting) > self._letters or (
            self._size > self._limit and len(self._waiting) > 1
        ):
            self._size -= len(self._waiting.popleft())
            self._lost += 1
            if self._lost == 1:
                log.warning("messages.lost", extra={"waiting": len(self._waiting)})
        self._bell.set()

    def finish(self, data: bytes) -> None:
        """Leave the last message."""
        self._close(QueuedMessage(data, last=True))

    def fail(self, error: Exception) -> None:
        """End it: the reader gets what waits, then `error`."""
        self._close(error)

    def discard(self) -> None:
        """The reader is gone: drop what waits and whatever comes."""
        self._waiting.clear()
        self._size = 0
        self._end = QueueEnded()
        self._bell.set()

    async def get(self, patience: float) -> QueuedMessage | None:
        """The next message; None when none came within `patience` seconds.

        Raises:
            Ended: or what `fail` was given.
        """
        if not self._waiting and self._end is None:
            self._bell.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._bell.wait()
            except TimeoutError:
                return None
        if self._waiting:
            data = self._waiting.popleft()
            self._size -= len(data)
            return QueuedMessage(data)
        match self._end:
            case QueuedMessage() as last:
                self._end = QueueEnded()
                return last
            case Exception() as error:
                raise error
            case None:
                return None

    def _close(self, end: QueuedMessage | Exception) -> None:
        if self._end is None:
            self._end = end
            self._bell.set()
            if self._lost > 1:
                log.warning("messages.lost", extra={"lost": self._lost})
