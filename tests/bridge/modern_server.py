"""A server that only knows 2026-07-28, made with the SDK 2.x, and asks for more by its results.

python -m tests.bridge.modern_server FILE (stdio | http PORT). What it did is one line each in FILE.
Its tools are those of `legacy_server`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ToolsListChanged
from mcp_types import (
    CallToolRequestParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    SubscriptionsListenRequestParams,
)

from tests.support import one_era
from tests.support.reference_tools import (
    ROOTS,
    Context,
    Result,
    answered,
    answers,
    bus,
    elicitation,
    input_required,
    sampling,
    text,
)

FILE = sys.argv[1]
SCHEMA = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
TOOLS = ("plain", "greet", "compose", "whereabouts", "slow", "change")


def note(*words: object) -> None:
    with Path(FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps([*words, os.getpid()]) + "\n")


def asked(context: Context) -> bool:
    return (context.params or {}).get("requestState") == "asked"


async def call_tool(context: Context, params: CallToolRequestParams) -> Result:
    key = str((params.arguments or {}).get("key"))
    match params.name:
        case "greet" if not asked(context):
            question = elicitation(f"Who is {key}?", name={"type": "string"})
            return input_required("asked", who=question)
        case "greet":
            name = answered(context, "who", "name")
            said = f"Hello {name}" if name else f"No name: {answers(context)['who']['action']}"
        case "compose" if not asked(context):
            return input_required("asked", poem=sampling(f"Write {key}", 10))
        case "compose":
            said = f"Made: {answers(context)['poem']['content']['text']}"
        case "whereabouts" if not asked(context):
            return input_required("asked", roots=ROOTS)
        case "whereabouts":
            said = " ".join(root["uri"] for root in answers(context)["roots"]["roots"])
        case "slow":
            said = await late(context, key)
        case "change":
            await bus.publish(ToolsListChanged())
            await bus.publish(ResourceUpdated(uri="memo://today"))
            said = "changed"
        case _:
            said = f"plain {key}"
    note("did", params.name, key)
    return {"resultType": "complete", **text(said)}


async def late(context: Context, key: str) -> str:
    note("began", "slow", key)
    try:
        await context.session.report_progress(1, 2, "under way")
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        note("cancelled", "slow", key)
        raise
    return "late"


async def list_tools(_: Context, __: PaginatedRequestParams) -> Result:
    tools = [{"name": name, "inputSchema": SCHEMA} for name in TOOLS]
    return {"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "public"}


async def list_resources(_: Context, __: PaginatedRequestParams) -> Result:
    listed = [{"uri": "memo://today", "name": "today"}]
    return {"resultType": "complete", "resources": listed, "ttlMs": 0, "cacheScope": "public"}


async def read_resource(_: Context, __: ReadResourceRequestParams) -> Result:
    contents = [{"uri": "memo://today", "text": "a memo"}]
    return {"resultType": "complete", "contents": contents, "ttlMs": 0, "cacheScope": "public"}


def server() -> Server[Any]:
    made: Server[Any] = Server("modern", version="1", instructions="Ask.")
    made.add_request_handler("tools/list", PaginatedRequestParams, list_tools)
    made.add_request_handler("tools/call", CallToolRequestParams, call_tool)
    made.add_request_handler("resources/list", PaginatedRequestParams, list_resources)
    made.add_request_handler("resources/read", ReadResourceRequestParams, read_resource)
    made.add_request_handler(
        "subscriptions/listen", SubscriptionsListenRequestParams, ListenHandler(bus)
    )
    return made


async def over_stdio() -> None:
    made = server()
    async with (
        stdio_server() as (reading, writing),
        one_era.filtered(reading, writing, "modern") as found,
    ):
        await made.run(found, writing, made.create_initialization_options())


def main() -> None:
    warnings.simplefilter("ignore")  # roots and sampling are deprecated, and tested
    if sys.argv[2] == "stdio":
        anyio.run(over_stdio)
    else:
        app = one_era.over_http(server().streamable_http_app(), "modern")
        uvicorn.run(app, port=int(sys.argv[3]), log_level="error", access_log=False)


if __name__ == "__main__":
    main()
