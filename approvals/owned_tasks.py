"""Background tasks that someone keeps: the event loop holds its tasks only weakly, so one that is
kept nowhere may be collected before it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class OwnedTasks:
    """Tasks, each kept until it is done. Its length is how many run."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Run `work` as a task that is kept."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait(self, seconds: float | None) -> None:
        """Let those that run now come to their end, at most for so long; None: for ever."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def cancel(self) -> None:
        """Cancel all that run."""
        for task in self._tasks:
            task.cancel()

    async def end(self) -> None:
        """Cancel all that run and wait until they are over. What they raise is dropped."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
