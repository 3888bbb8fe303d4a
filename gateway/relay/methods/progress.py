"""Progress notes to a waiting agent (basic/utilities/progress), where it asked for them.

The number must grow with every note of one token, through the waiting and through what the server
itself reports once the call runs: the server's numbers are carried on from where waiting ended.
"""

from __future__ import annotations

import json
from typing import Any

from approvals.model import Approval, short_id
from approvals.reversal import runs_from
from gateway.enforcement.refusal_texts import clock, timestamp
from gateway.relay.agents.response import EventStream
from gateway.relay.upstreams.response_filter import is_token, progress_token

_LONGEST = 200  # characters some hosts show


class Progress:
    """The notes of one request; without a token, only signs of life."""

    @classmethod
    def silent(cls) -> Progress:
        """For a call that no agent waits for."""
        return cls(None, None)

    def __init__(self, stream: EventStream | None, token: str | int | None) -> None:
        self._stream = stream
        self._token = token
        self._count = 0

    async def waiting(self, approval: Approval, link: str) -> None:
        """Say that a person is still to decide, or may still take it back."""
        if self._stream is None:
            return
        if self._token is None:
            if self._count:  # the first look costs nothing: the decision may be quick
                await self._stream.ping()
            self._count += 1
            return
        self._count += 1
        until = clock(approval.expires_at)
        text = f"Waiting for approval {short_id(approval.id)} until {until}: {link}"
        if runs_from(approval):
            text = f"Approved; it starts at {timestamp(runs_from(approval))}, unless taken back."
        await self._note(self._stream, {"progress": self._count, "message": text[:_LONGEST]})

    async def from_server(self, data: bytes) -> None:
        """Hand down what the server says while the call runs. What is no message is dropped: the
        call's own answer may still follow.
        """
        if self._stream is None:
            return
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        if message.get("method") == "notifications/progress":
            if not is_token(progress_token(message), self._token):
                return  # a note of another request, or one that no one asked for
            params = message["params"]
            for key in ("progress", "total"):
                if isinstance(params.get(key), int | float):
                    params[key] += self._count
            data = json.dumps(message, separators=(",", ":")).encode("ascii")
        await self._stream.message(data)

    async def _note(self, stream: EventStream, params: dict[str, Any]) -> None:
        message = {
            "jsonrpc": "2.0",
            "method": "notifications/progress",
            "params": {"progressToken": self._token, **params},
        }
        await stream.message(json.dumps(message, separators=(",", ":")).encode("ascii"))
