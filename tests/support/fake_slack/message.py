"""What the workspace keeps, and what it is told to get wrong: messages, calls, faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Params = dict[str, Any]


class Refused(Exception):
    """Slack's `{"ok": false, "error": …}`."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.answer = {"ok": False, "error": error, **more}


@dataclass(frozen=True)
class Fault:
    """What becomes of one call. `acted`: Slack does it before anything goes wrong."""

    acted: bool = False
    status: int | None = None
    error: str = ""
    retry_after: int | None = None
    seconds: float = 0.0  # until the answer
    cut: bool = False  # the connection breaks instead of an answer


def busy(seconds: int = 1) -> Fault:
    return Fault(status=429, error="ratelimited", retry_after=seconds)


def broken(status: int = 500, *, acted: bool = False) -> Fault:
    return Fault(status=status, acted=acted)


def says(error: str) -> Fault:
    return Fault(error=error)


def dropped(*, acted: bool = True) -> Fault:
    return Fault(cut=True, acted=acted)


def slow(seconds: float) -> Fault:
    return Fault(acted=True, seconds=seconds)


@dataclass
class Message:
    """As Slack keeps it; `versions` are its earlier (text, blocks)."""

    channel: str
    ts: str
    text: str
    blocks: list[Params]
    metadata: Params | None
    thread_ts: str | None
    bot_id: str
    posted: Params  # every parameter of the post
    deleted: bool = False
    versions: list[tuple[str, list[Params]]] = field(default_factory=list)

    def buttons(self) -> list[Params]:
        rows = [block["elements"] for block in self.blocks if block["type"] == "actions"]
        return [element for row in rows for element in row]

    def button(self, action_id: str) -> Params:
        return next(one for one in self.buttons() if one["action_id"] == action_id)

    def as_slack(self, *, metadata: bool) -> Params:
        told: Params = {"type": "message", "ts": self.ts, "text": self.text, "blocks": self.blocks}
        told |= {"user": "UBOT", "bot_id": self.bot_id}
        if self.thread_ts:
            told["thread_ts"] = self.thread_ts
        if metadata and self.metadata:
            told["metadata"] = self.metadata
        return told


@dataclass
class Call:
    """One request that reached Slack."""

    method: str
    params: Params
    at: float
    verb: str
