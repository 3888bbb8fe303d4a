"""The reference server as one that never heard of the other era, over HTTP and over pipes.

The SDK serves both eras at once; here what the other one sends is answered as servers answer that
do not know it: before the SDK sees it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, JSONRPCRequest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

Era = Literal["both", "legacy", "modern"]
App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
UNSUPPORTED: Final = ErrorData(
    code=-32022,
    message="Unsupported protocol version",
    data={"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": "2025-11-25"},
)
BEFORE_INITIALIZE: Final = ErrorData(code=-32602, message="Invalid request parameters")


def over_http(app: App, era: Era) -> App:
    """`app`, answering only what belongs to one era."""
    if era == "both":
        return app

    async def answer(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        named = headers.get(b"mcp-protocol-version", b"").decode()
        if era == "legacy" and named and named not in HANDSHAKE_PROTOCOL_VERSIONS:
            # Word for word what the SDK 1.x says.
            text = f"Bad Request: Unsupported protocol version: {named}."
            await _refuse(send, 400, {"code": -32600, "message": text}, "server-error")
        elif era == "modern" and named not in MODERN_PROTOCOL_VERSIONS:
            if scope["method"] != "POST":
                await _refuse(send, 405, {"code": -32600, "message": "Method Not Allowed"}, None)
                return
            event = await receive()
            rpc_id = json.loads(event["body"] or b"{}").get("id")
            await _refuse(send, 400, UNSUPPORTED.model_dump(), rpc_id)
        else:
            await app(scope, receive, send)

    return answer


async def _refuse(send: Any, status: int, error: dict[str, Any], rpc_id: Any) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": rpc_id, "error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def filtered(
    reading: Any, writing: Any, era: Era
) -> AsyncIterator[MemoryObjectReceiveStream[SessionMessage | Exception]]:
    """What comes in on a pipe, without what belongs to the other era: that is refused here."""
    put, get = anyio.create_memory_object_stream[SessionMessage | Exception](0)

    async def sort() -> None:
        async with put, reading:
            async for item in reading:
                error = None if isinstance(item, Exception) else _wrong(item.message, era)
                if error is None:
                    await put.send(item)
                else:
                    refusal = JSONRPCError(jsonrpc="2.0", id=item.message.id, error=error)
                    await writing.send(SessionMessage(refusal))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sort)
        yield get
        tasks.cancel_scope.cancel()


def _wrong(message: Any, era: Era) -> ErrorData | None:
    if era == "both" or not isinstance(message, JSONRPCRequest):
        return None
    modern = VERSION_KEY in ((message.params or {}).get("_meta") or {})
    if era == "legacy":
        return BEFORE_INITIALIZE if modern else None
    return None if modern else UNSUPPORTED
