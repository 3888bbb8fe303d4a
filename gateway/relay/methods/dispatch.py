"""What happens with a message, by its method. An unknown method goes nowhere.

tools/call is judged (`calls`), tools/list is filtered (`listing`), `initialize` gets its session
sealed; everything else passes through as it is, both ways, streams included.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import structlog

from approvals.aside import aside
from approvals.model import Client
from gateway.enforcement.grants import Grant
from gateway.enforcement.guard import Guard
from gateway.enforcement.refusals import Refusal
from gateway.protocol.jsonrpc import ErrorCode, Message, client_of, encode, error_body, result_body
from gateway.protocol.routing_headers import outbound_headers
from gateway.protocol.sse import EventTooLarge
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect, leave_when_set
from gateway.relay.agents.request import Backend, Visit
from gateway.relay.agents.response import Receive, Send, reply
from gateway.relay.agents.sessions import Session, Sessions
from gateway.relay.methods.calls import Calls
from gateway.relay.methods.holding import Holding
from gateway.relay.methods.listing import LISTS, TOOLS_CHANGED, Listing
from gateway.relay.methods.replies import refuse_request, unreachable
from gateway.relay.methods.task_subscriptions import TaskListen, watches
from gateway.relay.methods.tasks import Tasks, advertised
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
        tasks: Tasks,
        task_listen: TaskListen,
        sessions: Sessions,
        max_result: int,
    ) -> None:
        self._guard = guard
        self._calls = calls
        self._holding = holding
        self._listing = listing
        self._tasks = tasks
        self._task_listen = task_listen
        self._sessions = sessions
        self._max_result = max_result

    async def post(self, visit: Visit) -> None:
        """Answer one POST."""
        message = visit.message
        if message.kind == "request":
            await self._request(visit)
        elif message.kind == "response" or message.method in _NOTIFICATIONS:
            if message.method == "notifications/cancelled" and self._holding.cancelled(visit):
                await reply(visit.send, 202)
                return
            await self._pass(visit)
        else:
            await reply(visit.send, 202)  # unknown notifications end here, unanswered

    async def _request(self, visit: Visit) -> None:
        method = visit.message.method
        if method == "tools/call":
            await self._calls.serve(visit)
        elif method in LISTS:
            await self._listing.serve(visit)
        elif method == "initialize" and not visit.modern:
            await self._initialize(visit)
        elif visit.modern and method.startswith("tasks/"):
            await self._tasks.serve(visit)
        elif visit.modern and method == "server/discover":
            await self._discover(visit)
        elif (stopped := self._stopped(visit, method)) is not None:
            await refuse_request(visit, stopped)
        elif (withheld := self._listing.withheld(visit)) is not None:
            await refuse_request(visit, withheld)
        elif visit.modern and method == "subscriptions/listen" and watches(visit):
            await self._task_listen.serve(visit, self.heard)
        elif method in _PASSED:
            await self._pass(visit)
        else:
            status = 404 if visit.modern else 200
            body = error_body(visit.message.id, ErrorCode.METHOD_NOT_FOUND, "Method not found")
            await reply(visit.send, status, body)

    def _stopped(self, visit: Visit, method: str) -> Refusal | None:
        """What the agent is told of a request that a freeze keeps from the server."""
        watched = (visit.message.params or {}).get("notifications")
        watches_resources = isinstance(watched, dict) and watched.get("resourceSubscriptions")
        if method not in _PASSED or (method in _OPEN and not watches_resources):
            return None
        return self._guard.rules.stopped(visit.grant.id, visit.backend.name)

    async def stream(
        self,
        method: str,
        grant: Grant,
        backend: Backend,
        session: Session | None,
        protocol: str,
        last_event: str,
        receive: Receive,
        send: Send,
    ) -> None:
        """GET (the server's own stream, or a resumed one) and DELETE (the end of a session)."""
        asked, last_event = resumed(last_event)
        request = Request(
            method=method,
            body=b"",
            grant=grant.id,
            protocol=protocol,
            session=session.id if session is not None else "",
            headers={"Last-Event-ID": last_event} if last_event else {},
        )
        visit = self.listener(grant, backend, session)
        responses = ResponseFilter(asked, limit=self._max_result, resumable=True)
        await self._copy(visit, request, receive, send, None, responses)

    def listener(self, grant: Grant, backend: Backend, session: Session | None) -> Visit:
        """Anyone who reads a legacy session's own stream, as a visit that asked for nothing."""
        return Visit(
            grant=grant,
            backend=backend,
            message=Message("request", "signoff", "tools/list", {}),
            modern=False,
            protocol=session.protocol if session is not None else "",
            session=session,
            receive=_never,
            send=_nowhere,
        )

    def heard(self, visit: Visit, passed: Passed) -> bytes:
        """One event of a stream without an end of its own, as the agent may have it."""
        if passed.event.data and TOOLS_CHANGED in passed.event.data:
            self._listing.changed(visit)
        return self._listing.resumed(visit.backend.name, passed)

    async def _pass(self, visit: Visit) -> None:
        message = visit.message
        headers = (
            dict(outbound_headers(visit.protocol, message.method, message.params or {}))
            if visit.modern
            else {}
        )
        request = visit.request(encode(message), headers=headers)
        responses = ResponseFilter(
            message.id,
            token=message.meta.get("progressToken"),
            limit=self._max_result,
            resumable=not visit.modern,
        )
        await self._copy(visit, request, visit.receive, visit.send, message, responses)

    async def _copy(
        self,
        visit: Visit,
        request: Request,
        receive: Receive,
        send: Send,
        message: Message | None,
        responses: ResponseFilter,
    ) -> None:
        """Send a request and hand its answer down, as it comes."""
        try:
            async with cancel_on_disconnect(receive):
                answer = await visit.backend.upstream.send(request)
                try:
                    if answer.content_type == "text/event-stream":
                        await self._stream(visit, answer, send, message, responses)
                        return
                    body = await read_json(answer, self._max_result)
                finally:
                    # Closing early is what cancels the request on the server's side.
                    await answer.aclose()
        except AgentGone:
            return
        except (NotSent, OutcomeUnknown) as error:
            await self._unreachable(visit.backend, send, message, error)
            return
        rpc_id = message.id if message is not None else None
        status, body = await aside(len(body), partial(handed_down, answer.status, body, rpc_id))
        await reply(send, status, body, headers=_headers(answer))

    async def _passed(
        self, visit: Visit, answer: Answer, responses: ResponseFilter, *, endless: bool
    ) -> AsyncIterator[bytes]:
        """The bytes of a stream that the agent may have. One without an end of its own may say that
        tools changed, or repeat a listing that the agent left too early.
        """
        async for chunk in answer.body():
            found = await responses.sift(chunk)
            parts = [self.heard(visit, one) if endless else one.encoded() for one in found]
            passed = b"".join(parts) if found else sign_of_life(chunk)
            if passed:
                yield passed

    async def _stream(
        self,
        visit: Visit,
        answer: Answer,
        send: Send,
        message: Message | None,
        responses: ResponseFilter,
    ) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    (b"content-type", b"text/event-stream"),
                    (b"cache-control", b"no-cache, no-transform"),
                    (b"x-accel-buffering", b"no"),
                ],
            }
        )
        # Streams without an end of their own would keep the gateway from stopping.
        endless = message is None or message.method == "subscriptions/listen"
        try:
            async with leave_when_set(self._holding.stopping) if endless else nullcontext():
                async for chunk in self._passed(visit, answer, responses, endless=endless):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (OutcomeUnknown, EventTooLarge):
            log.warning("server.stream_broken", server=visit.backend.name)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _discover(self, visit: Visit) -> None:
        """What the server says of itself, and that its calls may become tasks."""
        message = visit.message
        headers = dict(outbound_headers(visit.protocol, message.method, message.params or {}))
        found = await self._asked(visit, visit.request(encode(message), headers=headers))
        if found is None:
            return
        answer, response = found
        result, body = response.message.get("result"), response.body
        if isinstance(result, dict) and message.id is not None:
            told = await self._listing.instructed(visit.backend.name, advertised(result))
            body = result_body(message.id, told)
        await reply(visit.send, 200, body, headers=_headers(answer))

    async def _initialize(self, visit: Visit) -> None:
        found = await self._asked(visit, visit.request(encode(visit.message)))
        if found is None:
            return
        answer, response = found
        headers = _headers(answer)
        body, result = response.body, response.message.get("result")
        if "result" in response.message:
            sealed = self._seal(visit, answer.session, response.message)
            headers.append((b"mcp-session-id", sealed.encode("ascii")))
        if isinstance(result, dict) and visit.message.id is not None:
            told = await self._listing.instructed(visit.backend.name, result)
            body = result_body(visit.message.id, told)
        await reply(visit.send, 200, body, headers=headers)

    async def _asked(self, visit: Visit, request: Request) -> tuple[Answer, Response] | None:
        """The server's whole response, to look into. None: the agent was told why there is none."""
        message = visit.message
        try:
            answer = await visit.backend.upstream.send(request)
            try:
                if answer.status == 200 and message.id is not None:  # noqa: PLR2004 - HTTP
                    limit = self._max_result
                    return answer, await read_response(answer, message.id, limit=limit)
                body = await read_json(answer, self._max_result)
            finally:
                await answer.aclose()
        except (NotSent, OutcomeUnknown) as error:
            await self._unreachable(visit.backend, visit.send, message, error)
            return None
        status, body = handed_down(answer.status, body, message.id)
        await reply(visit.send, status, body, headers=_headers(answer))
        return None

    def _seal(self, visit: Visit, identifier: str, response: dict[str, Any]) -> str:
        info = client_of((visit.message.params or {}).get("clientInfo"))
        result = response.get("result")
        protocol = result.get("protocolVersion") if isinstance(result, dict) else None
        session = Session(
            id=identifier,
            mark=identifier or secrets.token_urlsafe(12),
            client=Client(info.name, info.version) if info else Client(),
            protocol=protocol if isinstance(protocol, str) else "",
        )
        return self._sessions.seal(session, grant=visit.grant.id, server=visit.backend.name)

    async def _unreachable(
        self, backend: Backend, send: Send, message: Message | None, error: Exception
    ) -> None:
        log.warning("server.unreachable", server=backend.name, error=str(error))
        rpc_id = message.id if message is not None else None
        text = (
            "The server gave no usable answer" if isinstance(error, Garbage) else unreachable(error)
        )
        await reply(send, 502, error_body(rpc_id, -32603, text))


async def _never() -> Any:
    """ASGI `receive` where no one is."""
    raise RuntimeError("no one sends anything here")


async def _nowhere(event: Any) -> None:
    """ASGI `send` where no one is."""


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    return [
        (name, answer.headers[key].encode("latin-1"))
        for key, name in _HANDED_DOWN.items()
        if key in answer.headers
    ]
