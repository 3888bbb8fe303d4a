"""A server that only knows sessions, as the SDK 1.x makes them, and asks on the way.

.venv-mcp1/bin/python -m tests.bridge.legacy_server FILE (stdio | http PORT). What it began and what
it did is one line each in FILE. Its tools are those of `modern_server`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import anyio
from mcp import types
from mcp.server.fastmcp import (  # type: ignore[attr-defined]  # the 1.x names
    Context,
    FastMCP,
)
from mcp.server.lowlevel import NotificationOptions
from mcp.shared.exceptions import UrlElicitationRequiredError
from mcp.types import SamplingMessage, TextContent
from pydantic import AnyUrl, BaseModel

_, FILE, WAY, *MORE = sys.argv
server = FastMCP("legacy", port=int(MORE[0]) if MORE else 0, log_level="ERROR", instructions="Ask.")


class Name(BaseModel):
    name: str


def note(*words: object) -> None:
    with Path(FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps([*words, os.getpid()]) + "\n")


def plain(key: str) -> str:
    note("did", "plain", key)
    return f"plain {key}"


async def greet(key: str, ctx: Context) -> str:
    note("began", "greet", key)
    try:
        found = await ctx.elicit(f"Who is {key}?", Name)
    except anyio.get_cancelled_exc_class():
        note("cancelled", "greet", key)
        raise
    note("did", "greet", key)
    return f"Hello {found.data.name}" if found.action == "accept" else f"No name: {found.action}"


async def compose(key: str, ctx: Context) -> str:
    note("began", "compose", key)
    asked = SamplingMessage(role="user", content=TextContent(type="text", text=f"Write {key}"))
    made = await ctx.session.create_message(
        [asked], max_tokens=10, related_request_id=ctx.request_id
    )
    note("did", "compose", key)
    return f"Made: {made.content.text}"


async def whereabouts(key: str, ctx: Context) -> str:
    note("began", "whereabouts", key)
    found = await ctx.session.list_roots()  # on the session's own stream: it names no request
    note("did", "whereabouts", key)
    return " ".join(str(root.uri) for root in found.roots)


def visit(key: str) -> str:
    opened = Path(f"{FILE}.{key}")
    if not opened.exists():
        opened.touch()
        asked = types.ElicitRequestURLParams(
            message="Sign in first", url="https://example.com/sign-in", elicitationId="e1"
        )
        raise UrlElicitationRequiredError([asked])
    note("did", "visit", key)
    return f"visited {key}"


async def change(key: str, ctx: Context) -> str:
    await ctx.session.send_tool_list_changed()
    await ctx.session.send_resource_updated(AnyUrl("memo://today"))
    return "changed"


async def slow(key: str, ctx: Context) -> str:
    note("began", "slow", key)
    try:
        await ctx.report_progress(1, 2, "under way")
        await anyio.sleep(30)
    except anyio.get_cancelled_exc_class():
        note("cancelled", "slow", key)
        raise
    return "late"


def today() -> str:
    return "a memo"


for tool in (plain, greet, compose, whereabouts, visit, change, slow):
    server.add_tool(tool)
server.resource("memo://today")(today)
low = server._mcp_server  # noqa: SLF001 - the SDK's own lower half has what FastMCP leaves out
offered = low.get_capabilities


def capabilities(_: object, experimental: object) -> types.ServerCapabilities:
    """Lists that change, and resources that can be watched."""
    found: types.ServerCapabilities = offered(NotificationOptions(tools_changed=True), experimental)
    if found.resources is not None:
        found.resources.subscribe = True
    return found


async def subscribe(uri: AnyUrl) -> None:
    note("did", "subscribe", str(uri))


async def unsubscribe(uri: AnyUrl) -> None:
    note("did", "unsubscribe", str(uri))


low.get_capabilities = capabilities
low.subscribe_resource()(subscribe)
low.unsubscribe_resource()(unsubscribe)
server.run("stdio" if WAY == "stdio" else "streamable-http")
