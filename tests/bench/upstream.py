"""A minimal MCP server with prepared JSON, to show a gateway's own cost. Serves all revisions;
at /sse a tool's answer comes as an event stream.

uvicorn --app-dir tests/bench upstream:app
"""

from __future__ import annotations

from typing import Any

import orjson

VERSIONS = ("2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26")
INFO = {"name": "bench", "version": "1"}
META = {"io.modelcontextprotocol/serverInfo": INFO}
TOOL = {
    "name": "echo",
    "description": "Echo the text",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}, "amount": {"type": "integer"}},
        "required": ["text"],
    },
}
CACHE = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public", "_meta": META}
LIST_OLD = orjson.dumps({"tools": [TOOL]})
LIST_NEW = orjson.dumps({"tools": [TOOL], **CACHE})
DISCOVER = orjson.dumps(
    {"supportedVersions": list(VERSIONS[:1]), "capabilities": {"tools": {}}, **CACHE}
)
NEW_TAIL = b',"isError":false,"resultType":"complete","_meta":' + orjson.dumps(META) + b"}}"
OLD_TAIL = b',"isError":false}}'
JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")


def handle(body: bytes) -> bytes | None:
    """The response to one message; None for a notification."""
    message = orjson.loads(body)
    if message.get("id") is None:
        return None
    identifier = orjson.dumps(message["id"])
    method, params = message["method"], message.get("params") or {}
    modern = "io.modelcontextprotocol/protocolVersion" in (params.get("_meta") or ())
    head = b'{"jsonrpc":"2.0","id":' + identifier + b',"result":'
    if method == "tools/call":
        text = orjson.dumps(params["arguments"].get("text", ""))
        tail = NEW_TAIL if modern else OLD_TAIL
        return head + b'{"content":[{"type":"text","text":' + text + b"}]" + tail
    if method == "initialize":
        asked = params.get("protocolVersion")
        result = orjson.dumps(
            {
                "protocolVersion": asked if asked in VERSIONS[1:] else "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": INFO,
            }
        )
    elif method == "tools/list":
        result = LIST_NEW if modern else LIST_OLD
    elif method == "server/discover":
        result = DISCOVER
    else:
        return head[:-9] + b'"error":{"code":-32601,"message":"Method not found"}}'
    return head + result + b"}"


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        return
    body, more = b"", scope["method"] == "POST"
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    answer = handle(body) if body else b""
    status = 405 if not body else 202 if answer is None else 200
    content, kind = answer or b"", JSON
    if scope["path"] == "/sse" and b'"content":[' in content:
        content, kind = b"event: message\ndata: " + content + b"\n\n", EVENTS
    headers = [kind, (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
