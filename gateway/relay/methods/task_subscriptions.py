"""`subscriptions/listen` with task ids: what becomes of them is told as it happens (SEP-2663).

Everything else that was subscribed to is the server's to tell and passes through the same stream.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import structlog

from approvals.record.journal import RecordUnavailable
from approvals.service import Approvals
from gateway.protocol.message import Message
from gateway.protocol.sse import EventTooLarge
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect, leave_when_set
from gateway.relay.agents.request import AgentRequest, Caller
from gateway.relay.agents.response import EventStream
from gateway.relay.methods.task_view import approval_id, is_over
from gateway.relay.methods.tasks import Tasks, declares, undeclared
from gateway.relay.upstreams.response_filter import Passed, ResponseFilter
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown

log = structlog.get_logger()

Heard = Callable[[Caller, Passed], bytes]
"""One event of the server's own stream, as the agent may have it."""

ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
_PING_SECONDS: Final = 15.0
_MOST: Final = 100  # tasks of one subscription


def watches(incoming: AgentRequest) -> bool:
    """Whether this subscription names tasks."""
    return bool(_filter(incoming).get("taskIds"))


class TaskListen:
    """Serves such subscriptions."""

    def __init__(
        self, *, tasks: Tasks, approvals: Approvals, stopping: asyncio.Event, max_result: int
    ) -> None:
        self._tasks = tasks
        self._approvals = approvals
        self._stopping = stopping
        self._max_result = max_result

    async def serve(self, incoming: AgentRequest, heard: Heard) -> None:
        """Answer one subscription that names tasks."""
        if not declares(incoming):
            await undeclared(incoming)
            return
        wanted = _filter(incoming)
        named = wanted["taskIds"] if isinstance(wanted["taskIds"], list) else []
        own = [one for one in dict.fromkeys(named) if isinstance(one, str)][:_MOST]
        found = [
            one for one in own if approval_id(one) and await self._tasks.find(incoming.caller, one)
        ]
        rest = {key: value for key, value in wanted.items() if key != "taskIds"}
        foreign = [one for one in own if approval_id(one) is None]
        if foreign:
            rest["taskIds"] = foreign
        stream = EventStream(incoming.send)
        try:
            async with cancel_on_disconnect(incoming.receive), leave_when_set(self._stopping):
                await self._both(incoming, stream, found, rest, heard)
        except AgentGone:
            return
        await stream.end()

    async def _both(
        self,
        incoming: AgentRequest,
        stream: EventStream,
        found: list[str],
        rest: dict[str, Any],
        heard: Heard,
    ) -> None:
        acknowledged = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            if any(rest.values()):
                group.create_task(self._server(incoming, stream, found, rest, heard, acknowledged))
                await acknowledged.wait()
            else:
                await stream.message(_told(incoming, ACKNOWLEDGED, _agreed({}, found)))
            for one in found:
                group.create_task(self._follow(incoming, stream, one))
            while True:  # until the agent leaves or the gateway stops
                await asyncio.sleep(_PING_SECONDS)
                await stream.ping()

    async def _follow(self, incoming: AgentRequest, stream: EventStream, named: str) -> None:
        """Tell of one task until it is over."""
        said, version = b"", -1
        while True:
            try:
                task = await self._tasks.find(incoming.caller, named)
                if task is None:
                    return
                version = task.approval.version
                detailed = self._tasks.detailed(task)
                del detailed["resultType"]  # it is no result
                told = _told(incoming, "notifications/tasks", detailed)
                if told != said:
                    said = told
                    await stream.message(told)
                    self._tasks.told(task, detailed)
                if is_over(detailed):
                    return
                await self._approvals.wait(task.approval.id, version=version, timeout=_PING_SECONDS)
            except RecordUnavailable:
                await asyncio.sleep(1)

    async def _server(
        self,
        incoming: AgentRequest,
        stream: EventStream,
        found: list[str],
        rest: dict[str, Any],
        heard: Heard,
        acknowledged: asyncio.Event,
    ) -> None:
        """The server's part of the stream; where it has none the tasks are told all the same."""
        params = {**(incoming.message.params or {}), "notifications": rest}
        message = Message("request", incoming.message.id, incoming.message.method, params)
        request = replace(incoming, message=message).passed_on()
        caller = incoming.caller
        sieve = ResponseFilter(incoming.message.id, limit=self._max_result)
        try:
            answer = await caller.backend.upstream.send(request)
            try:
                streams = answer.content_type == "text/event-stream"
                async for chunk in answer.body():
                    for one in await sieve.sift(chunk) if streams else ():
                        agreed = _with_tasks(incoming, one, found)
                        await stream.raw(
                            agreed if agreed is not None else heard(incoming.caller, one)
                        )
                        if agreed is not None:
                            acknowledged.set()
            finally:
                await answer.aclose()
        except (NotSent, OutcomeUnknown, EventTooLarge) as error:
            log.warning(
                "server.stream_broken", server=incoming.caller.backend.name, error=str(error)
            )
        if not acknowledged.is_set():
            await stream.message(_told(incoming, ACKNOWLEDGED, _agreed({}, found)))
            acknowledged.set()


def _with_tasks(incoming: AgentRequest, passed: Passed, found: list[str]) -> bytes | None:
    """The server's acknowledgement with our tasks in it; None if the event is something else."""
    message = passed.message
    if message is None or message.get("method") != ACKNOWLEDGED:
        return None
    params = message.get("params")
    params = params if isinstance(params, dict) else {}
    agreed = params.get("notifications")
    agreed = agreed if isinstance(agreed, dict) else {}
    told = {**params, **_agreed(agreed, found)}
    event = replace(passed.event, data=_told(incoming, ACKNOWLEDGED, told))
    return replace(passed, event=event).encoded()


def _agreed(agreed: dict[str, Any], found: list[str]) -> dict[str, Any]:
    theirs = agreed.get("taskIds")
    ids = [*(theirs if isinstance(theirs, list) else []), *found]
    return {"notifications": {**agreed, "taskIds": ids}}


def _told(incoming: AgentRequest, method: str, params: dict[str, Any]) -> bytes:
    meta = params.get("_meta")
    meta = meta if isinstance(meta, dict) else {}
    tagged = {**params, "_meta": {**meta, _SUBSCRIPTION: incoming.message.id}}
    message = {"jsonrpc": "2.0", "method": method, "params": tagged}
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def _filter(incoming: AgentRequest) -> dict[str, Any]:
    wanted = (incoming.message.params or {}).get("notifications")
    return wanted if isinstance(wanted, dict) else {}
