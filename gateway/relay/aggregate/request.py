"""One message at `/mcp`, and the requests to servers that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.enforcement.grants import Grant
from gateway.protocol.jsonrpc import Message, error_body, result_body
from gateway.protocol.sse import Blocks
from gateway.relay.agents.request import AgentRequest, Backend, Caller
from gateway.relay.agents.response import Headers, Receive, Send, reply
from gateway.relay.aggregate.ids import ids_to_agent
from gateway.relay.aggregate.names import Names
from gateway.relay.aggregate.session import AggregateSession
from gateway.relay.upstreams.reading import http_status

_SERVER_INFO = "io.modelcontextprotocol/serverInfo"


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateRequest:
    """One parsed POST to the URL of all servers, as far as the door has proven it."""

    grant: Grant
    backends: Mapping[str, Backend]  # those the grant reaches, in the file's order
    names: Names
    message: Message
    modern: bool
    protocol: str
    bundle: AggregateSession | None  # legacy only; None before `initialize`
    receive: Receive
    send: Send

    async def caller(self, server: str) -> Caller:
        """Who asks, as one server sees it.

        Raises:
            NotOpened: legacy, and the server gives no session.
        """
        backend = self.backends[server]
        session = None
        if self.bundle is not None:
            session = (await self.bundle.session(self.grant, backend)).session
        return Caller(
            grant=self.grant,
            backend=backend,
            modern=self.modern,
            revision=session.protocol if session is not None else self.protocol,
            session=session,
            envelope=self.message.meta,
        )

    async def part(
        self, server: str, message: Message | None = None, *, send: Send | None = None
    ) -> AgentRequest:
        """The request to one server in which `message` is this one, or its part of it.

        Raises:
            NotOpened: legacy, and the server gives no session.
        """
        return AgentRequest(
            caller=await self.caller(server),
            message=message or self.message,
            receive=self.receive,
            send=send or self.send,
        )

    def asking(self, **params: Any) -> Message:
        """This request with other params."""
        return replace(self.message, params={**(self.message.params or {}), **params})

    async def answer(
        self, result: dict[str, Any], *, cached: bool = False, headers: Headers = ()
    ) -> None:
        """Give the agent a result of the gateway's own; `cached`: of a kind that clients keep."""
        if self.message.id is None:
            raise RuntimeError("a request has an id")
        if self.modern:
            result = {"resultType": "complete", **result}
            result["_meta"] = {_SERVER_INFO: IDENTITY, **result.get("_meta", {})}
            if cached:  # what is listed depends on the grant, and on a policy that may change
                result |= {"ttlMs": 0, "cacheScope": "private"}
        await reply(self.send, 200, result_body(self.message.id, result), headers=headers)

    async def error(self, code: int, text: str, data: dict[str, Any] | None = None) -> None:
        """Give the agent an error of the gateway's own."""
        body = error_body(self.message.id, code, text, data)
        await reply(self.send, http_status(body, modern=self.modern), body)


IDENTITY: Mapping[str, str] = {"name": "signoff", "version": "1"}
"""What the gateway calls itself where it answers in no one's place."""


class AnswerRewriter:
    """ASGI `send` for one server's answer to an agent of all servers: marks the ids the agent must
    answer to, and keeps a lost session of one server from ending the agent's own.
    """

    def __init__(
        self, server: str, send: Send, *, tokens: Mapping[str, str] | None, max_block: int
    ) -> None:
        """`tokens`: see `ids_to_agent`."""
        self._server = server
        self._tokens = tokens
        self._send = send
        self._blocks: Blocks | None = None
        self._max_block = max_block
        self.gone = False  # the server answered that there is no such session

    async def __call__(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self.gone = event["status"] == 404  # noqa: PLR2004 - HTTP
            kinds = [value for name, value in event["headers"] if name == b"content-type"]
            if kinds == [b"text/event-stream"]:
                self._blocks = Blocks(self._max_block)
        if self.gone:
            return
        if self._blocks is not None and event["type"] == "http.response.body":
            blocks = self._blocks.feed(event.get("body", b""))
            told = [ids_to_agent(self._server, one, self._tokens) for one in blocks]
            event = {**event, "body": b"".join(told)}
        await self._send(event)


async def nowhere(event: Any) -> None:
    """ASGI `send` of an answer no one waits for."""
