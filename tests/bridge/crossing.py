"""The bridge alone, between requests written by hand and real servers that know one era only."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from gateway.protocol.routing_headers import outbound_headers
from gateway.relay.bridge.bridge import Bridge
from gateway.relay.upstreams.http import HttpUpstream, pooled_session
from gateway.relay.upstreams.stdio import StdioUpstream
from gateway.relay.upstreams.stdio_connection import Limits
from gateway.relay.upstreams.upstream import Answer, Request
from gateway.servers import Protocol
from tests.support import forked
from tests.support.live_gateway import ROOT, Process, accepts, end, eventually, free_port

Era = Literal["legacy", "modern"]
Way = Literal["http", "stdio"]
Json = dict[str, Any]

LEGACY, MODERN = "2025-11-25", "2026-07-28"
META = "io.modelcontextprotocol/"
EVERYTHING: Json = {"elicitation": {}, "sampling": {}, "roots": {}}
ANSWERS: Json = {
    "elicitation/create": {"action": "accept", "content": {"name": "Ada"}},
    "sampling/createMessage": {
        "role": "assistant",
        "content": {"type": "text", "text": "a poem"},
        "model": "m",
        "stopReason": "endTurn",
    },
    "roots/list": {"roots": [{"uri": "file:///home/ada"}]},
}
SAID = {"greet": "Hello Ada", "compose": "Made: a poem", "whereabouts": "file:///home/ada"}
"""What the asking tools say after those answers."""

SECONDS = 30.0
"""A test's patience."""

BOTH = pytest.mark.parametrize("way", ["http", "stdio"])
_MCP1 = ROOT / ".venv-mcp1" / "bin" / "python"
LIMIT = 1 << 20


def command(era: Era, file: Path) -> list[str]:
    """How the server of an era is started; `stdio` or `http PORT` follows."""
    if era == "modern":
        return [sys.executable, "-m", "tests.bridge.modern_server", str(file)]
    if not _MCP1.exists():
        pytest.skip("mcp 1.x is not installed: make setup")
    return [str(_MCP1), "-m", "tests.bridge.legacy_server", str(file)]


def _started(argv: list[str]) -> Process:
    if argv[0] == sys.executable:
        return forked.begin(argv[2:], folder=ROOT, environ=os.environ, log=2)
    return subprocess.Popen(argv, cwd=ROOT, text=True, stderr=subprocess.DEVNULL)


@contextmanager
def served(era: Era, file: Path, *, port: int = 0) -> Iterator[str]:
    """The server over HTTP; its URL."""
    port = port or free_port()
    process = _started([*command(era, file), "http", str(port)])
    try:
        eventually(lambda: accepts(port))
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        end(process, signal.SIGKILL)


@asynccontextmanager
async def bridge(
    url: str, *, protocol: Protocol = "auto", patience: float = 30
) -> AsyncIterator[Bridge]:
    """The bridge in front of a server at a URL."""
    async with pooled_session() as client:
        upstream = HttpUpstream("it", url, headers={}, timeout=patience, client=client)
        made = _bridged(upstream, protocol=protocol, timeout=patience)
        try:
            yield made
        finally:
            await made.aclose()


@asynccontextmanager
async def piped(
    era: Era, file: Path, *, shared: bool = False, patience: float = 30
) -> AsyncIterator[Bridge]:
    """The bridge in front of a server it starts as a command."""
    program, *args = [*command(era, file), "stdio"]
    limits = Limits(answer=patience)
    upstream = StdioUpstream("it", program, args, cwd=str(ROOT), shared=shared, limits=limits)
    made = _bridged(upstream, timeout=patience, refused=upstream.forget_modern)
    try:
        yield made
    finally:
        await made.aclose()


@asynccontextmanager
async def crossing(way: Way, era: Era, folder: Path) -> AsyncIterator[tuple[Bridge, Path]]:
    """The bridge in front of one server, and the file that says what the server did."""
    file = folder / f"{era}.jsonl"
    if way == "stdio":
        async with piped(era, file) as made:
            yield made, file
    else:
        with served(era, file) as url:
            async with bridge(url) as made:
                yield made, file


