"""A call that is held and approved while its agent waits, by a client of the SDK."""

from __future__ import annotations

from typing import Any

import anyio
from mcp.client.client import Client
from mcp.types import CallToolResult, TextContent

from tests.support.live_gateway import eventually
from tests.support.reviewer_desk import Desk


def text(result: CallToolResult) -> str:
    """What a result says."""
    return "\n".join(one.text for one in result.content if isinstance(one, TextContent))


async def in_thread(work: Any, *args: Any) -> Any:
    """Something that blocks, out of the loop's way."""
    return await anyio.to_thread.run_sync(work, *args)


async def approved_in_place(
    client: Client, desk: Desk, tool: str, key: str
) -> tuple[CallToolResult, list[str]]:
    """Call a tool that is held, and approve it once its first note came; its answer, its notes."""
    notes: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        notes.append(message or "")

    async def approve() -> None:
        row = await in_thread(desk.waiting, key)
        await in_thread(eventually, lambda: notes)
        await in_thread(desk.approve, row["id"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(approve)
        answer = await client.call_tool(tool, {"key": key}, progress_callback=note)
    return answer, notes
