"""A server that does all of MCP, written with the SDK, for the official suite to run against.

python -m tests.support.reference_server (http PORT | stdio) [both | legacy | modern]. Knows nothing
of the gateway: the suite must be content with it alone, and then with the gateway in front of it.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import anyio
import uvicorn
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    CompleteRequestParams,
    GetPromptRequestParams,
    JSONRPCMessage,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ServerCapabilities,
    SetLevelRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel

from tests.support import one_era
from tests.support.one_era import Era
from tests.support.reference_tools import (
    PNG,
    TOOLS,
    Context,
    Result,
    answered,
    asking,
    bus,
    elicitation,
    input_required,
    schema,
)

NAME: Final = "reference"
RETRY_MS: Final = 100
INVALID_PARAMS: Final = -32602
TEMPLATE: Final = ("test://template/", "/data")

RESOURCES: Final[Mapping[str, Result]] = {
    "test://static-text": {
        "mimeType": "text/plain",
        "text": "This is the content of the static text resource.",
    },
    "test://static-binary": {"mimeType": "image/png", "blob": PNG},
    "test://watched-resource": {"mimeType": "text/plain", "text": "Watched resource content"},
}
PROMPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}


class Events(EventStore):
    """What was sent on every stream, so that a client may come back for the rest."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._sent.append((stream_id, message))
        return str(len(self._sent))

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        seen = int(last_event_id)
        if not 0 < seen <= len(self._sent):
            return None
        stream = self._sent[seen - 1][0]
        for number, (found, message) in enumerate(self._sent[seen:], start=seen + 1):
            if found == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


async def list_tools(_: Context, __: PaginatedRequestParams) -> Result:
    return {
        "tools": [
            {"name": name, "description": f"For the suite: {name}", "inputSchema": schema(name)}
            for name in TOOLS
        ]
    }


async def call_tool(context: Context, params: CallToolRequestParams) -> Result:
    tool = TOOLS.get(params.name)
    if tool is None:
        raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
    return await asking(context, lambda context: tool(context, params.arguments or {}))


async def list_resources(_: Context, __: PaginatedRequestParams) -> Result:
    return {
        "resources": [
            {
                "uri": uri,
                "name": uri.removeprefix("test://"),
                "description": "For the suite",
                "mimeType": content["mimeType"],
            }
            for uri, content in RESOURCES.items()
        ]
    }


async def list_templates(_: Context, __: PaginatedRequestParams) -> Result:
    return {
        "resourceTemplates": [
            {
                "uriTemplate": "{id}".join(TEMPLATE),
                "name": "template",
                "description": "For the suite",
                "mimeType": "application/json",
            }
        ]
    }


async def read_resource(_: Context, params: ReadResourceRequestParams) -> Result:
    uri = str(params.uri)
    content = RESOURCES.get(uri)
    before, after = TEMPLATE
    if content is None and uri.startswith(before) and uri.endswith(after):
        found = uri.removeprefix(before).removesuffix(after)
        filled = {"id": found, "templateTest": True, "data": f"Data for ID: {found}"}
        content = {"mimeType": "application/json", "text": json.dumps(filled)}
    if content is None:
        raise MCPError(INVALID_PARAMS, "Resource not found", {"uri": uri})
    return {"contents": [{"uri": uri, **content}]}


async def list_prompts(_: Context, __: PaginatedRequestParams) -> Result:
    return {
        "prompts": [
            {
                "name": name,
                "description": f"For the suite: {name}",
                "arguments": [
                    {"name": word, "description": f"The {word}", "required": True} for word in words
                ],
            }
            for name, words in PROMPTS.items()
        ]
    }


async def get_prompt(context: Context, params: GetPromptRequestParams) -> Result:
    given = params.arguments or {}
    if params.name == "test_simple_prompt":
        return messages(said("This is a simple prompt for testing."))
    if params.name == "test_prompt_with_arguments":
        arg1, arg2 = given.get("arg1"), given.get("arg2")
        return messages(said(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))
    if params.name == "test_prompt_with_embedded_resource":
        resource = {
            "uri": given.get("resourceUri", ""),
            "mimeType": "text/plain",
            "text": "Embedded resource content for testing.",
        }
        shown = {"type": "resource", "resource": resource}
        return messages(shown, said("Please process the embedded resource above."))
    if params.name == "test_prompt_with_image":
        shown = {"type": "image", "data": PNG, "mimeType": "image/png"}
        return messages(shown, said("Please analyze the image above."))
    if params.name == "test_input_required_result_prompt":
        found = answered(context, "user_context", "context")
        if found is not None:
            return messages(said(f"In the context of {found}"))
        question = "What context should the prompt use?"
        return input_required(user_context=elicitation(question, context={"type": "string"}))
    raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.name}")


