"""Background tasks are kept until they are done, and can be waited for and ended."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from approvals.owned_tasks import OwnedTasks


async def test_a_running_task_is_kept_though_its_starter_drops_it() -> None:
    owned, done = OwnedTasks(), asyncio.Event()
    signal: list[weakref.ref[asyncio.Future[None]]] = []

    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        signal.append(weakref.ref(future))
        await future
        done.set()

    owned.start(work())
    await asyncio.sleep(0)
    gc.collect()
    waited_for = signal[0]()
    assert waited_for is not None
    waited_for.set_result(None)
    await done.wait()


async def test_a_task_that_is_done_is_let_go() -> None:
    owned = OwnedTasks()
    task = owned.start(asyncio.sleep(0, "result"))
    assert len(owned) == 1
    assert await task == "result"
    await asyncio.sleep(0)
    assert len(owned) == 0


async def test_waiting_ends_with_the_time_and_leaves_what_runs_running() -> None:
    owned, stays = OwnedTasks(), asyncio.Event()
    task = owned.start(stays.wait())
    await owned.wait(0)
    assert not task.done()
    stays.set()
    await owned.wait(None)
    assert task.done()


async def test_ending_waits_for_the_last_words_of_what_is_cancelled() -> None:
    owned, said = OwnedTasks(), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            said.append("last words")

    task = owned.start(work())
    await asyncio.sleep(0)
    await owned.end()
    assert said == ["last words"]
    with pytest.raises(asyncio.CancelledError):
        task.result()
