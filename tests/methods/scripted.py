"""A server that answers from a script, and an agent's connection that can be hung up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

from gateway.protocol.sse import SseParser
from gateway.relay.upstreams.upstream import Answer, Request
from gateway.relay.upstreams.whole_answer import WholeAnswer

TOOL = {"name": "refund", "description": "Pay back.", "inputSchema": {"type": "object"}}


class ScriptedUpstream:
    """Lists one tool and runs it; `ran` holds the ids that its calls have on record."""

    name = "payments"

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.running = asyncio.Event()  # a call has arrived
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def send(self, request: Request) -> Answer:
        result: dict[str, Any] = {"tools": [TOOL]}
        if request.rpc_method == "tools/call":
            self.ran.append(request.about)
            self.running.set()
            await self.may_answer.wait()
            text = f"refund number {len(self.ran)}"
            result = {"content": [{"type": "text", "text": text}], "isError": False}
        body = json.dumps({"jsonrpc": "2.0", "id": request.rpc_id, "result": result}).encode()
        return WholeAnswer(200, body)

    async def ready(self, request: Request) -> None:
        """It is always open."""

    async def aclose(self) -> None:
        """Nothing is open."""


class Connection:
    """ASGI `receive` and `send` of one request, and what its agent saw."""

    def __init__(self) -> None:
        self.noted = asyncio.Event()  # the agent was told that it waits
        self._gone = asyncio.Event()
        self._sent = b""
        self._stream = False

    async def receive(self) -> MutableMapping[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self._stream = (b"content-type", b"text/event-stream") in event["headers"]
            return
        self._sent += event["body"]
        if event["body"]:
            self.noted.set()

    def hang_up(self) -> None:
        self._gone.set()

    def responses(self) -> list[dict[str, Any]]:
        """The responses among what came; of a stream, beside its notes."""
        if not self._stream:
            return [json.loads(self._sent)] if self._sent else []
        said = [json.loads(one.data) for one in SseParser().feed(self._sent) if one.data]
        return [one for one in said if "method" not in one]
