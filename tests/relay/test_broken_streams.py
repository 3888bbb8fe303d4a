"""A server's stream that breaks off: what had passed by then is what the history tells."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.bare_agent import Agent
from tests.support.live_gateway import Site, eventually
from tests.support.patience import PATIENCE
from tests.support.reviewer_desk import Desk

TOOLS = ("whole", "broken_after", "broken_before")


class Breaking(BaseHTTPRequestHandler):
    """Streams the result of a call and hangs up without ending the stream; or before the result."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # http.server's name
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        head = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] != "tools/call":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            result: dict[str, Any] = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
            if message["method"] == "server/discover":
                result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            else:
                result["tools"] = tools
            body = json.dumps({**head, "result": result}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        name = message["params"]["name"]
        answer = {"resultType": "complete", "content": [{"type": "text", "text": name}]}
        told = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "soon"}}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._event(told)
        if name != "broken_before":
            self._event({**head, "result": answer})
        if name == "whole":
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _event(self, message: dict[str, Any]) -> None:
        data = b"data: " + json.dumps(message).encode() + b"\n\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Breaking)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mcp"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("broken")
    with serving() as url:
        made = Site(folder)
        made.policy(default="allow")
        made.servers(breaking={"url": url})
        made.start()
        yield made
        made.stop()


@pytest.mark.parametrize(
    ("tool", "outcome"),
    [("whole", "succeeded"), ("broken_after", "succeeded"), ("broken_before", "outcome_unknown")],
)
def test_a_stream_that_breaks_off_is_told_by_what_had_passed(
    site: Site, tool: str, outcome: str
) -> None:
    agent = Agent(f"{site.url}/mcp/breaking", site.grant(tool), tasks=False)
    body = agent.body("tools/call", {"name": tool, "arguments": {}})
    with httpx2.Client(timeout=PATIENCE) as http:
        answer = http.post(agent.url, json=body, headers=agent.headers(body))
    assert answer.headers["content-type"] == "text/event-stream"
    assert ('"result"' in answer.text) == (outcome == "succeeded")
    desk = Desk(site.url, site.reviewer(f"for-{tool}"))
    try:
        eventually(lambda: desk.events(tool=tool)[-1:] == [outcome])
        assert desk.events(tool=tool)[-2:] == ["allowed", outcome]
    finally:
        desk.close()
    assert "Traceback" not in site.log()
