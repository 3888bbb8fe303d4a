"""A client of the Python SDK 2.x: python -m tests.clients.py2_client MODE URL TOKEN.

MODE: `legacy` (initialize) or `auto` (2026-07-28 where the server speaks it). With ANSWER_AS in the
environment it answers what servers ask, in that name.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, Literal, cast

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent
from pydantic import FileUrl

from tests.clients.conversation import Note, converse


def answering(name: str | None) -> dict[str, Any]:
    """Callbacks that answer in this name; none for None."""
    if not name:
        return {}

    async def elicit(_: Any, __: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": name})

    async def sample(_: Any, __: Any) -> CreateMessageResult:
        said = TextContent(type="text", text=f"{name}'s poem")
        return CreateMessageResult(role="assistant", content=said, model="m", stop_reason="endTurn")

    async def roots(_: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(f"file:///home/{name}"))])

    return {
        "elicitation_callback": elicit,
        "sampling_callback": sample,
        "list_roots_callback": roots,
    }


async def main(mode: Literal["legacy", "auto"], url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=300)) as http,
        Client(
            streamable_http_client(url, http_client=http),
            mode=mode,
            **answering(os.environ.get("ANSWER_AS")),
        ) as client,
    ):

        async def tools() -> list[str]:
            return [tool.name for tool in (await client.list_tools()).tools]

        async def call(
            name: str, arguments: dict[str, Any], seconds: float | None, note: Note | None
        ) -> dict[str, Any]:
            result = await client.call_tool(
                name, arguments, read_timeout_seconds=seconds, progress_callback=note
            )
            return result.model_dump(by_alias=True, mode="json", exclude_none=True)

        await converse(protocol=client.protocol_version, tools=tools, call=call)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # roots and sampling are deprecated, and tested
    _, _mode, _url, _token = sys.argv
    anyio.run(main, cast('Literal["legacy", "auto"]', _mode), _url, _token)
