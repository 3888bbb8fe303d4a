"""What an agent's hanging up means for the work done for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.relay.response import Receive


class Gone(Exception):
    """The agent hung up. Never raised by our own shutdown."""


@asynccontextmanager
async def raising_gone(receive: Receive, *, after: float = 0) -> AsyncIterator[None]:
    """Cancel the block and raise `Gone` when the agent hangs up, or had already.

    With `after`, watching begins that many seconds later: most calls are over by then, and a task
    for each of them would cost more than it saves.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("needs a running task")
    gone = False
    watcher: asyncio.Task[None] | None = None

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    def begin() -> None:
        nonlocal watcher
        watcher = asyncio.create_task(watch(), name="disconnect watch")

    timer = asyncio.get_running_loop().call_later(after, begin)
    try:
        yield
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise Gone from None
        raise
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.cancel()