async def get_prompt_asking(context: Context, params: GetPromptRequestParams) -> Result:
    return await asking(context, lambda context: get_prompt(context, params))


def said(words: str) -> Result:
    return {"type": "text", "text": words}


def messages(*contents: Result) -> Result:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


async def complete(_: Context, params: CompleteRequestParams) -> Result:
    words = [word for word in ("test", "testing") if word.startswith(params.argument.value)]
    return {"completion": {"values": words, "total": len(words), "hasMore": False}}


async def nothing(_: Context, __: Any) -> Result:
    """`logging/setLevel` and the subscriptions of 2025: taken note of, answered with `{}`."""
    return {}


Handler = Callable[[Context, Any], Awaitable[Result]]
CACHED: Final[Result] = {"ttlMs": 60_000, "cacheScope": "public"}
HANDLERS: Final[tuple[tuple[str, type[BaseModel], Handler, Result], ...]] = (
    ("tools/list", PaginatedRequestParams, list_tools, CACHED),
    ("tools/call", CallToolRequestParams, call_tool, {}),
    ("resources/list", PaginatedRequestParams, list_resources, CACHED),
    ("resources/templates/list", PaginatedRequestParams, list_templates, CACHED),
    ("resources/read", ReadResourceRequestParams, read_resource, CACHED),
    ("resources/subscribe", SubscribeRequestParams, nothing, {}),
    ("resources/unsubscribe", UnsubscribeRequestParams, nothing, {}),
    ("prompts/list", PaginatedRequestParams, list_prompts, CACHED),
    ("prompts/get", GetPromptRequestParams, get_prompt_asking, {}),
    ("completion/complete", CompleteRequestParams, complete, {}),
    ("logging/setLevel", SetLevelRequestParams, nothing, {}),
)


def whole(handler: Handler, more: Result) -> Handler:
    """The handler's result with what 2026-07-28 wants in each; for 2025 the SDK drops it."""

    async def handle(context: Context, params: Any) -> Result:
        return {"resultType": "complete", **more, **await handler(context, params)}

    return handle


class Changing(Server[Any]):
    """A server that tells clients of 2025 too that its lists can change."""

    def get_capabilities(
        self, notification_options: NotificationOptions | None = None, *more: Any, **rest: Any
    ) -> ServerCapabilities:
        told = notification_options or NotificationOptions()
        told.prompts_changed = told.tools_changed = True
        return super().get_capabilities(told, *more, **rest)


def server() -> Server[Any]:
    """The server, whatever carries it."""
    made: Server[Any] = Changing(
        NAME,
        version="1",
        get_tool_input_schema=lambda name: schema(name) if name in TOOLS else None,
    )
    for method, params, handler, more in HANDLERS:
        made.add_request_handler(
            method, params, handler if handler is nothing else whole(handler, more)
        )
    made.add_request_handler(
        "subscriptions/listen", SubscriptionsListenRequestParams, ListenHandler(bus)
    )
    boundary = RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME)
    made.middleware.append(boundary)
    return made


async def over_stdio(era: Era) -> None:
    made = server()
    async with (
        stdio_server() as (reading, writing),
        one_era.filtered(reading, writing, era) as sorted_,
    ):
        await made.run(sorted_, writing, made.create_initialization_options())


def over_http(port: int, era: Era) -> None:
    made = server().streamable_http_app(event_store=Events(), retry_interval=RETRY_MS)
    app = one_era.over_http(made, era)
    # h11 takes the white space around a header's value away (RFC 9110, 5.5); httptools leaves it.
    uvicorn.run(app, port=port, http="h11", log_level="error", access_log=False)


def main() -> None:
    warnings.simplefilter("ignore")  # the older revision's features are deprecated, and tested
    way, *more = sys.argv[1:]
    port = int(more.pop(0)) if way == "http" else 0
    era = cast("Era", more.pop() if more else "both")
    if way == "stdio":
        anyio.run(over_stdio, era)
    else:
        over_http(port, era)


if __name__ == "__main__":
    main()
