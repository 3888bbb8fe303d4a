"""A bounded load on one MCP endpoint: raw Streamable HTTP, every answer checked, CPU by process.

python tests/bench/load.py --url http://127.0.0.1:8788/mcp/bench --pid 123 -c 16 -n 20000
Prints one JSON object. Only loopback addresses are accepted.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
import uvloop

MODERN = "2026-07-28"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
MOST_CALLS = 5_000_000
ANSWER_SECONDS = 15


@dataclass(frozen=True)
class Usage:
    """What a process tree has used: CPU seconds, resident bytes."""

    cpu: float
    rss: int


@dataclass
class Tally:
    """What came of the calls."""

    latencies: list[float] = field(default_factory=list)  # seconds
    errors: dict[str, int] = field(default_factory=dict)

    def fail(self, kind: str) -> None:
        self.errors[kind] = self.errors.get(kind, 0) + 1


def usage(pid: int) -> Usage:
    """CPU and memory of a process and its descendants, now."""
    children: dict[int, list[int]] = {}
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        fields = text.rsplit(")", 1)[1].split()
        stats[int(entry.name)] = fields
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    todo, cpu, rss = [pid], 0.0, 0
    while todo:
        one = todo.pop()
        todo += children.get(one, [])
        if one in stats:
            cpu += (int(stats[one][11]) + int(stats[one][12])) / TICKS
            rss += int(stats[one][21]) * PAGE
    return Usage(cpu, rss)


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection, one request in flight; sized and chunked answers."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self.session = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._waiting is None or self._waiting.done():
            return
        head = bytes(self._buffer[:end]).lower()
        body = self._body(head, end + 4)
        if body is not None:
            at = head.find(b"mcp-session-id:")
            if at >= 0:
                self.session = bytes(self._buffer[at + 15 : end]).split(b"\r\n", 1)[0].strip()
            self._buffer.clear()
            if b"text/event-stream" in head:
                body = _response_in(body)
            self._waiting.set_result((int(head[9:12]), body))

    def _body(self, head: bytes, start: int) -> bytes | None:
        at = head.find(b"content-length:")
        if at >= 0:
            size = int(head[at + 15 :].split(b"\r\n", 1)[0])
            body = bytes(self._buffer[start : start + size])
            return body if len(body) == size else None
        if b"chunked" not in head:
            return b""
        if not self._buffer.endswith(b"0\r\n\r\n"):
            return None
        body, rest = b"", bytes(self._buffer[start:])
        while rest:
            line, _, rest = rest.partition(b"\r\n")
            size = int(line, 16)
            body, rest = body + rest[:size], rest[size + 2 :]
            if size == 0:
                break
        return body

    async def request(self, data: bytes) -> tuple[int, bytes]:
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await asyncio.wait_for(self._waiting, ANSWER_SECONDS)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _response_in(stream: bytes) -> bytes:
    """The last message of a finished SSE answer: the response."""
    events = stream.replace(b"\r\n", b"\n").strip().split(b"\n\n")
    lines = [line[5:].strip() for line in events[-1].split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


class Agent:
    """One connection that makes calls one after another."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        self._options = options
        self._number = number
        self._made = 0
        self._connection = Connection()
        parts = urlsplit(options.url)
        self._address = (parts.hostname, parts.port)
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        ).encode()
        if options.token:
            self._head += f"Authorization: Bearer {options.token}\r\n".encode()

    @property
    def _modern(self) -> bool:
        return bool(self._options.protocol == MODERN)

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        _, self._connection = await loop.create_connection(Connection, *self._address)
        if not self._modern:
            params = {
                "protocolVersion": self._options.protocol,
                "capabilities": {},
                "clientInfo": {"name": "load", "version": "1"},
            }
            await self._rpc("initialize", params)
            if self._connection.session:
                self._head += b"Mcp-Session-Id: %s\r\n" % self._connection.session
            self._head += f"MCP-Protocol-Version: {self._options.protocol}\r\n".encode()
            message = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
            await self._connection.request(self._framed(message, b""))

    async def call(self, tally: Tally) -> None:
        self._made += 1
        mark = f"m{self._number}-{self._made}"
        params: dict[str, Any] = {
            "name": self._options.tool,
            "arguments": {"text": mark, "amount": 10},
        }
        started = time.perf_counter()
        try:
            status, message = await self._rpc("tools/call", params, self._options.tool)
        except (OSError, TimeoutError, ValueError) as error:
            tally.fail(type(error).__name__)
            return
        seconds = time.perf_counter() - started
        result = message.get("result")
        if status != 200 or not isinstance(result, dict):
            tally.fail(f"http_{status}")
        elif message.get("id") != self._made or result.get("isError"):
            tally.fail("wrong_answer")
        elif result["content"][0]["text"] != mark:
            tally.fail("wrong_echo")
        else:
            tally.latencies.append(seconds)

    async def _rpc(
        self, method: str, params: dict[str, Any], name: str = ""
    ) -> tuple[int, dict[str, Any]]:
        head = b""
        if self._modern:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
            }
            head = f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n".encode()
            head += f"Mcp-Name: {name}\r\n".encode() if name else b""
        message = {"jsonrpc": "2.0", "id": self._made, "method": method, "params": params}
        status, body = await self._connection.request(self._framed(orjson.dumps(message), head))
        return status, orjson.loads(body)

    def _framed(self, body: bytes, head: bytes) -> bytes:
        return self._head + head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def close(self) -> None:
        self._connection.close()


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Make the calls; the figures."""
    agents = [Agent(options, number) for number in range(options.concurrency)]
    for agent in agents:
        await agent.open()
    warm = Tally()
    await asyncio.gather(
        *(_several(agent, warm, 1 + options.warmup // len(agents)) for agent in agents)
    )
    tally = Tally()
    left = iter(range(min(options.calls, MOST_CALLS)))
    deadline = time.perf_counter() + options.seconds
    before, up_before = usage(options.pid), usage(options.server_pid)
    started = time.perf_counter()

    async def work(agent: Agent) -> None:
        for _ in left:
            if time.perf_counter() > deadline:
                return
            await agent.call(tally)

    await asyncio.gather(*(work(agent) for agent in agents))
    wall = time.perf_counter() - started
    after, up_after = usage(options.pid), usage(options.server_pid)
    for agent in agents:
        agent.close()
    ok = len(tally.latencies)
    ordered = sorted(tally.latencies)

    def at(share: float) -> float:
        return round(ordered[min(ok - 1, int(share * ok))] * 1e3, 3) if ok else 0.0

    return {
        "ok": ok,
        "errors": tally.errors,
        "warmup_errors": warm.errors,
        "calls_per_s": round(ok / wall, 1),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "cpu_us": round((after.cpu - before.cpu) / max(ok, 1) * 1e6, 1),
        "server_cpu_us": round((up_after.cpu - up_before.cpu) / max(ok, 1) * 1e6, 1),
        "rss_mib": round(after.rss / 2**20, 1),
    }


async def _several(agent: Agent, tally: Tally, calls: int) -> None:
    for _ in range(calls):
        await agent.call(tally)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", default="")
    parser.add_argument("--tool", default="echo")
    parser.add_argument("--protocol", default="2025-11-25")
    parser.add_argument("-c", "--concurrency", type=int, default=1)
    parser.add_argument("-n", "--calls", type=int, default=1_000)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("--server-pid", type=int, default=0)
    options = parser.parse_args()
    host = urlsplit(options.url).hostname or ""
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        sys.exit("only loopback addresses are loaded")
    print(json.dumps(uvloop.run(run(options))))


if __name__ == "__main__":
    main()