def _bridged(upstream: Any, **more: Any) -> Bridge:
    async def answered(**_: Any) -> None:
        """The record is not part of this."""

    return Bridge(upstream, header_params=lambda _: (), answered=answered, max_result=LIMIT, **more)


async def until(ready: Callable[[], bool]) -> None:
    """Look again until it is so; the test's own limit bounds it."""
    while not ready():  # noqa: ASYNC110 - another process writes what is looked at
        await asyncio.sleep(0.02)


def lines(file: Path) -> list[tuple[str, str, str]]:
    """(what, tool, key) of each line, in order."""
    if not file.exists():
        return []
    return [tuple(json.loads(line)[:3]) for line in file.read_text(encoding="utf-8").splitlines()]


def modern(
    method: str,
    params: Json | None = None,
    *,
    rpc_id: str | int = 1,
    grant: str = "g",
    declared: Json | None = None,
    meta: Json | None = None,
) -> Request:
    """A request of a 2026-07-28 agent."""
    own = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": declared or {}}
    sent = {**(params or {}), "_meta": {**own, **(meta or {})}}
    message = {"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": sent}
    return Request(
        method="POST",
        body=json.dumps(message).encode(),
        grant=grant,
        protocol=MODERN,
        headers=dict(outbound_headers(MODERN, method, sent)),
        rpc_method=method,
        rpc_id=rpc_id,
    )


def legacy(
    method: str,
    params: Json | None = None,
    *,
    session: str = "",
    rpc_id: str | int | None = 1,
    grant: str = "g",
) -> Request:
    """A message of an agent with a session."""
    message: Json = {"jsonrpc": "2.0", "method": method}
    if rpc_id is not None:
        message["id"] = rpc_id
    if params is not None:
        message["params"] = params
    return sent(message, session=session, grant=grant)


def sent(message: Json, *, session: str, grant: str = "g") -> Request:
    return Request(
        method="POST",
        body=json.dumps(message).encode(),
        grant=grant,
        protocol=LEGACY if session else "",
        session=session,
        rpc_method=message.get("method", ""),
        rpc_id=message.get("id"),
    )


@dataclass(frozen=True)
class Seen:
    """A whole answer: its status and messages, in order."""

    status: int
    messages: list[Json]
    session: str

    @property
    def last(self) -> Json:
        return self.messages[-1]

    @property
    def result(self) -> Json:
        found: Json = self.last["result"]
        return found

    @property
    def text(self) -> str:
        return str(self.result["content"][0]["text"])


async def whole(up: Bridge, request: Request) -> Seen:
    """Send and read to the end."""
    answer = await up.send(request)
    try:
        body = b"".join([chunk async for chunk in answer.body()])
    finally:
        await answer.aclose()
    if answer.content_type == "text/event-stream":
        found = [json.loads(each) for each in re.findall(rb"^data: (.*)$", body, re.MULTILINE)]
    else:
        found = [json.loads(body)] if body else []
    return Seen(answer.status, found, answer.session)


async def arriving(answer: Answer) -> AsyncIterator[Json]:
    """The messages of a stream as they come."""
    async for chunk in answer.body():
        for each in re.findall(rb"^data: (.*)$", chunk, re.MULTILINE):
            yield json.loads(each)


async def call(up: Bridge, tool: str, key: str = "k", **more: Any) -> Seen:
    """One tools/call of a modern agent."""
    extra = more.pop("extra", {})
    params = {"name": tool, "arguments": {"key": key}, **extra}
    return await whole(up, modern("tools/call", params, **more))


def answers(asked: Json) -> Json:
    """The retry's params for an `input_required`."""
    given = {key: ANSWERS[each["method"]] for key, each in asked["inputRequests"].items()}
    return {"inputResponses": given, "requestState": asked["requestState"]}


async def opened(up: Bridge, declared: Json | None = None, grant: str = "g") -> str:
    """A legacy agent's new session."""
    params = {
        "protocolVersion": LEGACY,
        "capabilities": declared or {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    seen = await whole(up, legacy("initialize", params, grant=grant))
    assert seen.result["protocolVersion"] == LEGACY, seen
    told = legacy("notifications/initialized", session=seen.session, rpc_id=None, grant=grant)
    assert (await whole(up, told)).status == 202
    return seen.session
