"""The tools that the scenarios of the official suite call, by the names it gives them.

Part of the reference server (`reference_server.py`), in the words of the wire: results are plain
dicts. Every tool says what its scenario asks for and nothing more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CreateMessageRequest,
    CreateMessageResult,
    ElicitRequest,
    ElicitResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    ServerRequest,
    TextContent,
)

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]
Tool = Callable[[Context, Mapping[str, Any]], Awaitable[Result]]

PNG: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WAV: Final = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
MODERN: Final = "2026-07-28"
STEP: Final = 0.05  # seconds between what a tool says on the way
AWAY: Final = 0.3  # seconds; the suite comes back to a closed stream within its `retry`

bus = InMemorySubscriptionBus()


def text(words: str, **more: Any) -> Result:
    """A result of one text."""
    return {"content": [{"type": "text", "text": words}], **more}


def form(message: str, /, **properties: Any) -> Result:
    """Params of an `elicitation/create` that needs every property."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"message": message, "requestedSchema": schema}


def input_required(state: str = "", /, **requests: Result) -> Result:
    """A result that asks the client for more (SEP-2322)."""
    asked = {"resultType": "input_required", "inputRequests": requests}
    return {**asked, "requestState": state} if state else asked


def elicitation(message: str, **properties: Any) -> Result:
    return {"method": "elicitation/create", "params": form(message, **properties)}


def sampling(prompt: str, tokens: int) -> Result:
    message = {"role": "user", "content": {"type": "text", "text": prompt}}
    return {
        "method": "sampling/createMessage",
        "params": {"messages": [message], "maxTokens": tokens},
    }


ROOTS: Final[Result] = {"method": "roots/list", "params": {}}
NAME: Final[Result] = {"name": {"type": "string"}}


def answers(context: Context) -> Mapping[str, Any]:
    """The client's `inputResponses`, by key."""
    found = (context.params or {}).get("inputResponses")
    return found if isinstance(found, Mapping) else {}


def answered(context: Context, key: str, field: str) -> str | None:
    """One field of an accepted form, or None."""
    content = answers(context).get(key, {}).get("content") or {}
    found = content.get(field)
    return found if isinstance(found, str) else None


def capabilities(context: Context) -> Mapping[str, Any]:
    """What the client declared, on this request or at `initialize`."""
    meta = (context.params or {}).get("_meta") or {}
    opened = context.session.client_params
    if CAPABILITIES not in meta and opened is not None:
        return opened.capabilities.model_dump(by_alias=True, exclude_none=True)
    declared = meta.get(CAPABILITIES)
    return declared if isinstance(declared, Mapping) else {}


# Content of every kind.


async def simple(_: Context, __: Mapping[str, Any]) -> Result:
    return text("This is a simple text response for testing.")


async def image(_: Context, __: Mapping[str, Any]) -> Result:
    return {"content": [{"type": "image", "data": PNG, "mimeType": "image/png"}]}


