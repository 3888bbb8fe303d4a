"""What several servers say, made one conversation: ids and event ids that name their server. Pure.

Requests and notifications of a server keep everything but the ids the agent answers to, so that
an answer finds its way back without a table. 2026-07-28 has no requests from servers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.protocol.jsonrpc import Message
from gateway.protocol.sse import SseParser, block

_MARK = "signoff"
_MOST = 64 * 1024 * 1024  # the cutter has bounded a block before


def marked(server: str, identifier: object) -> str:
    """A server's id as the agent sees it."""
    return f"{_MARK}:{server}:{json.dumps(identifier)}"


def unmarked(identifier: object) -> tuple[str, str | int] | None:
    """Server and its own id of one that `marked` made; None: it was not."""
    if not isinstance(identifier, str):
        return None
    mark, _, rest = identifier.partition(":")
    server, _, written = rest.partition(":")
    try:
        found = json.loads(written)
    except ValueError:
        return None
    known = mark == _MARK and isinstance(found, str | int) and not isinstance(found, bool)
    return (server, found) if known else None


def ids_to_agent(server: str, told: bytes, tokens: Mapping[str, str] | None) -> bytes:
    """One block of a server's stream as the agent of all servers gets it. `tokens`: the progress
    tokens of what the agent has under way, as text, and whose they are (None: one request's own
    stream, which is sifted already); a server's notes about another's are left out.
    """
    parts = []
    for found in SseParser(_MOST).feed(told):
        data = _told(server, found.data, tokens) if found.data else found.data
        if data == b"" and found.data:
            parts.append(b"")
            continue
        identifier = None if found.id is None else f"{server}:{found.id}" if found.id else ""
        parts.append(block(replace(found, data=data, id=identifier)))
    return b"".join(parts) if parts else told


def of_event(identifier: str) -> tuple[str, str] | None:
    """Server and its own event id of a Last-Event-ID; None: it names no server."""
    server, colon, rest = identifier.partition(":")
    return (server, rest) if colon and rest else None


def ids_to_server(message: Message) -> tuple[str, Message] | None:
    """An agent's answer, cancellation or progress as its server expects it, and which server."""
    if message.kind == "response":
        found = unmarked(message.id)
        if found is None:
            return None
        raw = {**(message.raw or {}), "id": found[1]}
        return found[0], replace(message, id=found[1], raw=raw)
    params = message.params or {}
    found = unmarked(params.get("progressToken"))
    if found is None:
        return None
    return found[0], replace(message, params={**params, "progressToken": found[1]})


def _told(server: str, data: bytes, tokens: Mapping[str, str] | None) -> bytes:
    """The data as the agent gets it; nothing: it gets nothing of it."""
    if b'"method"' not in data and b"\\u" not in data:
        return data
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        return data
    params = message.get("params")
    if "id" in message:
        message["id"] = marked(server, message["id"])
        _mark_token(server, params)
    elif message["method"] == "notifications/progress" and tokens is not None:
        token = params.get("progressToken") if isinstance(params, dict) else None
        known = isinstance(token, str) or type(token) is int
        return data if known and tokens.get(str(token)) == server else b""
    elif message["method"] == "notifications/cancelled" and isinstance(params, dict):
        params["requestId"] = marked(server, params.get("requestId"))
    else:
        return data
    return json.dumps(message, separators=(",", ":")).encode("ascii")


def _mark_token(server: str, params: Any) -> None:
    meta = params.get("_meta") if isinstance(params, dict) else None
    if isinstance(meta, dict) and "progressToken" in meta:
        meta["progressToken"] = marked(server, meta["progressToken"])
