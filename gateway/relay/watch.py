"""What ends work before it is done: the agent's hanging up, or the gateway's own stop."""

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


@asynccontextmanager
async def until(event: asyncio.Event) -> AsyncIterator[None]:
    """Run the block; once the event is set, leave it where it waits, without an error."""
    watcher = asyncio.create_task(event.wait(), name="stop watch")
    try:
        async with asyncio.timeout(None) as limit:

            def leave(_: object) -> None:
                limit.reschedule(0)

            watcher.add_done_callback(leave)
            try:
                yield
            finally:
                watcher.remove_done_callback(leave)
    except TimeoutError:
        if not event.is_set():
            raise
    finally:
        watcher.cancel()
