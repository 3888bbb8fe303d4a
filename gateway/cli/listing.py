"""Asking a server for its tools, with the SDK's own client: for `scan`, `init` and `doctor` only.

A command is started for the question and put down after it; nothing of the gateway runs here.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import IO, Any, cast

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from gateway.servers import CommandServer, Server

Definition = Mapping[str, Any]

_PAGES = 100
_TOLD_LINES = 6  # of a failing server's stderr
_AT_ONCE = 4


class NotListed(Exception):
    """The server did not list its tools; the text says why, without any configured value."""


async def tools_of(server: Server, *, seconds: float) -> list[Definition]:
    """Every tool the server lists.

    Raises:
        Unlisted: it cannot be started or reached, refuses, or takes longer than `seconds`.
    """
    # The SDK logs what it cannot read, with a traceback; here the outcome is one sentence.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errlog:
        try:
            with anyio.fail_after(seconds):
                return await _listed(server, errlog)
        except Exception as error:  # noqa: BLE001 - whatever a foreign server makes the SDK raise
            raise NotListed(f"{_why(error, seconds)}{_tail(errlog)}") from None


async def tools_of_all(
    servers: Mapping[str, Server], *, seconds: float
) -> dict[str, list[Definition] | NotListed]:
    """As `tools_of`, for several at once."""
    found: dict[str, list[Definition] | NotListed] = {}
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(name: str, server: Server) -> None:
        async with limiter:
            try:
                found[name] = await tools_of(server, seconds=seconds)
            except NotListed as unlisted:
                found[name] = unlisted

    async with anyio.create_task_group() as tasks:
        for name, server in servers.items():
            tasks.start_soon(ask, name, server)
    return {name: found[name] for name in servers}


async def _listed(server: Server, errlog: IO[str]) -> list[Definition]:
    tools: list[Definition] = []
    async with _connected(server, errlog) as client:
        cursor = None
        for _ in range(_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += (
                tool.model_dump(mode="json", by_alias=True, exclude_unset=True)
                for tool in page.tools
            )
            cursor = page.next_cursor
            if cursor is None:
                break
    return tools


@asynccontextmanager
async def _connected(server: Server, errlog: IO[str]) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        if isinstance(server, CommandServer):
            command = StdioServerParameters(
                command=server.command,
                args=list(server.args),
                env=dict(server.env) or None,
                cwd=server.cwd,
            )
            transport = stdio_client(command, cast("Any", errlog))
        else:
            http = await stack.enter_async_context(
                httpx2.AsyncClient(headers=dict(server.headers), timeout=None)
            )
            transport = streamable_http_client(server.url, http_client=http)
        yield await stack.enter_async_context(Client(transport, cache=None))


def _why(error: BaseException, seconds: float) -> str:
    found = _innermost(error)
    match found:
        case TimeoutError():
            return f"it did not list its tools within {seconds:g} s"
        case FileNotFoundError():
            return "its command or working directory does not exist"
        case OSError():
            return f"it cannot be started or reached ({found.strerror or type(found).__name__})"
        case MCPError():
            return f'it answered with an error: "{" ".join(str(found).split())[:200]}"'
        case httpx2.HTTPStatusError():
            return f"it answered with HTTP status {found.response.status_code}"
        case httpx2.HTTPError():
            return f"it cannot be reached ({type(found).__name__})"
        case _:
            return f"it does not speak MCP ({type(found).__name__})"


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _tail(errlog: IO[str]) -> str:
    """What the command last wrote on its stderr."""
    errlog.seek(0)
    lines = [one.rstrip() for one in errlog.read(1 << 20).splitlines() if one.strip()]
    return "".join(f"\n    {one[:300]}" for one in lines[-_TOLD_LINES:])
