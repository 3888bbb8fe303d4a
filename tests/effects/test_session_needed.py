"""A call in an older revision without a session, to a server that wants one: said at the door, and
no person is asked about a call that the server would not take.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live_gateway import ROOT, Site, accepts, end, eventually, free_port

OLD_SDK = ROOT / ".venv-mcp1/bin/python"
BODY = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {
        "name": "plain",
        "arguments": {"key": "a"},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A gateway before a server of the SDK 1.x, whose tools all need a person."""
    if not OLD_SDK.exists():
        pytest.skip("the SDK 1.x is not there: make setup")
    port = free_port()
    server = subprocess.Popen(
        [
            str(OLD_SDK),
            "-m",
            "tests.bridge.legacy_server",
            str(tmp_path / "did"),
            "http",
            str(port),
        ],
        cwd=ROOT,
        stderr=sys.stderr,
        text=True,
    )
    site = Site(tmp_path / "site", {"SIGNOFF_HOLD": "0"})
    site.folder.mkdir()
    site.policy(tools={"plain": {"require_approval": True}})
    site.servers(old={"url": f"http://127.0.0.1:{port}/mcp"})
    try:
        eventually(lambda: accepts(port), 60)
        site.start()
        yield site
        site.stop()
    finally:
        end(server, signal.SIGKILL)


def ask(site: Site, method: str, path: str, token: str, document: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-06-18",
    }
    try:
        connection.request(
            method, path, None if document is None else json.dumps(document), headers
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_it_is_said_at_the_door_and_nobody_is_asked(site: Site) -> None:
    agent, reviewer = site.grant(), site.reviewer()
    for _ in range(2):
        status, answer = ask(site, "POST", "/mcp/old", agent, BODY)
        assert status == 400
        assert "needs a session" in answer["error"]["message"]
        assert "initialize" in answer["error"]["message"]
    assert ask(site, "GET", "/api/v1/pending", reviewer)[1]["total"] == 0
