"""An honest server that thinks for as long as a test wants: it tells no one anything but its own
answer. Runs in threads of the test process.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.hostile.threads import served
from tests.support.patience import PATIENCE


@dataclass
class Bank:
    """The running server. It answers a call once `free` is set."""

    url: str = ""
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    free: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bank: Bank

    def do_POST(self) -> None:  # http.server's name
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method = message.get("method")
        if "id" not in message:
            self._send(202, b"")
            return
        result: dict[str, Any] = {}
        if method == "initialize":
            info = {"name": "bank", "version": "1"}
            able: dict[str, Any] = {"tools": {}, "resources": {}}
            result = {"protocolVersion": "2025-11-25", "capabilities": able, "serverInfo": info}
        elif method == "tools/list":
            result = {"tools": [{"name": "balance", "inputSchema": {"type": "object"}}]}
        elif method == "resources/list":
            result = {"resources": []}
        elif method == "resources/templates/list":
            templates = ("bank://statement/{id}", "tie://{id}")
            result = {"resourceTemplates": [{"name": t, "uriTemplate": t} for t in templates]}
        elif method == "resources/read":
            uri = message["params"]["uri"]
            result = {"contents": [{"uri": uri, "text": "the bank's own"}]}
        elif method == "tools/call":
            self.bank.asked.release()
            self.bank.free.wait(PATIENCE)
            result = {"content": [{"type": "text", "text": "balance is 7"}]}
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        if method == "server/discover":
            del answer["result"]
            answer["error"] = {"code": -32601, "message": "Method not found"}
        self._send(200, json.dumps(answer).encode())

    def do_GET(self) -> None:  # http.server's name
        self._send(405, b"")

    do_DELETE = do_GET  # noqa: N815 - as above

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def bank() -> Iterator[Bank]:
    """An honest server for the length of the block."""
    found = Bank()
    handler = type("Handler", (_Handler,), {"bank": found})
    with served(handler) as port:
        found.url = f"http://127.0.0.1:{port}/mcp"
        try:
            yield found
        finally:
            found.free.set()
