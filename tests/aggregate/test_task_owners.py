"""Which server a task belongs to is remembered for each grant: no agent pushes out another's."""

from __future__ import annotations

import json
from typing import Any, cast

from approvals.service import Approvals
from gateway.relay.aggregate.task_owners import TaskOwners

NO_APPROVALS = cast("Approvals", None)  # a server's own tasks are looked up in no record


async def made(owners: TaskOwners, grant: str, task: str) -> None:
    async def sink(_event: Any) -> None:
        return None

    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"taskId": task}}).encode()
    await owners.watching(grant, "s", sink)({"type": "http.response.body", "body": body})


async def test_a_grant_that_makes_thousands_of_tasks_pushes_out_its_own_alone() -> None:
    owners = TaskOwners(NO_APPROVALS)
    await made(owners, "quiet", "mine")
    for number in range(12_000):
        await made(owners, "loud", f"task-{number}")
    assert await owners.server("quiet", "mine") == "s"
    assert await owners.server("loud", "task-11999") == "s"
    assert await owners.server("loud", "task-0") is None
    assert await owners.server("quiet", "task-11999") is None
