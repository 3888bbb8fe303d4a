"""subscriptions/listen with task ids: every change is told as tasks/get would tell it."""

from __future__ import annotations

import pytest

from tests.support.bare_agent import TASKS
from tests.tasks.conftest import Scene

pytestmark = pytest.mark.xdist_group("tasks")

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


def test_what_becomes_of_a_task_is_told_to_the_end(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("slow_compute", key=key, seconds=0.2)
    foreign = scene.agent().begin("slow_compute", key=f"{key} other")
    with agent.listen(taskIds=[task, foreign, "gwt_nothing"]) as messages:
        agreed = next(messages)
        assert agreed["method"] == "notifications/subscriptions/acknowledged"
        assert agreed["params"]["notifications"] == {"taskIds": [task]}
        scene.approve(key)
        told = [next(messages)]
        while told[-1]["params"]["status"] == "working":
            told.append(next(messages))
    number = agreed["params"]["_meta"][SUBSCRIPTION]
    for one in told:
        assert one["method"] == "notifications/tasks"
        assert one["params"]["taskId"] == task
        assert one["params"]["_meta"] == {SUBSCRIPTION: number}
        assert "resultType" not in one["params"]
    last = told[-1]["params"]
    assert (last["status"], last["result"]["content"][0]["text"]) == (
        "completed",
        f"computed {key}",
    )
    got = agent.get(task)
    del got["resultType"], last["_meta"]
    assert last == got


def test_a_question_is_told_too(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("confirm_delete", key=key)
    with agent.listen(taskIds=[task]) as messages:
        scene.approve(key)
        asked = next(one for one in messages if one["params"].get("status") == "input_required")
        assert len(asked["params"]["inputRequests"]) == 1
        agent.cancel(task)
        assert next(messages)["params"]["status"] == "cancelled"


def test_a_server_without_subscriptions_does_not_keep_tasks_from_being_told(
    scene: Scene, key: str
) -> None:
    agent = scene.agent()
    task = agent.begin("slow_compute", key=key)
    with agent.listen(taskIds=[task], toolsListChanged=True) as messages:
        assert next(messages)["params"]["notifications"] == {"taskIds": [task]}
        scene.desk.deny(scene.pending(key)["id"], "No.")
        told = next(one for one in messages if one["params"].get("status") == "completed")
        assert told["params"]["result"]["isError"] is True


def test_who_does_not_declare_tasks_may_not_listen_to_them(scene: Scene) -> None:
    agent = scene.agent(tasks=False)
    refused = agent.ask("subscriptions/listen", notifications={"taskIds": ["gwt_x"]})
    assert (refused.status, refused.error["code"]) == (400, -32021)
    assert refused.error["data"] == {"requiredCapabilities": {"extensions": {TASKS: {}}}}
