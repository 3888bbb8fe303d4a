"""Requests that do not arrive take up bounded room and only so much time: on real sockets, with the
arrival's own time-out out of the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import uvicorn

from gateway.hosting import connection
from gateway.hosting.connection import Connection
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.anyio

HALF = b"POST /%s HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers `/early` without reading, anything else once the body is there."""
    more = scope["path"] != "/early"
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        more = event.get("more_body", False)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(connection, "ARRIVAL_SECONDS", 86_400.0)
    monkeypatch.setattr(connection, "MOST_ARRIVING", 20)
    config = uvicorn.Config(app, port=0, http=Connection, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0)
    yield int(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = server.force_exit = True
    await task


@asynccontextmanager
async def connected(port: int, data: bytes) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()


async def ended(streams: Streams) -> bytes:
    """What came until the other side closed."""
    async with asyncio.timeout(PATIENCE):
        return await streams[0].read()


async def test_the_request_that_began_first_makes_room_for_one_more(port: int) -> None:
    async with AsyncExitStack() as stack:
        halves = [await stack.enter_async_context(connected(port, HALF % b"")) for _ in range(20)]
        whole = await stack.enter_async_context(
            connected(port, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        )
        assert (await ended(whole)).startswith(b"HTTP/1.1 200")
        assert await ended(halves[0]) == b""
        for _, writer in halves[1:]:  # all others are still heard to the end
            writer.write(b"12345678")
        for reader, _ in halves[1:]:
            async with asyncio.timeout(PATIENCE):
                assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"


async def test_a_request_that_was_answered_early_is_not_waited_for(port: int) -> None:
    async with connected(port, HALF % b"early") as streams:
        assert (await ended(streams)).startswith(b"HTTP/1.1 200")
