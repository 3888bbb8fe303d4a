"""A server that keeps every message it is sent, and asks back where its tool is called `asks`.

Of one revision only, so that agents of the other reach it over the bridge. Threads of the test
process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.hostile.threads import served

Json = dict[str, Any]
TOOLS = ("free", "held", "edit", "detached", "asks", "tasked")
_TEXT = {"type": "string"}
SCHEMA = {"type": "object", "properties": {"key": _TEXT, "env": _TEXT}}
_DONE = {"resultType": "complete"}


@dataclass
class Recorder:
    """The running server."""

    url: str = ""
    heard: list[Json] = field(default_factory=list)

    def calls(self, key: str) -> list[Json]:
        """The params of every tools/call with this key, in order."""
        return [
            one["params"]
            for one in self.heard
            if one.get("method") == "tools/call" and one["params"]["arguments"].get("key") == key
        ]

    def of(self, method: str) -> list[Json]:
        return [one for one in self.heard if one.get("method") == method]


def _listed(name: str) -> Json:
    more = {"execution": {"taskSupport": "optional"}} if name == "tasked" else {}
    return {"name": name, "inputSchema": SCHEMA, **more}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    modern = False
    recorder: Recorder

    def do_POST(self) -> None:  # http.server's name
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.recorder.heard.append(message)
        if "id" not in message or "method" not in message:
            self._send(202, b"")
            return
        method = message["method"]
        answer: Json = {"jsonrpc": "2.0", "id": message["id"]}
        if method in (("initialize", "ping") if self.modern else ("server/discover",)):
            answer["error"] = {"code": -32601, "message": "Method not found"}
            self._send(404 if self.modern else 200, json.dumps(answer).encode())
            return
        answer["result"] = self._result(method, message.get("params") or {})
        self._send(200, json.dumps(answer).encode())

    def _result(self, method: str, params: Json) -> Json:
        result: Json = {}
        if method == "initialize":
            info = {"name": "recorder", "version": "1"}
            able: Json = {
                "tools": {},
                "resources": {},
                "tasks": {"requests": {"tools": {"call": {}}}},
            }
            result = {"protocolVersion": "2025-11-25", "capabilities": able, "serverInfo": info}
        elif method == "server/discover":
            able = {"tools": {}, "resources": {}}
            result = {"supportedVersions": ["2026-07-28"], "capabilities": able}
        elif method == "tools/list":
            result = {"tools": [_listed(name) for name in TOOLS]}
        elif method == "tools/call":
            result = self._called(params)
        elif method == "resources/read":
            result = {"contents": [{"uri": params["uri"], "text": "read"}]}
        return {**_DONE, "ttlMs": 0, "cacheScope": "private", **result} if self.modern else result

    def _called(self, params: Json) -> Json:
        if params["name"] == "asks" and self.modern and "inputResponses" not in params:
            schema = {"type": "object", "properties": {"env": {"type": "string"}}}
            asked = {"message": "Which?", "requestedSchema": schema}
            requests = {"which_env": {"method": "elicitation/create", "params": asked}}
            return {"resultType": "input_required", "inputRequests": requests, "requestState": "s"}
        if "task" in params:
            at = "2026-01-01T00:00:00Z"
            task = {"taskId": "t1", "status": "working", "ttl": params["task"].get("ttl")}
            return {"task": {**task, "createdAt": at, "lastUpdatedAt": at}}
        return {"content": [{"type": "text", "text": f"ran {params['arguments'].get('key')}"}]}

    def do_GET(self) -> None:  # http.server's name
        self._send(405, b"")

    do_DELETE = do_GET  # noqa: N815 - as above

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if not self.modern:
            self.send_header("Mcp-Session-Id", "recorders-own")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def recorder(*, modern: bool) -> Iterator[Recorder]:
    """A recording server for the length of the block."""
    found = Recorder()
    handler = type("Handler", (_Handler,), {"modern": modern, "recorder": found})
    with served(handler) as port:
        found.url = f"http://127.0.0.1:{port}/mcp"
        yield found
