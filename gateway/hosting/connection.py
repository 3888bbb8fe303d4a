"""One HTTP connection: uvicorn's, with bounds on what a stranger may make it keep and wait for.

Neither uvicorn nor its parser bounds the size of a head, the time a request takes to arrive or
what stands behind a chunked body. It knows no paths and no messages. Not pure.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway import open_files

log = structlog.get_logger()

HEAD_BYTES = 64 * 1024
"""Of a request's head, of trailers or of one chunk's extension; one read of the socket may exceed
it. Agents send one or two kilobytes."""

ARRIVAL_SECONDS = 30.0
"""From its first byte, or the opening of the connection, until a request is there as a whole."""

LINGER_SECONDS = 2.0
"""For which the rest of a request may come that was answered before it was there as a whole."""

MOST_ARRIVING = 256
"""Connections at once whose request is not there yet; the one that began first goes for another."""

_WARN_EVERY = 60.0  # seconds

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Joined(asyncio.Transport):
    """A transport that sends an answer's head together with its body: one segment, for which the
    kernel works once and the agent wakes up once. What stays alone leaves with the loop's next
    turn.
    """

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._held: bytes | None = None
        self.is_closing = inner.is_closing  # type: ignore[method-assign]  # asked for each request
        self.get_extra_info = inner.get_extra_info  # type: ignore[method-assign]
        self.pause_reading = inner.pause_reading  # type: ignore[method-assign]
        self.resume_reading = inner.resume_reading  # type: ignore[method-assign]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        held = self._held
        if held is None:
            self._held = bytes(data)
            self._loop.call_soon(self._flush)
        else:
            self._held = None
            self._inner.write(held + data)

    def close(self) -> None:
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        self._inner.abort()

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self._inner.is_closing():
            self._inner.write(held)


class _Crowd:
    """The connections of one server that no one waits for, in the order they came to that."""

    def __init__(self) -> None:
        self.arriving: OrderedDict[Connection, None] = OrderedDict()  # its request is not there yet
        self.idle: OrderedDict[Connection, None] = OrderedDict()  # it was answered and is kept
        self.room = open_files.for_connections()
        self._warned_at = -_WARN_EVERY

    def make_room(self, coming: Connection) -> None:
        """Where connections and what runs on them take all there is, one that no one waits for
        goes: the longest idle, else the one that arrives for longest; else the one that comes.
        """
        now = coming.loop.time()
        if now - self._warned_at >= _WARN_EVERY:
            self._warned_at = now
            log.warning("connections.full", most=self.room)
        next(iter(self.idle or self.arriving), coming).drop()


_CROWDS: WeakKeyDictionary[Config, _Crowd] = WeakKeyDictionary()
"""By server."""


class Connection(HttpToolsProtocol):
    """A connection that ends when a request does not arrive, or its head does not end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._arrived = False  # the request that began last is there as a whole
        self._in_head = True
        self._unparsed = 0  # bytes since the parser last gave a part of a body, or an end
        self._deadline: asyncio.TimerHandle | None = None
        crowd = _CROWDS.get(config)
        self._crowd = crowd = _CROWDS.setdefault(config, _Crowd()) if crowd is None else crowd
        self._arriving, self._idle = crowd.arriving, crowd.idle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Joined(transport, self.loop))
        if len(self.connections) + len(self.tasks) > self._crowd.room:
            self._crowd.make_room(self)
        if not self.transport.is_closing():
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._idle.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._idle.pop(self, None)
        self._arrived = False
        self._unparsed += len(data)
        super().data_received(data)
        if self._arrived or self.transport.is_closing():
            self._expect_nothing()
        elif self._unparsed > HEAD_BYTES:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._deadline is None:
            self._expect()

    def on_message_begin(self) -> None:
        self._arrived, self._in_head = False, True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # The parser tells trailers as it tells headers. They come after everything was decided on
        # the head, perhaps by a proxy in front, so they must not be taken for one.
        if self._in_head:
            # White space after a value is no part of it (RFC 9110, 5.5); the parser leaves it.
            super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        self._in_head, self._unparsed = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._arrived, self._unparsed = True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        early = self.cycle is not None and self.cycle.more_body and not self._arrived
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self._idle[self] = None
        if early and self._deadline is not None and not self.transport.is_closing():
            self._deadline.cancel()
            self._deadline = self.loop.call_later(LINGER_SECONDS, self._late)

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(ARRIVAL_SECONDS, self._late)
        self._arriving.pop(self, None)
        self._arriving[self] = None
        if len(self._arriving) > MOST_ARRIVING:
            next(iter(self._arriving)).drop()

    def drop(self) -> None:
        """Give the connection's place to another."""
        self._expect_nothing()
        self._idle.pop(self, None)
        self.transport.close()

    def _expect_nothing(self) -> None:
        self._arriving.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        if self.pipeline:  # not the sender's fault: nothing is read while an earlier one runs
            self._expect()
            return
        self.transport.close()
