"""A server that goes wrong in every way a socket allows, tool by tool, and counts what it was sent.

Threads of the test process; what it sent and when a connection to it ended is remembered.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.hostile.threads import served

TOOLS = (
    "hangs", "half", "resets", "empty", "endless", "trickles", "redirects", "unavailable",
    "long_head", "not_json", "wrong_id", "fine",
)  # fmt: skip
NOTE = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%s"}}\n\n' % (
    b"x" * 8_000
)


@dataclass
class Faulty:
    """The running server."""

    port: int
    sent: Counter[str] = field(default_factory=Counter)  # tools/call by tool
    ended: Counter[str] = field(default_factory=Counter)  # connections the gateway closed on it
    lists: bool = True  # whether tools/list is answered
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faulty: Faulty

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        message = json.loads(body) if body else {}
        method, name = message.get("method"), message.get("params", {}).get("name", "")
        if method == "tools/call":
            self.faulty.sent[name] += 1
            getattr(self, name)(message)
        elif method == "tools/list":
            if not self.faulty.lists:
                self.hangs(message)
                return
            tools = [{"name": tool, "inputSchema": {"type": "object"}} for tool in TOOLS]
            self.result(message, {"tools": tools})
        elif "id" in message:
            info = {"serverInfo": {"name": "faulty", "version": "1"}}
            opening = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, **info}
            self.result(message, opening)
        else:
            self.whole(202, b"")

    def do_GET(self) -> None:
        self.whole(405, b"")

    def fine(self, message: Any) -> None:
        self.result(message, {"content": [{"type": "text", "text": "fine"}]})

    def hangs(self, _: Any) -> None:
        """Not one byte, for as long as the gateway has patience."""
        self.connection.settimeout(30)
        with suppress(OSError):
            if not self.connection.recv(1):
                self.faulty.ended["hangs"] += 1
        self.close_connection = True

    def half(self, _: Any) -> None:
        """The beginning of an answer, then nothing: it died after the effect."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "500")
        self.end_headers()
        self.wfile.write(b'{"jsonrpc":"2.0","id":1,"result":{"content":[')
        self.close_connection = True

    def resets(self, _: Any) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def empty(self, _: Any) -> None:
        self.whole(200, b"")

    def endless(self, _: Any) -> None:
        """Notes without end, never a response."""
        self.stream(NOTE, 0.0005)

    def trickles(self, _: Any) -> None:
        self.stream(b": still here\n\n", 0.2)

    def redirects(self, _: Any) -> None:
        self.send_response(307)
        self.send_header("Location", f"http://localhost:{self.faulty.port}/planted")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def unavailable(self, _: Any) -> None:
        self.whole(503, b"<html>Down for maintenance</html>", "text/html")

    def long_head(self, _: Any) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 1_000_000)
        self.close_connection = True

    def not_json(self, _: Any) -> None:
        self.whole(200, b"\x00\xff garbage")

    def wrong_id(self, _: Any) -> None:
        answer = {"jsonrpc": "2.0", "id": "another", "result": {"content": []}}
        self.whole(200, json.dumps(answer).encode())

    def stream(self, data: bytes, pause: float) -> None:
        name = "endless" if data is NOTE else "trickles"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            while not self.faulty.stopped.wait(pause):
                self.wfile.write(data)
        except OSError:
            self.faulty.ended[name] += 1
        self.close_connection = True

    def result(self, message: Any, result: dict[str, Any]) -> None:
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        self.whole(200, json.dumps(answer).encode())

    def whole(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()


@contextmanager
def faulty_server() -> Iterator[Faulty]:
    """A faulty server for the length of the block."""
    handler = type("Handler", (_Handler,), {})
    with served(handler) as port:
        faulty = handler.faulty = Faulty(port)  # type: ignore[attr-defined]
        try:
            yield faulty
        finally:
            faulty.stopped.set()
