"""What every Python client script is: orders on stdin, what it saw on stdout, one JSON a line.

Orders: {"id": 1, "op": "list"}, {"id": 2, "op": "call", "name": …, "arguments": {…},
"timeout": seconds?, "progress": true?, "reset": true?} and {"op": "cancel", "call": 2}; `reset`, a
time-out that starts again with every progress note, is for TypeScript SDKs alone. Runs in either
Python SDK's environment, so it imports neither.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio

Json = dict[str, Any]
List = Callable[[], Awaitable[list[str]]]
Call = Callable[[str, Json, float | None, "Note | None"], Awaitable[Json]]


class Note(Protocol):
    """What both SDKs call with every progress note."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


def say(seen: Json) -> None:
    """One line of what was seen."""
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()


async def converse(*, protocol: str, tools: List, call: Call) -> None:
    """Follow orders until stdin ends; calls run beside each other."""

    calls: dict[int, anyio.CancelScope] = {}

    async def obey(order: Json) -> None:
        number = order["id"]
        if order["op"] == "cancel":
            calls[order["call"]].cancel()
            return

        async def note(progress: float, total: float | None, message: str | None) -> None:
            said = {"progress": progress, "total": total, "message": message}
            say({"id": number, "progress": said})

        try:
            if order["op"] == "list":
                say({"id": number, "result": await tools()})
                return
            on_progress = note if order.get("progress") else None
            given = (order["name"], order["arguments"], order.get("timeout"), on_progress)
            with anyio.CancelScope() as calls[number]:
                say({"id": number, "result": await call(*given)})
            if calls[number].cancelled_caught:
                say({"id": number, "error": "cancelled"})
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is what it saw
            say({"id": number, "error": f"{type(error).__name__}: {error}"})

    say({"ready": protocol})
    async with anyio.create_task_group() as tasks:
        async for line in anyio.wrap_file(sys.stdin):
            tasks.start_soon(obey, json.loads(line))
        tasks.cancel_scope.cancel()
