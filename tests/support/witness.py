"""A real MCP server whose only job is to remember: one fsynced line per execution.

WITNESS_FILE=… uvicorn tests.support.witness:app. Speaks every revision; tools take `key`.
The file, not anyone's answer, says what ran.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

VERSIONS = ("2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26")
INFO = {"name": "witness", "version": "1"}
META = {"io.modelcontextprotocol/serverInfo": INFO}
USUAL = "free limited denied held secret slow broken die huge garbage"
TOOLS = tuple(os.environ.get("WITNESS_TOOLS", USUAL).split())
SCHEMA = {
    "type": "object",
    "properties": {"key": {"type": "string"}, "amount": {}},
    "required": ["key"],
}
CACHE = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public", "_meta": META}
JSON = (b"content-type", b"application/json")


def definitions() -> list[dict[str, Any]]:
    """What tools/list says; a file beside the witness file may change the words."""
    note = Path(os.environ["WITNESS_FILE"] + ".description")
    words = note.read_text(encoding="utf-8") if note.exists() else "Remembers the key"
    return [{"name": name, "description": words, "inputSchema": SCHEMA} for name in TOOLS]


def remember(tool: str, arguments: dict[str, Any]) -> None:
    """One line, on disk before the answer."""
    line = json.dumps([tool, arguments.get("key"), arguments]) + "\n"
    handle = os.open(os.environ["WITNESS_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def note_headers(headers: list[tuple[bytes, bytes]]) -> None:
    """One line a request: what reached the server besides the body."""
    pairs = [[key.decode(), value.decode("latin-1")] for key, value in headers]
    with Path(os.environ["WITNESS_FILE"] + ".headers").open("a", encoding="utf-8") as file:
        file.write(json.dumps(pairs) + "\n")


def note_method(message: dict[str, Any]) -> None:
    """One line a message, whatever becomes of it."""
    with Path(os.environ["WITNESS_FILE"] + ".methods").open("a", encoding="utf-8") as file:
        file.write(f"{message.get('method', 'response')}\n")


async def called(params: dict[str, Any], *, modern: bool) -> dict[str, Any]:
    tool, arguments = params["name"], params.get("arguments") or {}
    remember(tool, arguments)
    if tool == "slow":
        await asyncio.sleep(float(arguments.get("seconds", 1)))
    if tool == "die":
        os._exit(1)
    text = f"{tool} {arguments.get('key')}"
    if tool == "huge":
        text = "x" * int(arguments.get("size", 60_000_000))
    result: dict[str, Any] = {
        "content": [{"type": "text", "text": text}],
        "isError": tool == "broken",
        "structuredContent": {"arguments": arguments},
        "future": {"kept": True},
    }
    return result | CACHE if modern else result


async def response(message: dict[str, Any]) -> dict[str, Any] | None:
    """The response to one message; None for a notification."""
    if "id" not in message:
        return None
    method, params = message["method"], message.get("params") or {}
    modern = "io.modelcontextprotocol/protocolVersion" in (params.get("_meta") or ())
    extra = CACHE if modern else {}
    result: dict[str, Any]
    if method == "tools/call":
        result = await called(params, modern=modern)
    elif method == "initialize":
        asked = params.get("protocolVersion")
        result = {
            "protocolVersion": asked if asked in VERSIONS[1:] else "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": INFO,
        }
    elif method == "tools/list":
        result = {"tools": definitions(), **extra}
    elif method == "server/discover":
        result = {"supportedVersions": [VERSIONS[0]], "capabilities": {"tools": {}}, **CACHE}
    elif method == "ping":
        result = {}
    else:
        error = {"code": -32601, "message": "Method not found"}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        return
    body, more = b"", scope["method"] == "POST"
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    note_headers(scope["headers"])
    message = json.loads(body) if body else None
    if message:
        note_method(message)
    answer = await response(message) if message else None
    status = 405 if message is None else 202 if answer is None else 200
    content = b"" if answer is None else json.dumps(answer).encode()
    if message and message.get("params", {}).get("name") == "garbage":
        content = b"<html>not MCP</html>"
    headers = [JSON, (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
