"""A command server's stderr in our log: labelled, inert, bounded, and read in linear time."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import httpx2
import pytest
from structlog.testing import capture_logs

from gateway.relay.upstreams.stderr_log import LINE, LINES, WINDOW, StderrLog
from tests.support.live_gateway import Site, eventually
from tests.support.patience import PATIENCE

FORGED = '{"event":"policy.loaded","level":"info","policy":"mine"}'
LOUD = f"""
import sys, time
print({FORGED!r}, file=sys.stderr)
print("\\x1b[2J red \\u202e turned", file=sys.stderr)
print("last", end="", file=sys.stderr, flush=True)
sys.stdin.read()
"""


def told(*chunks: bytes, ended: bool = True) -> list[dict[str, object]]:
    with capture_logs() as logs:
        complaints = StderrLog("srv", lambda: 0.0)
        for chunk in chunks:
            complaints.feed(chunk)
        if ended:
            complaints.end()
    return [dict(one) for one in logs]


def test_each_line_is_an_event_under_the_servers_name() -> None:
    lines = told(b"one\ntw", b"o\r\n", b"three")
    assert [one["line"] for one in lines] == ["one", "two", "three"]
    assert {one["server"] for one in lines} == {"srv"}
    assert {one["event"] for one in lines} == {"server.stderr"}


def test_what_would_move_a_terminal_or_is_no_text_is_spelled_out() -> None:
    (line,) = told("\x1b[2J\u202ex\x00".encode() + b"\xff\n")
    assert line["line"] == "\\u001b[2J\\u202ex\\u0000�"


def test_a_long_line_is_cut_and_says_so() -> None:
    (line,) = told(b"x" * (LINE + 7) + b"\n")
    assert (len(str(line["line"])), line["cut"]) == (LINE, 7)


def test_a_flood_is_counted_and_not_kept() -> None:
    now = 0.0
    with capture_logs() as logs:
        complaints = StderrLog("srv", lambda: now)
        complaints.feed(b"again\n" * 10_000)
        now = WINDOW
        complaints.feed(b"later\n")
        complaints.end()
    assert len(logs) == LINES + 2
    assert logs[-2]["lines_dropped"] == 10_000 - LINES
    assert logs[-1]["line"] == "later"


def test_bytes_without_a_line_end_cost_what_they_are() -> None:
    """Ten times as much takes about ten times as long, whatever the machine."""

    def spent(size: int) -> float:
        complaints = StderrLog("srv", lambda: 0.0)
        began = time.process_time()
        for _ in range(size):
            complaints.feed(b"x" * 100)
        return time.process_time() - began

    few = min(spent(20_000) for _ in range(3))
    many = min(spent(200_000) for _ in range(3))
    assert many < 60 * few  # a quadratic reader: a hundred times


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_server_cannot_write_a_line_of_the_gateways_log(tmp_path: Path, form: str) -> None:
    (tmp_path / "loud.py").write_text(LOUD, encoding="utf-8")
    site = Site(tmp_path, {"SIGNOFF_LOG": form})
    site.policy(default="allow")
    site.servers(loud={"command": sys.executable, "args": [str(tmp_path / "loud.py")]})
    site.start()
    try:
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        }
        headers = {
            "Authorization": f"Bearer {site.grant()}",
            "Accept": "application/json, text/event-stream",
        }
        with pytest.raises(httpx2.TimeoutException):
            httpx2.post(f"{site.url}/mcp/loud", json=body, headers=headers, timeout=3)
        eventually(lambda: "turned" in site.log(), PATIENCE)
    finally:
        site.stop()
    lines = site.log().splitlines()
    assert not any(line.startswith(FORGED) for line in lines)
    assert "\x1b[2J" not in site.log()
    said = [line for line in lines if "server.stderr" in line]
    assert len(said) >= 2
    assert all("loud" in line for line in said)
    if form == "json":
        assert json.loads(said[0])["line"] == FORGED
