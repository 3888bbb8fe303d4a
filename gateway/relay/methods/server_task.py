"""A task that a server made of an approved call (SEP-2663): followed here, to its result.

The agent has the gateway's own task, or waits in place; it never learns the server's task id. A
question of the task becomes a question of the call, and its state says to which task it belongs.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from gateway.protocol.jsonrpc import ToolCall, error_body, result_body
from gateway.protocol.message import CAPABILITIES_KEY, CLIENT_KEY, VERSION_KEY
from gateway.relay.agents.request import Caller
from gateway.relay.upstreams.reading import Garbage, Response, read_response
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown, new_request_id

log = structlog.get_logger()

_STATE: Final = "signoff-task:"
_KEPT: Final = (VERSION_KEY, CAPABILITIES_KEY, CLIENT_KEY)
_POLL_MS: Final = 1_000
_QUICKEST_MS: Final = 100
_SLOWEST_MS: Final = 30_000
_MOST_FAILURES: Final = 20  # one after another, until the outcome counts as unknown
_FAREWELL_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ServerTask:
    """One task of a server."""

    id: str
    poll_ms: int = _POLL_MS

    @classmethod
    def of(cls, response: Response) -> ServerTask | None:
        """The task that the server made of the call; None if it answered otherwise."""
        result = response.message.get("result")
        if not isinstance(result, dict) or result.get("resultType") != "task":
            return None
        identifier = result.get("taskId")
        if not isinstance(identifier, str):
            raise Garbage("a task without taskId")
        return cls(identifier, _interval(result))

    @classmethod
    def resumed(cls, call: ToolCall) -> ServerTask | None:
        """The task whose question this call answers."""
        state = call.request_state or ""
        if call.answering is None or not state.startswith(_STATE):
            return None
        return cls(state.removeprefix(_STATE))

    async def answered(self, caller: Caller, call: ToolCall, *, limit: int) -> Response:
        """Bring the answers to the task's question, then follow it."""
        params = {"taskId": self.id, "inputResponses": call.input_responses or {}}
        said = await self._ask(caller, call, "tasks/update", params, limit=limit)
        if "error" in said:
            raise Garbage("tasks/update was refused")
        return await self.followed(caller, call, limit=limit)

    async def followed(self, caller: Caller, call: ToolCall, *, limit: int) -> Response:
        """The response the call would have had: the task's result, its error or its question.

        Raises:
            OutcomeUnknown: the task cannot be asked for any more.
        """
        try:
            return await self._followed(caller, call, limit=limit)
        except asyncio.CancelledError:
            with contextlib.suppress(NotSent, OutcomeUnknown, TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await self._ask(caller, call, "tasks/cancel", {"taskId": self.id}, limit=limit)
            raise

    async def _followed(self, caller: Caller, call: ToolCall, *, limit: int) -> Response:
        pause, failures = self.poll_ms, 0
        while True:
            await asyncio.sleep(pause / 1000)
            try:
                said = await self._ask(caller, call, "tasks/get", {"taskId": self.id}, limit=limit)
            except (NotSent, OutcomeUnknown) as error:
                failures += 1
                log.warning("task.not_asked", server=caller.backend.name, error=str(error))
                if failures >= _MOST_FAILURES:
                    raise OutcomeUnknown("the server's task cannot be asked for") from error
                pause = min(2 * pause, _SLOWEST_MS)
                continue
            task = said.get("result")
            if not isinstance(task, dict):
                raise OutcomeUnknown("the server forgot its task")
            failures, pause = 0, _interval(task)
            body = self._ended(call, task)
            if body is not None:
                return body

    def _ended(self, call: ToolCall, task: dict[str, Any]) -> Response | None:
        """The response, where the task's status makes one."""
        match task.get("status"):
            case "completed" if isinstance(task.get("result"), dict):
                return _response(call, {"resultType": "complete", **task["result"]})
            case "input_required":
                asked = task.get("inputRequests")
                question = {
                    "resultType": "input_required",
                    "inputRequests": asked if isinstance(asked, dict) else {},
                    "requestState": f"{_STATE}{self.id}",
                }
                return _response(call, question)
            case "failed":
                error = task.get("error")
                error = error if isinstance(error, dict) else {}
                code, text = error.get("code"), error.get("message")
                body = error_body(
                    call.id,
                    code if isinstance(code, int) else -32603,
                    text if isinstance(text, str) else "The server's task failed",
                    error.get("data"),
                )
                return Response(200, body, {"id": call.id, "error": error})
            case "cancelled":
                raise OutcomeUnknown("the server cancelled its task")
            case "completed":
                raise Garbage("a completed task without result")
            case _:
                return None

    async def _ask(
        self, caller: Caller, call: ToolCall, method: str, params: dict[str, Any], *, limit: int
    ) -> dict[str, Any]:
        rpc_id = new_request_id()
        asker = replace(caller, envelope=call.meta)  # as the call itself was sent
        request = asker.own_request(rpc_id, method, params, meta=_KEPT)
        answer = await caller.backend.upstream.send(request)
        try:
            return (await read_response(answer, rpc_id, limit=limit)).message
        finally:
            await answer.aclose()


def _response(call: ToolCall, result: dict[str, Any]) -> Response:
    message = {"jsonrpc": "2.0", "id": call.id, "result": result}
    return Response(200, result_body(call.id, result), message)


def _interval(task: dict[str, Any]) -> int:
    asked = task.get("pollIntervalMs")
    wanted = asked if isinstance(asked, int) else _POLL_MS
    return max(_QUICKEST_MS, min(wanted, _SLOWEST_MS))
