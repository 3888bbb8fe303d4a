"""A TCP proxy in front of a database, which freezes, cuts or resets what passes. Not a test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tests.support.patience import PATIENCE

T = TypeVar("T")


class Proxy:
    """Listens on a port of its own; its loop runs in a thread."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._refusing = False
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(self._listen())
        self.port = int(self._server.sockets[0].getsockname()[1])

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing passes in either direction, and every connection stays open; new ones too."""
        self._loop.call_soon_threadsafe(self._flows.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._flows.set)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Every connection is reset, and so is each new one."""
        self._refusing = True
        self.reset()
        try:
            yield
        finally:
            self._refusing = False

    def reset(self) -> None:
        """Reset every open connection, once."""
        self._run(self._reset())

    def close(self) -> None:
        self._refusing = True
        self._run(self._reset())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._server.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        self._flows.set()
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            _kill(writer)
            return
        there, beyond = await asyncio.open_connection(*self._target)
        self._open |= {writer, beyond}
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, beyond))
                both.create_task(self._pump(there, writer))
        finally:
            self._open -= {writer, beyond}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        sink.close()

    async def _reset(self) -> None:
        for writer in self._open:
            _kill(writer)

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)


def _kill(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of a goodbye."""
    connection: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
