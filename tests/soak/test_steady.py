"""What only shows after hours: memory over very many calls, and ten thousand idle connections."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.live_gateway import ROOT, Site, accepts, end, eventually, free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("steady")]
CALLS = int(os.environ.get("SIGNOFF_STEADY_CALLS", "1000000"))
PARTS = 10
BYTES_A_CALL = 20
"""Growth of memory that would still be noise: 20 MB over a million calls."""

IDLE, AT_ONCE = 10_000, 100


@contextmanager
def quick_server() -> Iterator[str]:
    """A server that costs next to nothing; its URL."""
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "uvicorn", "upstream:app", "--app-dir", "tests/bench",
            "--port", str(port), "--no-access-log", "--log-level", "error",
        ],
        cwd=ROOT,
        text=True,
    )  # fmt: skip
    try:
        eventually(lambda: accepts(port))
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        end(process)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with quick_server() as url:
        site = Site(tmp_path)
        site.policy(tools={"echo": {}})
        site.servers(bench={"url": url})
        site.start()
        try:
            yield site
        finally:
            site.stop()


def resident(pid: int) -> int:
    """Bytes of memory now."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


@pytest.mark.parametrize("path", ["/mcp/bench", "/mcp"])
def test_memory_stays_flat_over_very_many_calls(site: Site, path: str) -> None:
    assert site.process is not None
    calls = CALLS if path != "/mcp" else CALLS // 10
    sizes: list[int] = []
    tool = "bench__echo" if path == "/mcp" else "echo"
    for _ in range(PARTS):
        done = subprocess.run(
            [
                sys.executable, "tests/bench/load.py", "--url", f"{site.url}{path}",
                "--token", site.grant("load"), "--tool", tool, "--protocol", "2026-07-28",
                "-c", "16", "-n", str(calls // PARTS), "--seconds", "100000",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
        told = json.loads(done.stdout)
        assert (told["ok"], told["errors"]) == (calls // PARTS, {})
        sizes.append(resident(site.process.pid))
    warm = sizes[PARTS // 5 :]  # caches are full by then
    each = calls // PARTS
    middle = (len(warm) - 1) / 2
    mean = sum(warm) / len(warm)
    slope = sum((place - middle) * (size - mean) for place, size in enumerate(warm))
    slope /= sum((place - middle) ** 2 for place in range(len(warm)))
    print(
        f"\n{path}: {calls} calls, {sizes[0] >> 20} MiB after the first {each},"
        f" {sizes[-1] >> 20} MiB at the end, {slope / each:.1f} bytes a call"
    )
    assert slope / each < max(BYTES_A_CALL, 2_000_000 / calls)


def test_ten_thousand_connections_at_rest_keep_nobody_waiting(site: Site) -> None:
    assert site.process is not None
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < IDLE + 1_000:
        pytest.skip(f"this user may open {limits[1]} files")
    token = site.grant("agent")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    resource.prlimit(site.process.pid, resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    before = resident(site.process.pid)
    try:
        with ExitStack() as stack:
            # Each used once and then kept, as agents' programs do; one that is not is ended.
            idle: list[socket.socket] = []
            while len(idle) < IDLE:
                some = [
                    stack.enter_context(socket.create_connection(("127.0.0.1", site.port), 10))
                    for _ in range(AT_ONCE)
                ]
                for one in some:
                    one.sendall(request(site, token))
                for one in some:
                    assert b"200 OK" in one.recv(4_096)
                idle += some
            answers = [timed(site, token) for _ in range(20)]
            assert max(answers) < 3
            for one in idle:  # they are all there
                one.setblocking(False)
                with pytest.raises(BlockingIOError):
                    one.recv(1)
            took = resident(site.process.pid) - before
            print(
                f"\n{IDLE} connections at rest: slowest answer {max(answers) * 1000:.0f} ms;"
                f" {took >> 20} MiB more memory"
            )
            began = time.monotonic()
            assert site.stop() == 0
            stopped = time.monotonic() - began
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert stopped < 15


def request(site: Site, token: str) -> bytes:
    """A call of an older revision, which needs no session here."""
    call = {"name": "echo", "arguments": {"text": "t"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).encode()
    head = (
        f"POST /mcp/bench HTTP/1.1\r\nhost: 127.0.0.1:{site.port}\r\n"
        f"authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def timed(site: Site, token: str) -> float:
    """Seconds until another agent's call is answered."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", site.port), 10) as connection:
        connection.sendall(request(site, token))
        assert b"200 OK" in connection.recv(4_096)
    return time.monotonic() - began
