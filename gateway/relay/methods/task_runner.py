"""Runs the approved calls of tasks: no one waits in place for them, so the gateway itself does it.

It looks at the record whenever something changed there, so it does not matter which gateway was
asked, who approved where, or whether this process was running then. What is run is claimed by
compare-and-set as ever: of several gateways one runs it, once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from approvals import queue, tasks
from approvals.model import Approval
from approvals.record.clock import Clock
from approvals.record.database import Database
from approvals.record.journal import RecordUnavailable
from approvals.seal import SealBroken
from approvals.tasks import Task
from approvals.wakeup import Wakeup
from gateway.enforcement import grants
from gateway.enforcement.grants import Grant
from gateway.protocol.jsonrpc import ToolCall
from gateway.relay.agents.request import Backend, Caller
from gateway.relay.methods import task_view
from gateway.relay.methods.execution import Executions, Ran
from gateway.relay.methods.outbound import stored_call
from gateway.relay.methods.progress import Progress

log = structlog.get_logger()

_LOOK_SECONDS = 1.0  # between looks where nothing rang
_QUIET_SECONDS = 5.0  # while there are no tasks: another gateway may have made one
_GAP_SECONDS = 0.02
_FIRST_PAUSE = 1.0  # before it is tried again
_LONGEST_PAUSE = 30.0
_RECORD_PAUSE = 1.0

_GRANT_ENDED = "The agent's grant has ended."
_SERVER_GONE = "The server is no longer configured."


@dataclass(frozen=True, slots=True)
class _Later:
    """A try that did not get through."""

    at: float  # the loop's time of the next one
    pause: float


class TaskRunner:
    """Finds approved tasks and runs them."""

    def __init__(
        self,
        *,
        database: Database,
        wakeup: Wakeup,
        executions: Executions,
        backends: Mapping[str, Backend],
        clock: Clock,
    ) -> None:
        self._database = database
        self._wakeup = wakeup
        self._executions = executions
        self._backends = backends
        self._clock = clock
        self._begun = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._later: dict[str, _Later] = {}

    def begun(self) -> None:
        """There is a new task."""
        self._begun.set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run what is approved until the block ends. What runs then is `Executions`' to end."""
        loop = asyncio.create_task(self._run(), name="tasks")
        try:
            yield
        finally:
            waiting = [loop, *self._running.values()]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._begun.clear()
            try:
                with self._wakeup.waiting(None) as waiter:
                    while await self._look():
                        await waiter.wait(_LOOK_SECONDS)
                        await asyncio.sleep(_GAP_SECONDS)
            except RecordUnavailable:
                log.warning("record.unavailable", what="tasks")
                await asyncio.sleep(_RECORD_PAUSE)
                continue
            except Exception:  # a loop that must live on; it logs and looks again
                log.exception("tasks.failed")
                await asyncio.sleep(_RECORD_PAUSE)
                continue
            try:
                async with asyncio.timeout(_QUIET_SECONDS):
                    await self._begun.wait()
            except TimeoutError:
                pass

    async def _look(self) -> bool:
        """Start what may run, give up what is no longer wanted; whether there is any task."""
        now, moment = self._clock.now(), time.monotonic()
        sent = self._executions.running
        waiting = {name for name, later in self._later.items() if later.at > moment}
        but = (*self._running, *waiting)

        def read(connection: Any) -> tuple[list[str], list[str], bool]:
            unwanted = tasks.cancelled(connection, sent) if sent else []
            due = tasks.runnable(connection, now, but=but)
            return due, unwanted, tasks.any_live(connection)

        due, unwanted, any_live = await self._database.read(read)
        for approval_id in unwanted:
            self._executions.abandon(approval_id)
        for approval_id in due:
            task = asyncio.create_task(self._serve(approval_id), name=f"task {approval_id}")
            self._running[approval_id] = task
            task.add_done_callback(partial(self._served, approval_id))
        for name, later in list(self._later.items()):
            if later.at + _LONGEST_PAUSE < moment and name not in self._running:
                del self._later[name]
        return any_live

    def _served(self, approval_id: str, done: asyncio.Task[None]) -> None:
        self._running.pop(approval_id, None)
        if not done.cancelled() and done.exception() is not None:
            log.error("task.failed", approval=approval_id, exc_info=done.exception())

    async def _serve(self, approval_id: str) -> None:
        """Run one task's call, or its next round."""
        before = self._later.get(approval_id)
        pause = _FIRST_PAUSE if before is None else min(2 * before.pause, _LONGEST_PAUSE)
        # Whatever happens, it is not tried again at once.
        self._later[approval_id] = _Later(time.monotonic() + pause, pause)
        try:
            task, grant = await self._database.read(partial(self._read, approval_id))
            if task is None:
                return
            await self._send(task, grant)
        except RecordUnavailable:
            log.warning("record.unavailable", approval=approval_id)
        except SealBroken:
            log.exception("task.seal_broken", approval=approval_id)

    def _read(self, approval_id: str, connection: Any) -> tuple[Task | None, Grant | None]:
        task = tasks.find(connection, approval_id, keys=self._database.keys)
        if task is None:
            return None, None
        return task, grants.by_id(connection, task.approval.call.grant)

    async def _send(self, task: Task, grant: Grant | None) -> None:
        approval = task.approval
        backend = self._backends.get(approval.call.server)
        if grant is None or not grant.usable(self._clock.now()):
            await self._supersede(approval, _GRANT_ENDED)
            return
        if backend is None or not grant.reaches(backend.name):
            await self._supersede(approval, _SERVER_GONE)
            return
        caller = _caller(task, grant, backend)
        outcome = await self._executions.run(caller, _call(task), approval, Progress.silent())
        if isinstance(outcome, Ran):
            self._later.pop(approval.id, None)
            if outcome.asks is not None:
                await self._asked(outcome.asks)

    async def _asked(self, approval: Approval) -> None:
        """A question that asks nothing (the server only wants to be asked again) is answered."""
        found = await self._database.read(
            partial(tasks.find, approval_id=approval.id, keys=self._database.keys)
        )
        if found is None or task_view.questions(found):
            return
        pause = _Later(time.monotonic() + _FIRST_PAUSE, _FIRST_PAUSE)
        self._later[approval.id] = pause
        await self._database.journal.write(
            partial(
                tasks.answer,
                approval_id=approval.id,
                asked=approval.round,
                answers={},
                whole=True,
            )
        )

    async def _supersede(self, approval: Approval, why: str) -> None:
        await self._database.journal.write(
            partial(queue.supersede, approval_id=approval.id, why=why)
        )


def _caller(task: Task, grant: Grant, backend: Backend) -> Caller:
    """The agent that made the task, as far as servers and listings look at it."""
    return Caller(
        grant=grant,
        backend=backend,
        modern=True,
        revision=task.envelope["protocol"],
        session=None,
        envelope=task.envelope["meta"],
    )


def _call(task: Task) -> ToolCall:
    """The call as it is sent: from the start, or on with the answers to the latest question."""
    call = stored_call(task.approval, task.envelope["meta"])
    asked = task.approval.round
    if not asked:
        return call
    extra: dict[str, Any] = {"inputResponses": task.answers}
    state = task_view.server_state(task)
    if state is not None:
        extra["requestState"] = state
    return replace(call, extra=extra, answering=asked)
