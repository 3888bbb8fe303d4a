"""Which server a task belongs to: the gateway's own name their approval, a server's are remembered
from the answer that made them. Not pure.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Final

from approvals.service import Approvals
from gateway.relay.agents.response import Send
from gateway.relay.methods.task_view import approval_id

_MOST: Final = 1_000  # tasks remembered of one grant
_MADE = b'"taskId"'


class TaskOwners:
    """Task -> server, for each grant."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals
        self._known: dict[str, OrderedDict[str, str]] = {}  # of each grant, the oldest first

    async def server(self, grant: str, task: str) -> str | None:
        """The server; None: it is no task of this grant, or one that no one remembers."""
        own = approval_id(task)
        if own is None:
            known = self._known.get(grant)
            return known.get(task) if known is not None else None
        approval = await self._approvals.get(own)
        if approval is None or approval.call.grant != grant:
            return None
        return approval.call.server

    def watching(self, grant: str, server: str, send: Send) -> Send:
        """ASGI `send` that remembers a task the server's answer makes."""

        async def watch(event: Any) -> None:
            body = event.get("body", b"")
            if _MADE in body:
                self._note(grant, server, body)
            await send(event)

        return watch

    def _note(self, grant: str, server: str, body: bytes) -> None:
        for line in body.splitlines():
            try:
                message = json.loads(line.removeprefix(b"data:"))
            except (ValueError, RecursionError):
                continue
            result = message.get("result") if isinstance(message, dict) else None
            task = result.get("taskId") if isinstance(result, dict) else None
            if isinstance(task, str):
                known = self._known.setdefault(grant, OrderedDict())
                known[task] = server
                if len(known) > _MOST:
                    known.popitem(last=False)
