"""A server's stored answer as people read it: its texts, and everything as it came. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """`texts` are the answer's own words; `raw` is all of it, secrets masked."""

    texts: tuple[str, ...]
    failed: bool
    more: str  # what else is in it: "2 images"
    raw: str


def answer_of(raw: str) -> ServerAnswer:
    """The answer of a tool call; anything else is shown as it came."""
    result = _result(raw)
    content = result.get("content")
    blocks = [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []
    texts = tuple(str(one["text"]) for one in blocks if isinstance(one.get("text"), str))
    error = result.get("message")
    if not texts and isinstance(error, str):
        texts = (error,)
    others = len(blocks) - len(texts) if blocks else 0
    more = f"{others} {'part' if others == 1 else 'parts'} that are no text" if others > 0 else ""
    return ServerAnswer(texts, bool(result.get("isError")) or "code" in result, more, raw)


def _result(raw: str) -> dict[str, Any]:
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(message, dict):
        return {}
    found = message.get("result", message.get("error", message))
    return found if isinstance(found, dict) else {}
