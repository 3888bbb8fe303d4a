"""An answer that comes out of a mailbox: one JSON text where the first letter is the last, else a
stream. Silent streams are kept open with comments.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from gateway.protocol.sse import event
from gateway.relay.upstreams.message_queue import MessageQueue, QueuedMessage, QueueEnded
from gateway.relay.upstreams.upstream import Answer
from gateway.relay.upstreams.whole_answer import WholeAnswer

SILENCE = 15.0  # seconds, then an SSE comment
PING = b": ping\n\n"


class QueuedAnswer:
    """See `upstream.Answer`. `closed` hears that no one reads any more, whatever was read."""

    status = 200
    session = ""
    content_type = "text/event-stream"

    def __init__(
        self,
        mailbox: MessageQueue,
        *,
        closed: Callable[[], None],
        status: Callable[[bytes], int] = lambda _: 200,
    ) -> None:
        self._mailbox = mailbox
        self._closed = closed
        self._status = status
        self._first: QueuedMessage | None = None
        self.headers: Mapping[str, str] = {}

    async def start(self) -> Answer:
        """Wait for what comes first; cancelling this is closing.

        Raises:
            NotSent: or what else the mailbox ended with.
        """
        try:
            self._first = await self._mailbox.get(SILENCE)
        except BaseException:
            await self.aclose()
            raise
        if self._first is not None and self._first.last:
            await self.aclose()
            return WholeAnswer(self._status(self._first.data), self._first.data)
        return self

    async def body(self) -> AsyncIterator[bytes]:
        letter = self._first
        while True:
            yield PING if letter is None else event(letter.data, event="message")
            if letter is not None and letter.last:
                return
            try:
                letter = await self._mailbox.get(SILENCE)
            except QueueEnded:
                return

    async def aclose(self) -> None:
        self._closed()
