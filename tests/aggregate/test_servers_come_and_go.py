"""Servers that go away keep their tools listed; those whose tools change are listed at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import agent
from tests.support.live_gateway import Site, eventually, witness
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.xdist_group("together")


def test_the_tools_of_a_server_that_went_down_stay_listed_and_are_not_sent(tmp_path: Path) -> None:
    with witness(tmp_path) as server:
        site = Site(tmp_path)
        site.policy(default="allow", hide=["secret"])
        site.servers(w={"url": server.url})
        site.start()
        try:
            url, token = f"{site.url}/mcp", site.grant("agent")
            with agent("py2-modern", url, token, log=tmp_path / "agent.log") as connected:
                before = connected.tools()
                server.process.kill()
                server.process.wait(PATIENCE)
                assert sorted(connected.tools()) == sorted(before)
                assert "Nothing was sent" in connected.call("w__free", key="k").text
            # Also for an agent that connects now, in either era.
            for client in ("py2-modern", "py2-legacy"):
                with agent(client, url, token, log=tmp_path / "agent.log") as connected:
                    assert sorted(connected.tools()) == sorted(before)
            assert server.ran() == []
        finally:
            site.stop()


class _Changing(BaseHTTPRequestHandler):
    """A legacy server that says on its GET stream when its tools change."""

    protocol_version = "HTTP/1.1"
    description = "One thing"
    changed: threading.Event
    asked: list[str]
    sessions: set[str]

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method = message["method"]
        self.asked.append(method)
        if method == "initialize":
            self.sessions.add(f"s{len(self.asked)}")
        elif self.headers.get("mcp-session-id") not in self.sessions:
            self._whole(b"", 404)
            return
        result: dict[str, Any] = {"content": [{"type": "text", "text": "ran"}]}
        if method == "initialize":
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "changing", "version": "1"},
            }
        elif method == "tools/list":
            tool = {
                "name": "t",
                "description": type(self).description,
                "inputSchema": {"type": "object"},
            }
            result = {"tools": [tool]}
        answer = {"jsonrpc": "2.0", "id": message.get("id"), "result": result}
        body = json.dumps(answer).encode() if "id" in message else b""
        self._whole(body, 200 if body else 202)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.changed.wait(PATIENCE)
        note = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        self.wfile.write(f"data: {json.dumps(note)}\n\n".encode())
        self.wfile.flush()
        self.close_connection = True

    def do_DELETE(self) -> None:
        self._whole(b"", 200)

    def _whole(self, body: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("Mcp-Session-Id", f"s{len(self.asked)}")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def changing() -> Iterator[tuple[str, type[_Changing]]]:
    """Its URL, and the handler that says how it is."""
    state = {"changed": threading.Event(), "asked": list[str](), "sessions": set[str]()}
    handler: type[_Changing] = type("Handler", (_Changing,), state)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp", handler
    finally:
        handler.changed.set()
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()


@pytest.mark.parametrize("path", ["/mcp", "/mcp/c"])
def test_tools_that_changed_are_listed_by_the_gateway_itself(tmp_path: Path, path: str) -> None:
    with changing() as (url, server):
        site = Site(tmp_path, {"SIGNOFF_LIST_REFRESH": "3600"})
        site.policy(default="allow")
        site.servers(c={"url": url, "protocol": "legacy"})
        site.start()
        try:
            token = site.grant("agent")
            tool = "c__t" if path == "/mcp" else "t"
            log = tmp_path / "agent.log"
            with agent("py2-legacy", f"{site.url}{path}", token, log=log) as connected:
                assert connected.call(tool, key="k").text == "ran"
                listed = server.asked.count("tools/list")
                server.description = "Another thing"
                server.changed.set()
                eventually(lambda: server.asked.count("tools/list") > listed)
                refused = eventually(
                    lambda: next((a for a in [connected.call(tool, key="k")] if a.refused), None)
                )
                assert refused.decision["rule"] == "(quarantined)"
        finally:
            site.stop()


def test_a_server_that_forgets_its_sessions_gets_new_ones_and_no_call_twice(tmp_path: Path) -> None:
    with changing() as (url, server), witness(tmp_path) as other:
        site = Site(tmp_path, {"SIGNOFF_LIST_REFRESH": "3600"})
        site.policy(default="allow", hide=["secret"])
        site.servers(c={"url": url, "protocol": "legacy"}, w={"url": other.url})
        site.start()
        try:
            log, token = tmp_path / "agent.log", site.grant("agent")
            with agent("py2-legacy", f"{site.url}/mcp", token, log=log) as connected:
                assert connected.call("c__t", key="k").text == "ran"
                server.sessions.clear()
                told = connected.call("c__t", key="k")
                assert told.refused
                assert told.text.startswith("Not executed: the server had ended its session.")
                assert connected.call("c__t", key="k").text == "ran"
                server.sessions.clear()
                assert {"c__t", "w__free"} <= set(connected.tools())
                assert connected.call("w__free", key="k").text == "free k"
        finally:
            site.stop()
    assert server.asked.count("initialize") == 3
