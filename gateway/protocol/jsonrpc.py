"""JSON-RPC as MCP writes it: bytes to one Message or a refusal, and back to bytes. Pure.

It does not know which methods exist, who asks or what may run. What it accepts has one reading,
so what is judged is what is shown, stored and sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from approvals.model import Client
from gateway.protocol.message import (
    LEGACY_VERSIONS,
    MODERN_VERSIONS,
    VERSION_KEY,
    ErrorCode,
    Malformed,
    Message,
    RequestId,
)
from gateway.protocol.reserved import PREFIX
from gateway.protocol.routing_headers import check_modern_headers, is_modern
from gateway.protocol.strict_json import BadJson, Kind, strict_loads
from gateway.protocol.tool_call import CALL_EXTRA, ToolCall, client_of, tool_call

__all__ = [
    "LEGACY_VERSIONS",
    "MODERN_VERSIONS",
    "BadJson",
    "Client",
    "ErrorCode",
    "Malformed",
    "Message",
    "RequestId",
    "ToolCall",
    "check_modern_headers",
    "client_of",
    "encode",
    "encode_call",
    "error_body",
    "is_modern",
    "parse",
    "replace_id",
    "result_body",
    "strict_loads",
    "tool_call",
]

MAX_ID_LENGTH: Final = 512
"""Characters of a string id or progress token. A UUID is 36, and logs repeat ids."""

MAX_METHOD_LENGTH: Final = 256
_INT64 = range(-(2**63), 2**63)  # servers in other languages read ids as 64 bit
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}").fullmatch
_CALL_MEMBERS: Final = frozenset({"name", "arguments", "_meta", *CALL_EXTRA})
_REQUEST_MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params"})
_RESPONSE_MEMBERS: Final = (
    frozenset({"jsonrpc", "id", "result"}),
    frozenset({"jsonrpc", "id", "error"}),
)

_BAD_JSON: Final[Mapping[Kind, str]] = {
    "encoding": "Parse error: the body is not plain UTF-8",
    "syntax": "Parse error: the body is not one JSON value",
    "duplicate_key": "Parse error: an object has the same key twice",
    "number": "Parse error: a number is not finite or too long",
    "nesting": "Parse error: nested too deeply",
    "surrogate": "Parse error: a string holds half a surrogate pair",
}


def parse(body: bytes) -> Message | Malformed:
    """Read one message. Never raises; a refusal is HTTP 400 and nothing may be sent on."""
    try:
        value = strict_loads(body)
    except BadJson as bad:
        return Malformed(ErrorCode.PARSE_ERROR, _BAD_JSON[bad.kind])
    if type(value) is not dict:
        return _invalid("Body must be a single JSON-RPC message object")
    if value.get("jsonrpc") != "2.0":
        return _invalid('jsonrpc must be "2.0"', _safe_id(value))
    if "method" in value:
        return _request(value)
    return _response(value)


def _request(value: dict[str, Any]) -> Message | Malformed:
    request_id = value.get("id")
    if "id" in value and not _is_id(request_id):
        return _invalid("id must be a string or an integer")
    if not value.keys() <= _REQUEST_MEMBERS:
        return _invalid("Unknown member in the message", request_id)
    method = value["method"]
    if type(method) is not str or not 0 < len(method) <= MAX_METHOD_LENGTH:
        return _invalid("method must be a string", request_id)
    params = value.get("params")
    if "params" in value and type(params) is not dict:
        return _invalid("params must be an object", request_id)
    _take_out_ours(params)
    if request_id is None:
        # MCP has no other notifications; a call without an id must not slip through as one.
        if not method.startswith("notifications/"):
            return _invalid("This method needs an id")
        return Message("notification", None, method, params)
    if method == "tools/call":
        wrong = _wrong_call(params)
        if wrong:
            return Malformed(ErrorCode.INVALID_PARAMS, wrong, request_id)
    return Message("request", request_id, method, params)


def _response(value: dict[str, Any]) -> Message | Malformed:
    if value.keys() not in _RESPONSE_MEMBERS:
        return _invalid("Not a request, a notification or a response", _safe_id(value))
    response_id = value["id"]
    if not _is_id(response_id) and not (response_id is None and "error" in value):
        return _invalid("id must be a string or an integer")
    if type(value.get("result", value.get("error"))) is not dict:
        return _invalid("result and error must be objects", response_id)
    _take_out_ours(value.get("result"))
    return Message("response", response_id, "", None, value)


def _wrong_call(params: dict[str, Any] | None) -> str | None:
    """What is wrong with the params of tools/call, as text for the agent."""
    if params is None:
        return "tools/call needs params"
    if not params.keys() <= _CALL_MEMBERS:
        return "Unknown member in the params of tools/call"
    name = params.get("name")
    if type(name) is not str or not _TOOL_NAME(name):
        return "name must be 1 to 128 of the characters A-Z a-z 0-9 _ . -"
    for member in ("arguments", "_meta", "task", "inputResponses"):
        if type(params.get(member, {})) is not dict:
            return f"{member} must be an object"
    if type(params.get("requestState", "")) is not str:
        return "requestState must be a string"
    meta = params.get("_meta")
    # The newer revision has no such wish, and ignores it: `tool_call` takes it out.
    modern = meta is not None and VERSION_KEY in meta
    if "task" in params and not modern and not _is_wish(params["task"]):
        return 'task must be {"ttl": milliseconds} and nothing else'
    if meta and "progressToken" in meta and not _is_id(meta["progressToken"]):
        return "progressToken must be a string or an integer"
    return None


def _is_wish(task: dict[str, Any]) -> bool:
    """Whether `task` asks for a task and says no more than for how long its result is wanted."""
    ttl = task.get("ttl", 0)
    return task.keys() <= {"ttl"} and type(ttl) in (int, float) and ttl >= 0


def _take_out_ours(holder: dict[str, Any] | None) -> None:
    """Take the gateway's own keys out of `_meta`: an agent's word there is none of ours."""
    meta = holder.get("_meta") if holder else None
    if type(meta) is dict:
        for key in [key for key in meta if key.startswith(PREFIX)]:
            del meta[key]


def _is_id(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= MAX_ID_LENGTH
    return type(value) is int and value in _INT64  # bool is not int here


def _safe_id(value: dict[str, Any]) -> RequestId | None:
    found = value.get("id")
    return found if _is_id(found) else None


def _invalid(message: str, request_id: RequestId | None = None) -> Malformed:
    return Malformed(ErrorCode.INVALID_REQUEST, message, request_id)


def encode(message: Message) -> bytes:
    """The message as bytes again; equal in value to what was parsed."""
    if message.raw is not None:
        return _dump(message.raw)
    members: dict[str, Any] = {"jsonrpc": "2.0"}
    if message.id is not None:
        members["id"] = message.id
    members["method"] = message.method
    if message.params is not None:
        members["params"] = message.params
    return _dump(members)


def replace_id(message: Message, new_id: RequestId) -> Message:
    """The same request or response under another id.

    Raises:
        ValueError: a notification, which has none.
    """
    if message.kind == "notification":
        raise ValueError("a notification has no id")
    raw = None if message.raw is None else {**message.raw, "id": new_id}
    return Message(message.kind, new_id, message.method, message.params, raw)


def encode_call(
    request_id: RequestId,
    name: str,
    arguments_canonical: bytes,
    meta: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
) -> bytes:
    """The outbound tools/call; the canonical arguments stand in it byte for byte.

    Raises:
        ValueError: `extra` holds more than task, inputResponses and requestState.
    """
    parts = [
        b'{"jsonrpc":"2.0","id":',
        _dump(request_id),
        b',"method":"tools/call","params":{"name":',
        _dump(name),
        b',"arguments":',
        arguments_canonical,
    ]
    if meta:
        parts += [b',"_meta":', _dump(meta)]
    if extra:
        if not extra.keys() <= set(CALL_EXTRA):
            raise ValueError("unknown member for the params of tools/call")
        parts += [b",", _dump(extra)[1:-1]]
    parts.append(b"}}")
    return b"".join(parts)


def error_body(
    request_id: RequestId | None, code: int, message: str, data: dict[str, Any] | None = None
) -> bytes:
    error: dict[str, Any] = {"code": int(code), "message": message}
    if data is not None:
        error["data"] = data
    return _dump({"jsonrpc": "2.0", "id": request_id, "error": error})


def result_body(request_id: RequestId, result: dict[str, Any]) -> bytes:
    return _dump({"jsonrpc": "2.0", "id": request_id, "result": result})


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # an int beyond 64 bit
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "strict")
