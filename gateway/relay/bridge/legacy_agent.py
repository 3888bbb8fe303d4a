"""An agent with sessions in front of a server that only speaks 2026-07-28.

Sessions, `ping`, log levels and subscriptions are the gateway's; the rest goes on as stateless
requests (`talk`), and a result that asks for more becomes questions on the request's own stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gateway.protocol.message import CAPABILITIES_KEY, VERSION_KEY, ErrorCode
from gateway.protocol.param_headers import HeaderParam
from gateway.protocol.routing_headers import outbound_headers
from gateway.relay.bridge.legacy_client import LegacyClient, LegacyClients
from gateway.relay.bridge.legacy_request import Answered, LegacyRequest, NotModern, RequestFacts
from gateway.relay.bridge.messages import (
    Id,
    Json,
    as_object,
    decoded,
    encoded,
    identifier,
    refusal,
    response,
)
from gateway.relay.bridge.notifications import Notifications
from gateway.relay.bridge.queued_answer import QueuedAnswer
from gateway.relay.bridge.translate import LEVELS, MODERN, client_capabilities, opened
from gateway.relay.upstreams.message_queue import MessageQueue, QueueEnded
from gateway.relay.upstreams.reading import Garbage, read_response
from gateway.relay.upstreams.upstream import Answer, OutcomeUnknown, Request, Upstream
from gateway.relay.upstreams.whole_answer import WholeAnswer, accepted

_PASSED = frozenset(
    {
        *("tools/list", "tools/call", "prompts/list", "prompts/get", "completion/complete"),
        *("resources/list", "resources/templates/list", "resources/read"),
    }
)
_DISCOVER_SECONDS = 30.0

HeaderParams = Callable[[str], Sequence[HeaderParam]]


class LegacyAgents:
    """Serves sessions over stateless requests."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        header_params: HeaderParams,
        still_modern: Callable[[str], Awaitable[bool]],
        answered: Answered,
        max_result: int,
        patience: float,
    ) -> None:
        """`header_params`: of a tool, by name. For the others see `Talk`."""
        self._upstream = upstream
        self._header_params = header_params
        self._still_modern = still_modern
        self._answered = answered
        self._max_result = max_result
        self._patience = patience
        self._clients = LegacyClients()

    async def initialize(self, request: Request) -> Answer:
        """Open a session, asking the server what it offers.

        Raises:
            NotModern: it does not speak 2026-07-28.
            NotSent, OutcomeUnknown: it did not say.
        """
        message = decoded(request.body) or {}
        params, rpc_id = as_object(message.get("params")), identifier(message.get("id"))
        if rpc_id is None:
            return accepted()
        declared = client_capabilities(as_object(params.get("capabilities")))
        body, headers = discovery("signoff-discover", declared)
        asked = Request(
            method="POST",
            body=body,
            grant=request.grant,
            protocol=MODERN,
            headers=headers,
            rpc_method="server/discover",
            rpc_id="signoff-discover",
        )
        try:
            async with asyncio.timeout(_DISCOVER_SECONDS):
                answer = await self._upstream.send(asked)
                try:
                    found = await read_response(answer, "signoff-discover", limit=self._max_result)
                finally:
                    await answer.aclose()
        except TimeoutError:
            raise OutcomeUnknown("no answer to server/discover") from None
        except Garbage as error:
            raise NotModern(str(error)) from error
        result = as_object((decoded(found.body) or {}).get("result"))
        if not result:
            raise NotModern(f"HTTP {found.status}")
        session = self._clients.new(declared, as_object(params.get("clientInfo")))
        said = response(rpc_id, opened(result, params.get("protocolVersion")))
        return WholeAnswer(200, said, session=session)

    async def send(self, request: Request) -> Answer:
        """Anything else in a session. See `upstream.Upstream.send`."""
        client = self._clients.find(request.session)
        if client is None:
            return WholeAnswer(404)
        if request.method == "DELETE":
            self._clients.end(request.session)
            return WholeAnswer(200, content_type="")
        if request.method == "GET":
            return await self._stream(request, client)
        message = decoded(request.body) or {}
        rpc_id, method = identifier(message.get("id")), message.get("method")
        if not isinstance(method, str):
            self._answer(client, message, rpc_id)
            return accepted()
        params = as_object(message.get("params"))
        if rpc_id is None:
            if method == "notifications/cancelled":
                self._cancelled(client, params)
            return accepted()
        return await self._request(request, client, method, rpc_id, params)

    def close(self) -> None:
        self._clients.close()

    async def _request(
        self, request: Request, client: LegacyClient, method: str, rpc_id: Id, params: Json
    ) -> Answer:
        match method:
            case "ping":
                return WholeAnswer(200, response(rpc_id, {}))
            case "logging/setLevel":
                level = params.get("level")
                if level not in LEVELS:
                    text = "level must be one of the syslog levels"
                    return refusal(rpc_id, ErrorCode.INVALID_PARAMS, text, modern=False)
                client.level = str(level)
                return WholeAnswer(200, response(rpc_id, {}))
            case "resources/subscribe" | "resources/unsubscribe":
                return self._subscribe(client, method, rpc_id, params)
            case _ if method not in _PASSED:
                return refusal(rpc_id, ErrorCode.METHOD_NOT_FOUND, "Method not found", modern=False)
        mailbox = MessageQueue(limit=self._max_result)
        tool = params.get("name") if method == "tools/call" else None
        talk = LegacyRequest(
            RequestFacts(
                grant=request.grant,
                about=request.about,
                method=method,
                id=rpc_id,
                params=params,
                header_params=self._header_params(tool) if isinstance(tool, str) else (),
            ),
            upstream=self._upstream,
            client=client,
            mailbox=mailbox,
            still_modern=self._still_modern,
            answered=self._answered,
            max_result=self._max_result,
            patience=self._patience,
        )
        task = asyncio.create_task(talk.run(), name=f"bridge {method}")
        client.running[rpc_id] = task

        def over(done: asyncio.Task[None]) -> None:
            mailbox.fail(OutcomeUnknown("cancelled"))  # where the talk has not ended it
            if client.running.get(rpc_id) is done:
                del client.running[rpc_id]

        task.add_done_callback(over)
        return await QueuedAnswer(mailbox, closed=lambda: _stop(task)).start()

    async def _stream(self, request: Request, client: LegacyClient) -> Answer:
        """The session's own stream: what changes on the server."""
        if client.inbox is not None:
            return WholeAnswer(409)
        client.inbox = mailbox = MessageQueue(limit=self._max_result)
        notifications = Notifications(
            self._upstream, client, request.grant, mailbox, max_result=self._max_result
        )
        task = asyncio.create_task(notifications.run(), name="bridge notifications")

        def closed() -> None:
            task.cancel()
            if client.inbox is mailbox:
                client.inbox = None

        task.add_done_callback(lambda _: mailbox.fail(QueueEnded()))
        return QueuedAnswer(mailbox, closed=closed)  # not started: it begins before there is any

    def _subscribe(self, client: LegacyClient, method: str, rpc_id: Id, params: Json) -> Answer:
        uri = params.get("uri")
        if not isinstance(uri, str):
            text = "uri must be a string"
            return refusal(rpc_id, ErrorCode.INVALID_PARAMS, text, modern=False)
        before = len(client.resources)
        if method == "resources/subscribe":
            client.resources.add(uri)
        else:
            client.resources.discard(uri)
        if len(client.resources) != before:
            client.changed.set()
        return WholeAnswer(200, response(rpc_id, {}))

    def _answer(self, client: LegacyClient, message: Json, rpc_id: Id | None) -> None:
        """The agent's answer to a question; one no one asked is dropped."""
        waiting = client.asked.get(rpc_id) if rpc_id is not None else None
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _cancelled(self, client: LegacyClient, params: Json) -> None:
        rpc_id = identifier(params.get("requestId"))
        task = client.running.get(rpc_id) if rpc_id is not None else None
        if task is not None:
            task.cancel()  # closes the stream towards the server, which cancels there


def _stop(task: asyncio.Task[None]) -> None:
    if not task.done():
        task.cancel()


def discovery(rpc_id: Id, declared: Json) -> tuple[bytes, dict[str, str]]:
    """A `server/discover` of our own: its body and headers."""
    params = {"_meta": {VERSION_KEY: MODERN, CAPABILITIES_KEY: declared}}
    message = {"jsonrpc": "2.0", "id": rpc_id, "method": "server/discover", "params": params}
    return encoded(message), dict(outbound_headers(MODERN, "server/discover", params))
