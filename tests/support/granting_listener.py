"""A listener on loopback that adds a grant to every request, for clients that cannot be told one.

Adds `Authorization` and ends the connection after each answer; every other byte passes as it is,
Host and Origin included, so that what is checked is what the client sent.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.patience import PATIENCE

_HEAD_BYTES = 64 * 1024
_CHUNK = 64 * 1024


@contextmanager
def granting(port: int, *, to: int, token: str) -> Iterator[None]:
    """Listen on `port` for the length of the block; requests go to the gateway at `to`."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # A client may leave at any moment; what it left unread is no one's failure.
            try:
                with suppress(OSError, asyncio.IncompleteReadError):
                    await _one_exchange(reader, writer, to, token)
            finally:
                await _closed(writer)

        server = await asyncio.start_server(handle, "127.0.0.1", port, limit=_HEAD_BYTES)
        ready.set()
        await stop.wait()
        server.close()
        tasks = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        if not ready.wait(PATIENCE):
            raise TimeoutError(f"nothing listens on {port}")
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()


async def _one_exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: int, token: str
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [field for field in fields if not field.lower().startswith(b"connection:")]
    added = [b"Authorization: Bearer " + token.encode(), b"Connection: close"]
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", to)
    try:
        up_writer.write(b"\r\n".join([line, *kept, *added]) + b"\r\n\r\n")
        sending = asyncio.create_task(_copy(reader, up_writer))
        answering = asyncio.create_task(_copy(up_reader, writer))
        # Either side's hanging up ends the exchange: that is how a client cancels.
        await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        answering.cancel()
        await asyncio.gather(sending, answering, return_exceptions=True)
    finally:
        await _closed(up_writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
