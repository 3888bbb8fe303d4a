"""A client of the Python SDK 2.x with tasks: python -m tests.clients.py2_tasks_client URL TOKEN.

The SDK itself has no tasks; its extensions are where a host adds them: this one declares the
capability, takes the task as the call's result and polls it to its end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Request, RequestParams, Result

from tests.clients.conversation import Json, Note, converse, say

POLL_SECONDS = 0.2


class Created(Result):
    """CreateTaskResult, as far as this client looks at it."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class TaskParams(RequestParams):
    task_id: str


class GetTask(Request[TaskParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: TaskParams
    name_param: ClassVar[str | None] = "taskId"


class Detailed(Result):
    """The task as tasks/get gives it."""

    status: str
    result: Json | None = None
    error: Json | None = None


class TasksExtension(ClientExtension):
    identifier = "io.modelcontextprotocol/tasks"

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Created, resolve=resolve),)


async def resolve(created: Created, context: ClaimContext) -> CallToolResult:
    """Poll until it is over."""
    say({"id": 0, "progress": {"task": created.task_id}})
    while True:
        asked = GetTask(params=TaskParams(task_id=created.task_id))
        task = await context.session.send_request(asked, Detailed)
        if task.status == "completed" and task.result is not None:
            return CallToolResult.model_validate(task.result)
        if task.status not in ("working", "input_required"):
            raise RuntimeError(f"task {task.status}: {task.error}")
        await anyio.sleep(POLL_SECONDS)


async def main(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=300)) as http,
        Client(
            streamable_http_client(url, http_client=http),
            mode="auto",
            extensions=[TasksExtension()],
        ) as client,
    ):

        async def tools() -> list[str]:
            return [tool.name for tool in (await client.list_tools()).tools]

        async def call(
            name: str, arguments: Json, seconds: float | None, note: Note | None
        ) -> Json:
            result = await client.call_tool(
                name, arguments, read_timeout_seconds=seconds, progress_callback=note
            )
            return result.model_dump(by_alias=True, mode="json", exclude_none=True)

        await converse(protocol=client.protocol_version, tools=tools, call=call)


if __name__ == "__main__":
    _, _url, _token = sys.argv
    anyio.run(main, _url, _token)
