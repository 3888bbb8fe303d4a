"""Our own stdin and stdout, one JSON text a line, without blocking the loop. Not pure.

Once opened, whatever else prints goes to stderr: a stray line on stdout would break the protocol.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
from collections.abc import AsyncIterator

_WAITING = 100  # lines of the host that may wait for us


class Pipes:
    """Made once a process, inside the running loop."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        self._said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # Daemons: a read that never returns must not keep the process from ending.
        threading.Thread(target=self._read, name="stdin", daemon=True).start()
        self._writer = threading.Thread(target=self._write, name="stdout", daemon=True)
        self._writer.start()

    async def lines(self) -> AsyncIterator[bytes]:
        """What the host says, until it closes our stdin or our stdout."""
        while (line := await self._lines.get()) is not None:
            yield line

    def say(self, message: bytes) -> None:
        """Tell the host one message; returns at once."""
        self._said.put(message)

    async def aclose(self) -> None:
        """Everything said has been written, if the host still reads."""
        self._said.put(None)
        await asyncio.to_thread(self._writer.join, 2.0)

    def _read(self) -> None:
        try:
            for line in sys.stdin.buffer:
                asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()
        except (OSError, ValueError):
            pass
        self._end()

    def _write(self) -> None:
        try:
            while (message := self._said.get()) is not None:
                data = memoryview(message + b"\n")
                while data:
                    data = data[self._out.write(data) :]
        except OSError:  # the host no longer reads
            self._end()

    def _end(self) -> None:
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._lines.put(None), self._loop)
