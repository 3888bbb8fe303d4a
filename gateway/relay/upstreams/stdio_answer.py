"""Answers of a stdio server in the shape of Streamable HTTP: one JSON text, or an SSE stream.

Chooses the shape by what comes first, and keeps silent streams open with comments. Not pure.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from json import dumps

from gateway.relay.upstreams.message_queue import MessageQueue, QueuedMessage, QueueEnded
from gateway.relay.upstreams.stdio_connection import Limits, PendingRequest, StdioConnection
from gateway.relay.upstreams.upstream import Answer, OutcomeUnknown
from gateway.relay.upstreams.whole_answer import WholeAnswer

EVENT_STREAM = "text/event-stream"
PING = b": ping\n\n"


def refused(status: int, text: str, *, allow: str = "") -> WholeAnswer:
    """A refusal at the level of HTTP, in the words the SDK's own servers use."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": text}}
    return WholeAnswer(status, dumps(error).encode(), headers={"allow": allow} if allow else {})


class StdioStream:
    """The answer to one request, as it comes."""

    status = 200
    session = ""
    content_type = EVENT_STREAM

    def __init__(self, channel: StdioConnection, flight: PendingRequest, limits: Limits) -> None:
        self._channel = channel
        self._flight = flight
        self._limits = limits
        self._deadline = time.monotonic() + limits.answer
        self._first: QueuedMessage | None = None
        self.headers: Mapping[str, str] = {}

    async def start(self) -> Answer:
        """Wait for what comes first. Cancelling this gives the request up as closing does.

        Raises:
            OutcomeUnknown: the process ended, or said nothing for `Limits.answer`.
        """
        try:
            self._first = await self._next()
        except BaseException:
            await self.aclose()
            raise
        if self._first is not None and self._first.last:
            return WholeAnswer(self._flight.status, self._first.data)
        return self

    async def body(self) -> AsyncIterator[bytes]:
        letter = self._first
        while True:
            yield PING if letter is None else _event(letter)
            if letter is not None and letter.last:
                return
            try:
                letter = await self._next()
            except QueueEnded:
                return

    async def aclose(self) -> None:
        self._channel.abandon(self._flight)

    async def _next(self) -> QueuedMessage | None:
        """The next message; None after a silence that deserves a comment."""
        patience = self._limits.silence
        if not self._flight.listen:  # a subscription may be silent for ever
            patience = max(0.0, min(patience, self._deadline - time.monotonic()))
        letter = await self._flight.mailbox.get(patience)
        now = time.monotonic()
        if letter is not None:
            self._deadline = now + self._limits.answer
        elif now >= self._deadline and not self._flight.listen:
            self._channel.give_up(self._flight)
            raise OutcomeUnknown("no answer in time")
        return letter


class Inbox:
    """A session's GET stream: what belongs to no request. Ends with the session."""

    status = 200
    session = ""
    content_type = EVENT_STREAM

    def __init__(self, mailbox: MessageQueue, limits: Limits) -> None:
        self._mailbox = mailbox
        self._limits = limits
        self.headers: Mapping[str, str] = {}
        mailbox.reading = True

    async def body(self) -> AsyncIterator[bytes]:
        while True:
            try:
                letter = await self._mailbox.get(self._limits.silence)
            except QueueEnded:
                return
            yield PING if letter is None else _event(letter)

    async def aclose(self) -> None:
        self._mailbox.reading = False


def _event(letter: QueuedMessage) -> bytes:
    return b"event: message\ndata: " + letter.data + b"\n\n"
