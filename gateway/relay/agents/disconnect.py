"""What ends work before it is done: the agent's hanging up, or the gateway's own stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType

from gateway.relay.agents.response import Receive


class AgentGone(Exception):
    """The agent hung up. Never raised by our own shutdown."""


def cancel_on_disconnect(
    receive: Receive, *, after: float = 0
) -> AbstractAsyncContextManager[None]:
    """Cancel the block and raise `AgentGone` when the agent hangs up, or had already.

    With `after`, watching begins that many seconds later: most calls are over by then, and a task
    for each of them would cost more than it saves.
    """
    return _Watch(receive, after)


class _Watch:
    """A class, as every call of the newer revision passes here: a generator costs twice as much."""

    __slots__ = ("_after", "_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive, after: float) -> None:
        self._receive = receive
        self._after = after
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("needs a running task")
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(self._after, self._begin)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if isinstance(error, asyncio.CancelledError) and self._gone and self._task.uncancel() == 0:
            raise AgentGone from None

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch(), name="disconnect watch")

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()


@asynccontextmanager
async def leave_when_set(event: asyncio.Event) -> AsyncIterator[None]:
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
