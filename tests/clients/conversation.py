"""What every Python client script is: orders on stdin, what it saw on stdout, one JSON a line.

Orders: {"id": 1, "op": "list"} and {"id": 2, "op": "call", "name": …, "arguments": {…},
"timeout": seconds?, "progress": true?}. Runs in either SDK's environment, so it imports neither.
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

    async def obey(order: Json) -> None:
        number = order["id"]

        async def note(progress: float, total: float | None, message: str | None) -> None:
            said = {"progress": progress, "total": total, "message": message}
            say({"id": number, "progress": said})

        try:
            if order["op"] == "list":
                say({"id": number, "result": await tools()})
                return
            on_progress = note if order.get("progress") else None
            given = (order["name"], order["arguments"], order.get("timeout"), on_progress)
            say({"id": number, "result": await call(*given)})
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is what it saw
            say({"id": number, "error": f"{type(error).__name__}: {error}"})

    say({"ready": protocol})
    async with anyio.create_task_group() as tasks:
        async for line in anyio.wrap_file(sys.stdin):
            tasks.start_soon(obey, json.loads(line))
        tasks.cancel_scope.cancel()
