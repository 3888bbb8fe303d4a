"""What several servers say, made one conversation: ids and event ids that name their server. Pure.

Requests and notifications of a server keep everything but the ids the agent answers to, so that
an answer finds its way back without a table. 2026-07-28 has no requests from servers.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from gateway.jsonrpc import Message
from gateway.relay.sse import Event, SseParser, event

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


def downwards(server: str, block: bytes) -> bytes:
    """One block of a server's stream as the agent of all servers gets it."""
    parts = []
    for found in SseParser(_MOST).feed(block):
        data = _told(server, found.data) if found.data else found.data
        identifier = None if found.id is None else f"{server}:{found.id}" if found.id else ""
        parts.append(_event(Event(data, identifier, found.event, found.retry)))
    return b"".join(parts) or block


def of_event(identifier: str) -> tuple[str, str] | None:
    """Server and its own event id of a Last-Event-ID; None: it names no server."""
    server, colon, rest = identifier.partition(":")
    return (server, rest) if colon and rest else None


def upwards(message: Message) -> tuple[str, Message] | None:
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


def _told(server: str, data: bytes) -> bytes:
    if b'"method"' not in data:
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
    elif message["method"] == "notifications/cancelled" and isinstance(params, dict):
        params["requestId"] = marked(server, params.get("requestId"))
    else:
        return data
    return json.dumps(message, separators=(",", ":")).encode("ascii")


def _mark_token(server: str, params: Any) -> None:
    meta = params.get("_meta") if isinstance(params, dict) else None
    if isinstance(meta, dict) and "progressToken" in meta:
        meta["progressToken"] = marked(server, meta["progressToken"])


def _event(found: Event) -> bytes:
    if found.data is not None:
        return event(found.data, found.id, found.event, found.retry)
    lines = [f"id: {found.id}\n" if found.id is not None else ""]
    lines.append(f"retry: {found.retry}\n" if found.retry is not None else "")
    return "".join((*lines, "\n")).encode()
