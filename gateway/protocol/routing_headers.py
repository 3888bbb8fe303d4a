"""The routing headers of 2026-07-28 (SEP-2243) held against the body they speak of. Pure.

The body decides; a header only ever refuses. Revisions before 2026-07-28 have no such headers, so
for them nothing here is asked. Codes and order are those of the MCP SDK's own ladder.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any, Final

from gateway.protocol.message import (
    CAPABILITIES_KEY,
    LEGACY_VERSIONS,
    MODERN_VERSIONS,
    VERSION_KEY,
    ErrorCode,
    Malformed,
    Message,
    RequestId,
)
from gateway.protocol.param_headers import HeaderParam, agrees, scalar_text, value_at

RawHeaders = Sequence[tuple[bytes, bytes]]

_VERSION: Final = b"mcp-protocol-version"
_METHOD: Final = b"mcp-method"
_NAME: Final = b"mcp-name"
_PARAM_PREFIX: Final = b"mcp-param-"
_ROUTING: Final = frozenset({_VERSION, _METHOD, _NAME})

_NAMED_BY: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""Method to the member of params that Mcp-Name repeats; tasks/* by SEP-2663."""


def is_modern(raw_headers: RawHeaders, message: Message) -> bool:
    """Whether the request belongs to the per-request era, so that the ladder must be climbed.

    The version header decides, as in the SDK: some clients send a legacy header with a modern
    `_meta`, and every server reads that as legacy. Without the header the body decides, and a
    header given twice is modern, where the ladder refuses it.
    """
    versions = [value for name, value in raw_headers if name.lower() == _VERSION]
    if not versions:
        return message.modern
    return len(versions) > 1 or versions[0].decode("latin-1") not in LEGACY_VERSIONS


def check_modern_headers(
    raw_headers: RawHeaders, message: Message, params: Sequence[HeaderParam] = ()
) -> Malformed | None:
    """The first rung of the ladder that fails, or None. Ask only where `is_modern` says yes.

    `params` are the `x-mcp-header` properties of the called tool, from `header_params`.
    """
    sent: dict[bytes, str] = {}
    for raw_name, raw_value in raw_headers:
        name = raw_name.lower()
        if name in _ROUTING:
            if name in sent:
                return _mismatch(f"{name.decode()} header appears more than once", message.id)
            sent[name] = raw_value.decode("latin-1")
    match message.kind:
        case "response":
            return Malformed(
                ErrorCode.INVALID_REQUEST,
                "Body must be a single JSON-RPC request or notification object",
            )
        case "notification":
            return _unsupported(sent.get(_VERSION, ""), None)
        case "request":
            wrong = _wrong_envelope(message) or _wrong_routing(sent, message)
            if wrong is None:
                wrong = _unsupported(message.meta[VERSION_KEY], message.id)
            if wrong is None and params and message.method == "tools/call":
                wrong = check_param_headers(raw_headers, message, params)
            return wrong


def check_param_headers(
    raw_headers: RawHeaders, message: Message, params: Sequence[HeaderParam]
) -> Malformed | None:
    """Mcp-Param-* against the arguments: both there and equal, or both absent (null is absent)."""
    sent: dict[str, str] = {}
    twice: set[str] = set()
    for raw_name, raw_value in raw_headers:
        name = raw_name.lower()
        if name.startswith(_PARAM_PREFIX):
            token = name[len(_PARAM_PREFIX) :].decode("latin-1")
            if token in sent:
                twice.add(token)
            sent[token] = raw_value.decode("latin-1")
    arguments = (message.params or {}).get("arguments", {})
    for param in params:
        token = param.token.lower()
        value = value_at(arguments, param.path)
        text = scalar_text(value)
        if token in twice:
            return _mismatch("An Mcp-Param header appears more than once", message.id)
        if text is None and token in sent:
            return _mismatch("An Mcp-Param header has no argument to match", message.id)
        if text is None:
            continue
        if token not in sent:
            return _mismatch("An Mcp-Param header is missing", message.id)
        decoded = decode_value(sent[token])
        if decoded is None or not agrees(param, value, text, decoded):
            return _mismatch("An Mcp-Param header does not match its argument", message.id)
    return None


def outbound_headers(
    version: str, method: str, params: dict[str, Any], header_params: Iterable[HeaderParam] = ()
) -> list[tuple[str, str]]:
    """The headers of a modern request to a server, made from the body that is sent."""
    headers = [("MCP-Protocol-Version", version), ("Mcp-Method", method)]
    named = params.get(_NAMED_BY.get(method, ""))
    if isinstance(named, str):
        headers.append(("Mcp-Name", encode_value(named)))
    for param in header_params:
        text = scalar_text(value_at(params.get("arguments", {}), param.path))
        if text is not None:
            headers.append((f"Mcp-Param-{param.token}", encode_value(text)))
    return headers


def decode_value(value: str) -> str | None:
    """A header's value, its `=?base64?..?=` coding undone; None where that coding is broken."""
    if not _is_coded(value):
        return value
    payload = value[len("=?base64?") : -len("?=")]
    try:
        decoded = base64.b64decode(payload.encode("ascii"), validate=True)
        text = decoded.decode("utf-8", "strict")
    except (binascii.Error, UnicodeError):
        return None
    # The same bytes have several base64 spellings (spare bits); only the encoder's is taken.
    return text if base64.b64encode(decoded).decode("ascii") == payload else None


def encode_value(text: str) -> str:
    """A header's value that any HTTP hop keeps: plain where it can be, else `=?base64?..?=`."""
    plain = text.isascii() and (text.isprintable() or not text)
    if plain and text == text.strip(" ") and not _is_coded(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8')).decode('ascii')}?="


def _is_coded(value: str) -> bool:
    return (
        len(value) >= len("=?base64??=") and value.startswith("=?base64?") and value.endswith("?=")
    )


def _wrong_envelope(message: Message) -> Malformed | None:
    meta = (message.params or {}).get("_meta")
    if not isinstance(meta, dict):
        return _bad_params("params._meta must be an object carrying the request envelope", message)
    missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in meta]
    if missing:
        return _bad_params(f"params._meta lacks {' and '.join(missing)}", message)
    return None


def _wrong_routing(sent: dict[bytes, str], message: Message) -> Malformed | None:
    version = sent.get(_VERSION)
    if version is None or version != message.meta[VERSION_KEY]:
        return _mismatch("mcp-protocol-version header does not match the body", message.id)
    if sent.get(_METHOD) != message.method:
        return _mismatch("mcp-method header does not match the body", message.id)
    member = _NAMED_BY.get(message.method)
    if member is None:
        return None
    named, header = (message.params or {}).get(member), sent.get(_NAME)
    if named is None and header is None:
        return None  # nothing names anything: the server says what is missing
    if header is None or decode_value(header) != named:
        return _mismatch(f"mcp-name header does not match params.{member}", message.id)
    return None


def _unsupported(version: str, request_id: RequestId | None) -> Malformed | None:
    if version in MODERN_VERSIONS:
        return None
    data = {"supported": list(MODERN_VERSIONS), "requested": version}
    text = "Unsupported protocol version"
    return Malformed(ErrorCode.UNSUPPORTED_VERSION, text, request_id, data=data)


def _bad_params(text: str, message: Message) -> Malformed:
    return Malformed(ErrorCode.INVALID_PARAMS, text, message.id)


def _mismatch(text: str, request_id: RequestId | None) -> Malformed:
    return Malformed(ErrorCode.HEADER_MISMATCH, text, request_id)
