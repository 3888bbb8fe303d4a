"""Answers to agents over ASGI: one JSON body, or a stream of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from gateway.protocol.sse import event

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream"


async def reply(
    send: Send,
    status: int,
    body: bytes = b"",
    *,
    content_type: bytes = JSON,
    headers: Headers = (),
) -> None:
    """One whole answer."""
    fields = [*headers, (b"content-length", b"%d" % len(body))]
    if body:
        fields.append((b"content-type", content_type))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def begin_stream(send: Send, *, status: int = 200, headers: Headers = ()) -> None:
    """The head of an SSE answer; pieces of its body follow, and one that says it is the last."""
    fields = [
        (b"content-type", EVENT_STREAM),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})


class EventStream:
    """An SSE answer that several may write to, started by its first event or comment."""

    def __init__(self, send: Send, headers: Headers = (), *, status: int = 200) -> None:
        self._send = send
        self._status = status
        self._headers = headers
        self._lock = asyncio.Lock()
        self.started = False
        self._ended = False

    async def start(self) -> None:
        if self.started:
            return
        self.started = True
        await begin_stream(self._send, status=self._status, headers=self._headers)

    async def raw(self, data: bytes) -> None:
        async with self._lock:
            if self._ended:
                return  # a note of a call that runs on after its agent was let go
            await self.start()
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def message(self, data: bytes) -> None:
        """One JSON-RPC message as one event."""
        await self.raw(event(data, event="message"))

    async def ping(self) -> None:
        """A comment: keeps proxies and read time-outs quiet, means nothing to the client."""
        await self.raw(b": ping\n\n")

    async def end(self) -> None:
        async with self._lock:
            await self.start()
            self._ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