async def audio(_: Context, __: Mapping[str, Any]) -> Result:
    return {"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]}


async def embedded(_: Context, __: Mapping[str, Any]) -> Result:
    resource = {
        "uri": "test://embedded-resource",
        "mimeType": "text/plain",
        "text": "This is an embedded resource content.",
    }
    return {"content": [{"type": "resource", "resource": resource}]}


async def mixed(_: Context, __: Mapping[str, Any]) -> Result:
    resource = {
        "uri": "test://mixed-content-resource",
        "mimeType": "application/json",
        "text": json.dumps({"test": "data", "value": 123}),
    }
    return {
        "content": [
            {"type": "text", "text": "Multiple content types test:"},
            {"type": "image", "data": PNG, "mimeType": "image/png"},
            {"type": "resource", "resource": resource},
        ]
    }


async def failing(_: Context, __: Mapping[str, Any]) -> Result:
    return text("This tool intentionally returns an error for testing", isError=True)


async def schema_keywords(_: Context, arguments: Mapping[str, Any]) -> Result:
    return text(json.dumps(dict(arguments)))


async def by_header(_: Context, arguments: Mapping[str, Any]) -> Result:
    return text(f"region {arguments.get('region', '')}")


# On the way to the result.


async def note(context: Context, words: str) -> None:
    await context.session.send_log_message(
        "info", words, "reference", related_request_id=context.request_id
    )


async def logging(context: Context, _: Mapping[str, Any]) -> Result:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await note(context, words)
        await asyncio.sleep(STEP)
    return text("Tool with logging executed")


async def progress(context: Context, _: Mapping[str, Any]) -> Result:
    for done in (0, 50, 100):
        await context.session.report_progress(done, 100, f"Step {done} of 100")
        await asyncio.sleep(STEP)
    return text("Tool with progress executed")


async def reconnection(context: Context, _: Mapping[str, Any]) -> Result:
    """Close this call's stream and go on; the client comes back for the rest (SEP-1699)."""
    if context.close_sse_stream is not None:
        await context.close_sse_stream()
        await asyncio.sleep(AWAY)
    return text("Reconnection test completed")


# Questions to the client, 2025-11-25: requests of the server on the call's own stream. Asked by a
# client of 2026-07-28 the same tools end with the question and are called again with the answer.


class Needed(Exception):
    """The tool cannot go on without an answer."""

    def __init__(self, question: Result) -> None:
        super().__init__(question["method"])
        self.result = input_required("asked", asked=question)


def told(context: Context, question: Result) -> Mapping[str, Any]:
    """The answer that a client of 2026-07-28 brings; `Needed` where it brings none."""
    found = answers(context).get("asked")
    if not isinstance(found, Mapping):
        raise Needed(question)
    return found


async def legacy_sampling(context: Context, arguments: Mapping[str, Any]) -> Result:
    if context.protocol_version == MODERN:
        answer = told(context, sampling(str(arguments.get("prompt", "")), 100))
        return text(f"LLM response: {answer['content']['text']}")
    content = TextContent(type="text", text=str(arguments.get("prompt", "")))
    made = await context.session.create_message(
        [SamplingMessage(role="user", content=content)],
        max_tokens=100,
        related_request_id=context.request_id,
    )
    said = made.content.text if isinstance(made.content, TextContent) else ""
    return text(f"LLM response: {said}")


async def ask(context: Context, params: Result) -> str:
    if context.protocol_version == MODERN:
        answer = told(context, {"method": "elicitation/create", "params": params})
        return f"action={answer['action']}, content={json.dumps(answer.get('content'))}"
    found = await context.session.elicit_form(
        params["message"], params["requestedSchema"], related_request_id=context.request_id
    )
    return f"action={found.action}, content={json.dumps(found.content)}"


async def legacy_elicitation(context: Context, arguments: Mapping[str, Any]) -> Result:
    field = {"type": "string", "description": "User's response"}
    params = form(str(arguments.get("message", "")), username=field, email=field)
    return text(f"User response: {await ask(context, params)}")


async def elicitation_defaults(context: Context, _: Mapping[str, Any]) -> Result:
    params = form(
        "Please check these values",
        name={"type": "string", "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    return text(f"Elicitation completed: {await ask(context, params)}")


async def elicitation_enums(context: Context, _: Mapping[str, Any]) -> Result:
    plain = ["option1", "option2", "option3"]
    titled = [
        {"const": "value1", "title": "First Option"},
        {"const": "value2", "title": "Second Option"},
        {"const": "value3", "title": "Third Option"},
    ]
    params = form(
        "Please choose",
        untitledSingle={"type": "string", "enum": plain},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        untitledMulti={"type": "array", "items": {"type": "string", "enum": plain}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    return text(f"Elicitation completed: {await ask(context, params)}")


# Questions to the client, 2026-07-28: results that ask for more (SEP-2322).


async def input_elicitation(context: Context, _: Mapping[str, Any]) -> Result:
    name = answered(context, "user_name", "name")
    if name is None:
        return input_required(user_name=elicitation("What is your name?", **NAME))
    return text(f"Hello, {name}!")


async def input_sampling(context: Context, _: Mapping[str, Any]) -> Result:
    found = answers(context).get("capital_question")
    if found is None:
        question = sampling("What is the capital of France?", 100)
        return input_required(capital_question=question)
    return text(json.dumps(found["content"]))


async def input_roots(context: Context, _: Mapping[str, Any]) -> Result:
    found = answers(context).get("client_roots")
    if found is None:
        return input_required(client_roots=ROOTS)
    return text(json.dumps([root["uri"] for root in found["roots"]]))


async def input_state(context: Context, _: Mapping[str, Any]) -> Result:
    state = (context.params or {}).get("requestState")
    if state != "asked once" or "confirm" not in answers(context):
        confirm = elicitation("Please confirm", ok={"type": "boolean"})
        return input_required("asked once", confirm=confirm)
    return text("state-ok")


async def input_multiple(context: Context, _: Mapping[str, Any]) -> Result:
    if not {"user_name", "greeting", "client_roots"} <= answers(context).keys():
        return input_required(
            "asked for three",
            user_name=elicitation("What is your name?", **NAME),
            greeting=sampling("Generate a greeting", 50),
            client_roots=ROOTS,
        )
    return text("Three answers received")


async def input_rounds(context: Context, _: Mapping[str, Any]) -> Result:
    name = answered(context, "step1", "name")
    state = (context.params or {}).get("requestState")
    color = answered(context, "step2", "color")
    if state is not None and color is not None:
        return text(f"{state} likes {color}")
    if name is None:
        return input_required("round 1", step1=elicitation("Step 1: What is your name?", **NAME))
    question = elicitation("Step 2: What is your favorite color?", color={"type": "string"})
    return input_required(f"round 2: {name}", step2=question)


async def input_capabilities(context: Context, _: Mapping[str, Any]) -> Result:
    """Ask only for what this client declared it can do."""
    declared = capabilities(context)
    asked: dict[str, Result] = {}
    if "sampling" in declared:
        asked["greeting"] = sampling("Generate a greeting", 50)
    if "elicitation" in declared:
        asked["user_name"] = elicitation("What is your name?", **NAME)
    return input_required(**asked) if asked else text("Nothing to ask this client for")


async def missing_capability(context: Context, _: Mapping[str, Any]) -> Result:
    if "sampling" not in capabilities(context):
        needed: Result = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(-32021, "Missing required client capability", needed)
    return text("The client can sample")


async def streaming(context: Context, _: Mapping[str, Any]) -> Result:
    await context.session.report_progress(1, 2, "About to ask")
    await asyncio.sleep(STEP)
    return input_required(user_name=elicitation("What is your name?", **NAME))


# The same tools for a client of 2025-11-25: what they want to know is asked on the way.

_ASKED: Final[Mapping[str, tuple[type[ServerRequest], type[Any]]]] = {
    "elicitation/create": (ElicitRequest, ElicitResult),
    "sampling/createMessage": (CreateMessageRequest, CreateMessageResult),
    "roots/list": (ListRootsRequest, ListRootsResult),
}


async def asking(context: Context, tool: Callable[[Context], Awaitable[Result]]) -> Result:
    """What `tool` gives once it asks for nothing more; in 2026-07-28 its questions are results."""
    try:
        result = await tool(context)
    except Needed as needed:
        return needed.result
    if context.protocol_version == MODERN:
        return result
    given: Result = {}
    while result.get("resultType") == "input_required":
        asked: Mapping[str, Result] = result["inputRequests"]
        found = await asyncio.gather(*(put(context, each) for each in asked.values()))
        given |= dict(zip(asked, found, strict=True))
        params = {**(context.params or {}), "inputResponses": given}
        if "requestState" in result:
            params["requestState"] = result["requestState"]
        result = await tool(replace(context, params=params))
    return result


async def put(context: Context, request: Result) -> Result:
    """One question on the stream of the call."""
    request_type, result_type = _ASKED[request["method"]]
    about = ServerMessageMetadata(related_request_id=context.request_id)
    found = await context.session.send_request(
        request_type.model_validate(request), result_type, metadata=about
    )
    answer: Result = found.model_dump(by_alias=True, mode="json", exclude_none=True)
    return answer


# Changes of the lists.


async def tools_change(context: Context, _: Mapping[str, Any]) -> Result:
    if context.protocol_version != MODERN:
        await context.session.send_tool_list_changed()
    await bus.publish(ToolsListChanged())
    return text("The list of tools changed")


async def prompts_change(context: Context, _: Mapping[str, Any]) -> Result:
    if context.protocol_version != MODERN:
        await context.session.send_prompt_list_changed()
    await bus.publish(PromptsListChanged())
    return text("The list of prompts changed")


TOOLS: Final[Mapping[str, Tool]] = {
    "test_simple_text": simple,
    "test_image_content": image,
    "test_audio_content": audio,
    "test_embedded_resource": embedded,
    "test_multiple_content_types": mixed,
    "test_error_handling": failing,
    "json_schema_2020_12_tool": schema_keywords,
    "test_header_param": by_header,
    "test_tool_with_logging": logging,
    "test_logging_tool": logging,
    "test_tool_with_progress": progress,
    "test_reconnection": reconnection,
    "test_sampling": legacy_sampling,
    "test_elicitation": legacy_elicitation,
    "test_elicitation_sep1034_defaults": elicitation_defaults,
    "test_elicitation_sep1330_enums": elicitation_enums,
    "test_input_required_result_elicitation": input_elicitation,
    "test_input_required_result_sampling": input_sampling,
    "test_input_required_result_list_roots": input_roots,
    "test_input_required_result_request_state": input_state,
    "test_input_required_result_tampered_state": input_state,
    "test_input_required_result_multiple_inputs": input_multiple,
    "test_input_required_result_multi_round": input_rounds,
    "test_input_required_result_capabilities": input_capabilities,
    "test_missing_capability": missing_capability,
    "test_streaming_elicitation": streaming,
    "test_trigger_tool_change": tools_change,
    "test_trigger_prompt_change": prompts_change,
}

_EMPTY: Final[Result] = {"type": "object", "properties": {}}
SCHEMAS: Final[Mapping[str, Result]] = {
    "test_sampling": form("", prompt={"type": "string"})["requestedSchema"],
    "test_elicitation": form("", message={"type": "string"})["requestedSchema"],
    "test_header_param": {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        "required": ["region"],
    },
    "json_schema_2020_12_tool": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {
            "properties": {"contactMethod": {"const": "phone"}},
            "required": ["contactMethod"],
        },
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
}


def schema(name: str) -> Result:
    """A tool's input schema."""
    return SCHEMAS.get(name, _EMPTY)
