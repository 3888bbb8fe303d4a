"""A client of the Python SDK 1.x: .venv-mcp1/bin/python -m tests.clients.py1_client URL TOKEN.

With ANSWER_AS in the environment it answers what servers ask, in that name.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Any, cast

import anyio
from mcp import ClientSession, types
from mcp.client.streamable_http import (  # type: ignore[attr-defined]  # the 1.x name
    streamablehttp_client,
)

from tests.clients.conversation import Note, converse


def answering(name: str | None) -> dict[str, Any]:
    """Callbacks that answer in this name; none for None."""
    if not name:
        return {}

    async def elicit(_: Any, __: Any) -> Any:
        return types.ElicitResult(action="accept", content={"name": name})

    async def sample(_: Any, __: Any) -> Any:
        said = types.TextContent(type="text", text=f"{name}'s poem")
        return types.CreateMessageResult(role="assistant", content=said, model="m")

    async def roots(_: Any) -> Any:
        return types.ListRootsResult.model_validate({"roots": [{"uri": f"file:///home/{name}"}]})

    return {
        "elicitation_callback": elicit,
        "sampling_callback": sample,
        "list_roots_callback": roots,
    }


async def main(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        streamablehttp_client(url, headers=headers) as (reading, writing, _),
        ClientSession(reading, writing, **answering(os.environ.get("ANSWER_AS"))) as session,
    ):
        opened: Any = await session.initialize()

        async def tools() -> list[str]:
            return [tool.name for tool in (await session.list_tools()).tools]

        async def call(
            name: str, arguments: dict[str, Any], seconds: float | None, note: Note | None
        ) -> dict[str, Any]:
            patience = None if seconds is None else timedelta(seconds=seconds)
            result = await session.call_tool(
                name, arguments, read_timeout_seconds=cast("Any", patience), progress_callback=note
            )
            return result.model_dump(by_alias=True, mode="json", exclude_none=True)

        await converse(protocol=str(opened.protocolVersion), tools=tools, call=call)


if __name__ == "__main__":
    _, _url, _token = sys.argv
    anyio.run(main, _url, _token)
