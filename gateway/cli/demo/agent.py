"""The demo's agent: a real MCP client that makes one call of each kind and waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

Say = Callable[[str], None]

_LONGEST = 140


@dataclass(frozen=True, slots=True)
class StoryEnded:
    """How the calls ended."""

    as_told: bool  # the free, limited, denied and hidden ones, as the demo's policy says
    committed: bool  # the held one was approved and ran


async def run(url: str, token: str, repository: str, *, say: Say) -> StoryEnded:
    """Make the calls."""
    headers = {"Authorization": f"Bearer {token}"}
    patience = httpx2.Timeout(30, read=300)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=patience) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return await _calls(client, repository, say)


async def _calls(client: Client, repository: str, say: Say) -> StoryEnded:
    listed = {tool.name for tool in (await client.list_tools()).tools}
    hidden = "git_checkout" not in listed
    say(f"lists     {len(listed)} tools; git_checkout is hidden: {_yes(hidden)}")
    repo = {"repo_path": repository}
    status = await client.call_tool("git_status", repo)
    say(f"allowed   git_status    {_short(status)}")
    first = await client.call_tool("git_log", {**repo, "max_count": 1})
    second = await client.call_tool("git_log", {**repo, "max_count": 1})
    say(f"limited   git_log       {_short(second)}")
    reset = await client.call_tool("git_reset", repo)
    say(f"denied    git_reset     {_short(reset)}")
    say("held      git_commit    waits for you: press Approve on the page")
    commit = await _patient(client, "git_commit", {**repo, "message": "By an agent"}, say)
    say(f"outcome   git_commit    {_short(commit)}")
    passed = not status.is_error and not first.is_error
    refused = bool(second.is_error) and bool(reset.is_error)
    return StoryEnded(as_told=hidden and passed and refused, committed=not commit.is_error)


async def _patient(
    client: Client, tool: str, arguments: dict[str, Any], say: Say
) -> CallToolResult:
    """Call, and as long as no one decided, come back by repeating the identical call."""

    async def note(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - the SDK passes all three by these names
        if message:
            say(f"          {message[:_LONGEST]}")

    while True:
        result = await client.call_tool(tool, arguments, progress_callback=note)
        if not pending(said(result)):
            return result


def said(result: CallToolResult) -> str:
    """The texts of a result on one line."""
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    return " ".join(" ".join(texts).split())


def pending(text: str) -> bool:
    """Whether that is the gateway's handle, and no one has decided yet."""
    return text.startswith("Not executed yet")


def _short(result: CallToolResult) -> str:
    line = said(result)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _yes(value: bool) -> str:
    return "yes" if value else "NO"
