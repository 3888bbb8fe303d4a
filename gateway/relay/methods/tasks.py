"""The tasks extension (SEP-2663) in front of every server: a held call answers with a task at once.

Only for requests of 2026-07-28 that declare it. The approval row is the task; it is committed
before the agent hears of it, and the gateway runs what is approved (`taskrunner`), so neither the
agent's nor the gateway's restart loses anything. Tasks of the servers themselves pass through.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any, Final

import structlog

from approvals import tasks
from approvals.model import Approval, Execution
from approvals.record.database import Transaction
from approvals.seal import SealBroken
from approvals.service import Approvals
from approvals.tasks import Task
from gateway.enforcement.guard import Guard
from gateway.protocol.jsonrpc import ErrorCode, ToolCall, error_body, result_body
from gateway.protocol.message import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    LEVEL_KEY,
    TASKS_EXTENSION,
    VERSION_KEY,
)
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect
from gateway.relay.agents.request import AgentRequest, Caller
from gateway.relay.agents.response import reply
from gateway.relay.methods import task_view
from gateway.relay.methods.replies import refuse_request, unreachable
from gateway.relay.methods.task_runner import TaskRunner
from gateway.relay.upstreams.reading import handed_down, read_json, read_response
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown

log = structlog.get_logger()

METHODS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
_CANCELLED: Final = "The agent cancelled the task."
_UNKNOWN: Final = "Task not found"
_OK: Final = 200


class Tasks:
    """Makes tasks of held calls and answers for them."""

    def __init__(
        self,
        *,
        approvals: Approvals,
        guard: Guard,
        runner: TaskRunner,
        url: str,
        hold: float,
        max_result: int,
    ) -> None:
        self._approvals = approvals
        self._database = approvals.database
        self._clock = approvals.clock
        self._guard = guard
        self._runner = runner
        self._url = url
        self._hold = hold  # seconds in which a quick approval is answered without a task
        self._max_result = max_result

    def envelope(self, caller: Caller, call: ToolCall) -> dict[str, Any]:
        """Who is to be spoken for when no one waits for it any more; what else the request brought
        is kept with the approval.
        """
        kept = (VERSION_KEY, CAPABILITIES_KEY, CLIENT_KEY, LEVEL_KEY)
        meta = {key: call.meta[key] for key in kept if key in call.meta}
        return {"meta": meta, "protocol": caller.revision}

    async def begin(self, incoming: AgentRequest, approval: Approval) -> None:
        """Answer a held call with its task, which is on record already."""
        rpc_id = incoming.message.id
        if rpc_id is None:
            raise RuntimeError("a call has an id")
        self._runner.begun()
        if self._hold > 0:
            try:
                async with cancel_on_disconnect(incoming.receive):
                    result = await self._quickly(approval)
            except AgentGone:  # it never learned of the task: nothing may run for it
                await self._database.journal.write(partial(tasks.unfollow, approval_id=approval.id))
                return
            if result is not None:
                await reply(incoming.send, _OK, result_body(rpc_id, result))
                self._guard.delivered(approval.id)
                return
        told = task_view.created(approval, now=self._clock.now(), url=self._url)
        await reply(incoming.send, _OK, result_body(rpc_id, told))

    async def serve(self, incoming: AgentRequest) -> None:
        """Answer tasks/*."""
        method, params = incoming.message.method, incoming.message.params or {}
        if method not in METHODS:
            await _fail(incoming, 404, ErrorCode.METHOD_NOT_FOUND, "Method not found")
            return
        if not declares(incoming):
            await undeclared(incoming)
            return
        named = params.get("taskId")
        if not isinstance(named, str):
            await _fail(incoming, 400, ErrorCode.INVALID_PARAMS, "taskId must be a string")
            return
        if task_view.approval_id(named) is None:
            await self._pass(incoming)
            return
        task = await self.find(incoming.caller, named)
        if task is None:
            await _fail(incoming, 400, ErrorCode.INVALID_PARAMS, _UNKNOWN)
        elif method == "tasks/get":
            await self._get(incoming, task)
        elif method == "tasks/update":
            await self._update(incoming, task, params.get("inputResponses"))
        else:
            await self._database.journal.write(
                partial(tasks.cancel, approval_id=task.approval.id, why=_CANCELLED)
            )
            await _acknowledge(incoming)

    async def find(self, caller: Caller, named: str) -> Task | None:
        """The task of this grant and server; None where there is none or it is another's."""
        approval_id = task_view.approval_id(named)
        if approval_id is None:
            return None
        try:
            task = await self._database.read(
                partial(tasks.find, approval_id=approval_id, keys=self._database.keys)
            )
        except SealBroken:
            log.exception("task.seal_broken", approval=approval_id)
            return None
        if task is None:
            return None
        call = task.approval.call
        mine = call.grant == caller.grant.id and call.server == caller.backend.name
        return task if mine else None

    def detailed(self, task: Task) -> dict[str, Any]:
        """The task as its agent sees it now."""
        return task_view.shown(task, now=self._clock.now(), url=self._url)

    def told(self, task: Task, detailed: dict[str, Any]) -> None:
        """The agent has been told: if that was the end, an identical call is a new one."""
        if task_view.is_over(detailed):
            self._guard.delivered(task.approval.id)

    async def _get(self, incoming: AgentRequest, task: Task) -> None:
        detailed = self.detailed(task)
        await reply(incoming.send, _OK, result_body(incoming.message.id or 0, detailed))
        self.told(task, detailed)

    async def _update(self, incoming: AgentRequest, task: Task, given: object) -> None:
        if not isinstance(given, dict):
            await _fail(incoming, 400, ErrorCode.INVALID_PARAMS, "inputResponses must be an object")
            return
        if task.approval.execution is Execution.INPUT_REQUIRED:
            await self._database.journal.write(
                partial(self._answer, approval_id=task.approval.id, given=given)
            )
        await _acknowledge(incoming)

    def _answer(self, tx: Transaction, approval_id: str, given: dict[str, Any]) -> None:
        """Take what answers an open question; anything else is ignored (SEP-2663)."""
        task = tasks.find(tx.connection, approval_id, keys=tx.keys)
        if task is None:
            return
        asked = task.approval.round
        missing = task_view.questions(task)
        taken = {
            key: given[named] for key in missing if (named := task_view.key_of(asked, key)) in given
        }
        if taken:
            tasks.answer(
                tx,
                approval_id,
                asked=asked,
                answers={**task.answers, **taken},
                whole=len(taken) == len(missing),
            )

    async def _quickly(self, approval: Approval) -> dict[str, Any] | None:
        """The result, if the call is decided and over within the first seconds."""
        loop = asyncio.get_running_loop()
        ends, version = loop.time() + self._hold, approval.version
        while (left := ends - loop.time()) > 0:
            newer = await self._approvals.wait(approval.id, version=version, timeout=left)
            if newer is None:
                return None
            version = newer.version
            task = await self._database.read(
                partial(tasks.find, approval_id=approval.id, keys=self._database.keys)
            )
            if task is None:
                return None
            detailed = self.detailed(task)
            if detailed["status"] != "working":
                result: dict[str, Any] | None = detailed.get("result")
                return None if result is None else {"resultType": "complete", **result}
        return None

    async def _pass(self, incoming: AgentRequest) -> None:
        """A task of the server's own. A server without tasks knows none: so the agent is told."""
        message = incoming.message
        stopped = self._guard.rules.stopped(incoming.caller.grant.id, incoming.caller.backend.name)
        if stopped is not None:
            await refuse_request(incoming, stopped)
            return
        try:
            async with cancel_on_disconnect(incoming.receive):
                answer = await incoming.caller.backend.upstream.send(incoming.passed_on())
                try:
                    if answer.content_type == "text/event-stream" and message.id is not None:
                        limit = self._max_result
                        body = (await read_response(answer, message.id, limit=limit)).body
                    else:
                        body = await read_json(answer, self._max_result)
                finally:
                    await answer.aclose()
        except AgentGone:
            return
        except (NotSent, OutcomeUnknown) as error:
            log.warning("server.unreachable", server=incoming.caller.backend.name, error=str(error))
            await reply(incoming.send, 502, error_body(message.id, -32603, unreachable(error)))
            return
        if _unheard_of(body):
            await _fail(incoming, 400, ErrorCode.INVALID_PARAMS, _UNKNOWN)
            return
        await reply(incoming.send, *handed_down(answer.status, body, message.id))


def declares(incoming: AgentRequest) -> bool:
    """Whether this very request says that its client knows tasks."""
    capabilities = incoming.message.meta.get(CAPABILITIES_KEY)
    extensions = capabilities.get("extensions") if isinstance(capabilities, dict) else None
    return isinstance(extensions, dict) and isinstance(extensions.get(TASKS_EXTENSION), dict)


async def undeclared(incoming: AgentRequest) -> None:
    """Say which capability the request must declare."""
    needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}}
    text = "Missing required client capability"
    body = error_body(incoming.message.id, ErrorCode.MISSING_CAPABILITY, text, needed)
    await reply(incoming.send, 400, body)


def advertised(discovered: dict[str, Any]) -> dict[str, Any]:
    """The result of server/discover, which says that there are tasks here."""
    capabilities = discovered.get("capabilities")
    capabilities = capabilities if isinstance(capabilities, dict) else {}
    extensions = capabilities.get("extensions")
    extensions = extensions if isinstance(extensions, dict) else {}
    if TASKS_EXTENSION in extensions:
        return discovered
    offered = {**capabilities, "extensions": {**extensions, TASKS_EXTENSION: {}}}
    return {**discovered, "capabilities": offered}


def _unheard_of(body: bytes) -> bool:
    """Whether the server says that it has no such method."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return False
    error = message.get("error") if isinstance(message, dict) else None
    return isinstance(error, dict) and error.get("code") == ErrorCode.METHOD_NOT_FOUND


async def _acknowledge(incoming: AgentRequest) -> None:
    await reply(
        incoming.send, _OK, result_body(incoming.message.id or 0, {"resultType": "complete"})
    )


async def _fail(incoming: AgentRequest, status: int, code: ErrorCode, text: str) -> None:
    await reply(incoming.send, status, error_body(incoming.message.id, code, text))
