"""What happens with a message, by its method. An unknown method goes nowhere.

tools/call is judged (`calls`), tools/list is filtered (`listing`), `initialize` gets its session
sealed; everything else passes through as it is, both ways, streams included.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

import structlog

from approvals.aside import aside
from approvals.model import Client
from gateway.enforcement.guard import Guard
from gateway.enforcement.refusals import Refusal
from gateway.protocol.jsonrpc import ErrorCode, RequestId, client_of, error_body, result_body
from gateway.protocol.sse import EventTooLarge
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect, leave_when_set
from gateway.relay.agents.request import AgentRequest, Backend, Caller
from gateway.relay.agents.response import EventStream, Receive, Send, reply
from gateway.relay.agents.sessions import Session, Sessions
from gateway.relay.methods.calls import Calls
from gateway.relay.methods.holding import Holding
from gateway.relay.methods.listing import Listing
from gateway.relay.methods.pinned_lists import LISTS
from gateway.relay.methods.replies import refuse_request, unreachable
from gateway.relay.methods.task_subscriptions import TaskListen, watches
from gateway.relay.methods.tasks import Tasks, advertised
from gateway.relay.methods.tool_listing import TOOLS_CHANGED, ToolListing
from gateway.relay.upstreams.reading import Garbage, Response, handed_down, read_json, read_response
from gateway.relay.upstreams.response_filter import Passed, ResponseFilter, resumed, sign_of_life
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Request

log = structlog.get_logger()

_PASSED = frozenset(
    {
        "ping",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "server/discover",
        "subscriptions/listen",
        # The tasks of 2025-11-25; those of 2026-07-28 are `tasks`'s.
        "tasks/get",
        "tasks/cancel",
        "tasks/result",
        "tasks/list",
    }
)
_OPEN = frozenset(
    {
        "ping",
        "server/discover",
        "subscriptions/listen",
        "resources/list",
    }
)
"""What passes while an operator has stopped a server too: openings, lists and news of them. They do
nothing, and a host that cannot have them takes the server for broken and drops it.
"""

_NOTIFICATIONS = frozenset(
    {
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/roots/list_changed",
        "notifications/elicitation/complete",
        "notifications/tasks/status",
    }
)
_HANDED_DOWN = {"retry-after": b"retry-after", "allow": b"allow"}


class Dispatch:
    """Routes one parsed message."""

    def __init__(
        self,
        *,
        guard: Guard,
        calls: Calls,
        holding: Holding,
        listing: Listing,
        tool_listing: ToolListing,
        tasks: Tasks,
        task_listen: TaskListen,
        sessions: Sessions,
        max_result: int,
    ) -> None:
        self._guard = guard
        self._calls = calls
        self._holding = holding
        self._listing = listing
        self._pinned = tool_listing.pinned
        self._tool_listing = tool_listing
        self._tasks = tasks
        self._task_listen = task_listen
        self._sessions = sessions
        self._max_result = max_result

    async def post(self, incoming: AgentRequest) -> None:
        """Answer one POST."""
        message = incoming.message
        if message.kind == "request":
            await self._request(incoming)
        elif message.kind == "response" or message.method in _NOTIFICATIONS:
            if message.method == "notifications/cancelled" and self._holding.cancelled(incoming):
                await reply(incoming.send, 202)
                return
            await self._pass(incoming)
        else:
            await reply(incoming.send, 202)  # unknown notifications end here, unanswered

    async def _request(self, incoming: AgentRequest) -> None:
        method, server = incoming.message.method, incoming.caller.backend.name
        if method == "tools/call":
            await self._calls.serve(incoming)
        elif method in LISTS:
            await self._listing.serve(incoming)
        elif method == "initialize" and not incoming.caller.modern:
            await self._initialize(incoming)
        elif incoming.caller.modern and method.startswith("tasks/"):
            await self._tasks.serve(incoming)
        elif incoming.caller.modern and method == "server/discover":
            await self._discover(incoming)
        elif (stopped := self._stopped(incoming, method)) is not None:
            await refuse_request(incoming, stopped)
        elif (withheld := self._pinned.withheld(server, incoming.message)) is not None:
            await refuse_request(incoming, withheld)
        elif incoming.caller.modern and method == "subscriptions/listen" and watches(incoming):
            await self._task_listen.serve(incoming, self.heard)
        elif method in _PASSED:
            await self._pass(incoming)
        else:
            status = 404 if incoming.caller.modern else 200
            body = error_body(incoming.message.id, ErrorCode.METHOD_NOT_FOUND, "Method not found")
            await reply(incoming.send, status, body)

    def _stopped(self, incoming: AgentRequest, method: str) -> Refusal | None:
        """What the agent is told of a request that a freeze keeps from the server."""
        watched = (incoming.message.params or {}).get("notifications")
        watches_resources = isinstance(watched, dict) and watched.get("resourceSubscriptions")
        if method not in _PASSED or (method in _OPEN and not watches_resources):
            return None
        return self._guard.rules.stopped(incoming.caller.grant.id, incoming.caller.backend.name)

    async def stream(
        self,
        caller: Caller,
        method: Literal["GET", "DELETE"],
        last_event: str,
        receive: Receive,
        send: Send,
    ) -> None:
        """GET (the server's own stream, or a resumed one) and DELETE (the end of a session)."""
        asked, last_event = resumed(last_event)
        request = caller.without_body(method, last_event or None)
        responses = ResponseFilter(asked, limit=self._max_result, resumable=True)
        # What is heard here is followed up in the session's revision; a GET need not name it.
        session = caller.session
        listener = replace(caller, revision=session.protocol if session is not None else "")
        await self._copy(listener, request, responses, receive, send)

    def heard(self, caller: Caller, passed: Passed) -> bytes:
        """One event of a stream without an end of its own, as the agent may have it."""
        if passed.event.data and TOOLS_CHANGED in passed.event.data:
            self._tool_listing.changed(caller)
        return self._pinned.resumed(caller.backend.name, passed)

    async def _pass(self, incoming: AgentRequest) -> None:
        message, caller = incoming.message, incoming.caller
        responses = ResponseFilter(
            message.id,
            token=message.meta.get("progressToken"),
            limit=self._max_result,
            resumable=not caller.modern,
        )
        request = incoming.passed_on()
        await self._copy(caller, request, responses, incoming.receive, incoming.send)

    async def _copy(
        self,
        caller: Caller,
        request: Request,
        responses: ResponseFilter,
        receive: Receive,
        send: Send,
    ) -> None:
        """Send a request and hand its answer down, as it comes."""
        try:
            async with cancel_on_disconnect(receive):
                answer = await caller.backend.upstream.send(request)
                try:
                    if answer.content_type == "text/event-stream":
                        await self._stream(caller, request, answer, responses, send)
                        return
                    body = await read_json(answer, self._max_result)
                finally:
                    # Closing early is what cancels the request on the server's side.
                    await answer.aclose()
        except AgentGone:
            return
        except (NotSent, OutcomeUnknown) as error:
            await self._unreachable(caller.backend, send, request.rpc_id, error)
            return
        handed = partial(handed_down, answer.status, body, request.rpc_id)
        status, body = await aside(len(body), handed)
        await reply(send, status, body, headers=_headers(answer))

    async def _passed(
        self, caller: Caller, answer: Answer, responses: ResponseFilter, *, endless: bool
    ) -> AsyncIterator[bytes]:
        """The bytes of a stream that the agent may have. One without an end of its own may say that
        tools changed, or repeat a listing that the agent left too early.
        """
        async for chunk in answer.body():
            found = await responses.sift(chunk)
            parts = [self.heard(caller, one) if endless else one.encoded() for one in found]
            passed = b"".join(parts) if found else sign_of_life(chunk)
            if passed:
                yield passed

    async def _stream(
        self,
        caller: Caller,
        request: Request,
        answer: Answer,
        responses: ResponseFilter,
        send: Send,
    ) -> None:
        stream = EventStream(send, status=answer.status)
        await stream.start()
        # Streams without an end of their own would keep the gateway from stopping.
        endless = request.method != "POST" or request.rpc_method == "subscriptions/listen"
        try:
            async with leave_when_set(self._holding.stopping) if endless else nullcontext():
                async for chunk in self._passed(caller, answer, responses, endless=endless):
                    await stream.raw(chunk)
        except (OutcomeUnknown, EventTooLarge):
            log.warning("server.stream_broken", server=caller.backend.name)
        await stream.end()

    async def _discover(self, incoming: AgentRequest) -> None:
        """What the server says of itself, and that its calls may become tasks."""
        message = incoming.message
        found = await self._asked(incoming)
        if found is None:
            return
        answer, response = found
        result, body = response.message.get("result"), response.body
        if isinstance(result, dict) and message.id is not None:
            told = await self._pinned.instructed(incoming.caller.backend.name, advertised(result))
            body = result_body(message.id, told)
        await reply(incoming.send, 200, body, headers=_headers(answer))

    async def _initialize(self, incoming: AgentRequest) -> None:
        found = await self._asked(incoming)
        if found is None:
            return
        answer, response = found
        headers = _headers(answer)
        body, result = response.body, response.message.get("result")
        if "result" in response.message:
            sealed = self._seal(incoming, answer.session, response.message)
            headers.append((b"mcp-session-id", sealed.encode("ascii")))
        if isinstance(result, dict) and incoming.message.id is not None:
            told = await self._pinned.instructed(incoming.caller.backend.name, result)
            body = result_body(incoming.message.id, told)
        await reply(incoming.send, 200, body, headers=headers)

    async def _asked(self, incoming: AgentRequest) -> tuple[Answer, Response] | None:
        """The server's whole response, to look into. None: the agent was told why there is none."""
        message = incoming.message
        try:
            answer = await incoming.caller.backend.upstream.send(incoming.passed_on())
            try:
                if answer.status == HTTPStatus.OK and message.id is not None:
                    limit = self._max_result
                    return answer, await read_response(answer, message.id, limit=limit)
                body = await read_json(answer, self._max_result)
            finally:
                await answer.aclose()
        except (NotSent, OutcomeUnknown) as error:
            await self._unreachable(incoming.caller.backend, incoming.send, message.id, error)
            return None
        status, body = handed_down(answer.status, body, message.id)
        await reply(incoming.send, status, body, headers=_headers(answer))
        return None

    def _seal(self, incoming: AgentRequest, identifier: str, response: dict[str, Any]) -> str:
        info = client_of((incoming.message.params or {}).get("clientInfo"))
        result = response.get("result")
        protocol = result.get("protocolVersion") if isinstance(result, dict) else None
        session = Session(
            id=identifier,
            mark=identifier or secrets.token_urlsafe(12),
            client=Client(info.name, info.version) if info else Client(),
            protocol=protocol if isinstance(protocol, str) else "",
        )
        return self._sessions.seal(
            session, grant=incoming.caller.grant.id, server=incoming.caller.backend.name
        )

    async def _unreachable(
        self, backend: Backend, send: Send, rpc_id: RequestId | None, error: Exception
    ) -> None:
        log.warning("server.unreachable", server=backend.name, error=str(error))
        text = (
            "The server gave no usable answer" if isinstance(error, Garbage) else unreachable(error)
        )
        await reply(send, 502, error_body(rpc_id, -32603, text))


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    return [
        (name, answer.headers[key].encode("latin-1"))
        for key, name in _HANDED_DOWN.items()
        if key in answer.headers
    ]
