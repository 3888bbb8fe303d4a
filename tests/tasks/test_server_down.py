"""A server that goes away between its list and the call: the task tries again, and counts once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.bare_agent import Agent
from tests.support.live_gateway import Site, eventually
from tests.support.patience import PATIENCE
from tests.support.reviewer_desk import Desk

LIMIT = {"counter": "once", "window": "day", "max": 1, "scope": "grant"}


class Shop:
    """A server that may close its door right after it has told its tools."""

    def __init__(self) -> None:
        self.calls = 0
        self.closing = threading.Event()  # close the door with the next list
        self.closed = threading.Event()
        self._http = self._opened(0)
        self.port = self._http.server_port

    def reopen(self) -> None:
        self.closing.clear()
        self._http = self._opened(self.port)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self.closed.set()

    def answer(self, method: str) -> dict[str, Any]:
        head = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        if method == "server/discover":
            offered = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            return head | offered
        if method == "tools/list":
            return head | {"tools": [{"name": "buy", "inputSchema": {"type": "object"}}]}
        self.calls += 1
        return {"resultType": "complete", "content": [{"type": "text", "text": "bought"}]}

    def _opened(self, port: int) -> ThreadingHTTPServer:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["content-length"])))
                result = shop.answer(message["method"])
                told = {"jsonrpc": "2.0", "id": message["id"], "result": result}
                if message["method"] == "tools/list" and shop.closing.is_set():
                    threading.Thread(target=shop.close).start()
                    shop.closed.wait(PATIENCE)
                body = json.dumps(told).encode()
                self.send_response(200)  # HTTP/1.0: the connection ends with the answer
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        ThreadingHTTPServer.allow_reuse_address = True
        made = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        made.daemon_threads = True
        made.block_on_close = False
        threading.Thread(target=made.serve_forever, daemon=True).start()
        return made


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


@pytest.fixture
def site(tmp_path: Path, shop: Shop) -> Iterator[Site]:
    made = Site(tmp_path)
    made.policy(tools={"buy": {"require_approval": True, "limits": [LIMIT]}})
    made.servers(shop={"url": f"http://127.0.0.1:{shop.port}/mcp"})
    made.start()
    yield made
    made.stop()


def test_what_was_not_sent_is_tried_again_and_takes_its_limit_once(site: Site, shop: Shop) -> None:
    agent = Agent(f"{site.url}/mcp/shop", site.grant("buyer"))
    desk = Desk(site.url, site.reviewer())
    task = agent.begin("buy", thing="hat")
    row = eventually(lambda: next(iter(desk.everything()), None))
    shop.closing.set()
    desk.approve(row["id"])
    eventually(lambda: desk.approval(row["id"])["execution"] == "not_executed")
    told = agent.get(task)
    assert (told["status"], shop.calls) == ("working", 0)
    assert "tried again" in told["statusMessage"]
    shop.reopen()
    assert agent.ended(task)["result"]["content"][0]["text"] == "bought"
    assert shop.calls == 1
    assert agent.call("buy", thing="coat").text.startswith("Rate limit reached")
    desk.close()
