"""A server that asks back while its call is a task: tasks/get asks, tasks/update answers."""

from __future__ import annotations

import pytest

from tests.tasks.conftest import Scene

pytestmark = pytest.mark.xdist_group("tasks")

YES = {"action": "accept", "content": {"confirm": "yes"}}


def test_a_question_is_answered_by_update_and_the_call_runs_on(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("confirm_delete", key=key)
    scene.approve(key)
    asked = agent.until(task, "input_required")
    assert [one["method"] for one in asked["inputRequests"].values()] == ["elicitation/create"]
    assert "requestState" not in asked
    (named,) = asked["inputRequests"]
    assert agent.update(task, **{named: YES}).result == {"resultType": "complete"}
    done = agent.ended(task)
    assert done["result"]["content"][0]["text"] == f"deleted {key}"
    assert [line for line in scene.lines() if line[2] == key] == [
        ["came", "confirm_delete", key, None],
        ["came", "confirm_delete", key, f"delete {key}"],
        ["done", "confirm_delete", key, {"confirm": YES}],
    ]


def test_answers_may_come_one_by_one_and_strangers_are_ignored(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("multi_input", key=key)
    agent.update(task, early=YES)  # nothing was asked yet
    scene.approve(key)
    first, second = agent.until(task, "input_required")["inputRequests"]
    agent.update(task, **{first: YES, "stranger": YES})
    left = agent.get(task)
    assert (left["status"], list(left["inputRequests"])) == ("input_required", [second])
    agent.update(task, **{first: {"action": "decline"}})  # it was answered
    agent.update(task, **{second: YES})
    assert agent.ended(task)["status"] == "completed"
    (done,) = [line for line in scene.lines() if line[0] == "done" and line[2] == key]
    assert done[3] == {"first": YES, "second": YES}


def test_a_key_is_never_used_again_within_a_task(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("steps", key=key, count=3, kind="held")
    scene.approve(key)
    seen: list[str] = []
    while (now := agent.until(task, "input_required", "completed"))["status"] != "completed":
        (named,) = now["inputRequests"]
        if named not in seen:
            seen.append(named)
            agent.update(task, **{named: YES})
    assert len(seen) == 3
    assert now["result"]["content"][0]["text"] == "3 steps"
    assert scene.happened("came", key) == 4


def test_a_server_that_only_wants_to_be_asked_again_is(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("again", key=key)
    scene.approve(key)
    assert agent.ended(task)["result"]["content"][0]["text"] == "ready"
    assert scene.happened("came", key) == 2


def test_cancelling_a_question_withdraws_the_call(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("confirm_delete", key=key)
    row = scene.approve(key)
    (named,) = agent.until(task, "input_required")["inputRequests"]
    agent.cancel(task)
    agent.update(task, **{named: YES})
    assert agent.get(task)["status"] == "cancelled"
    assert scene.desk.approval(row["id"])["state"] == "withdrawn"
    assert scene.happened("came", key) == 1


def test_a_task_the_server_makes_of_an_approved_call_is_followed_to_its_result(
    scene: Scene, key: str
) -> None:
    agent = scene.agent()
    task = agent.begin("own_task", key=key)
    row = scene.approve(key)
    done = agent.ended(task)
    assert done["taskId"] == task
    assert done["result"]["content"][0]["text"] == f"task of {key}"
    assert scene.happened("task", key) == 1
    assert scene.desk.approval(row["id"])["execution"] == "succeeded"


def test_a_question_of_the_servers_own_task_is_answered_there(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("own_task", key=key, ask=True)
    scene.approve(key)
    (named,) = agent.until(task, "input_required")["inputRequests"]
    agent.update(task, **{named: YES})
    assert agent.ended(task)["result"]["content"][0]["text"] == f"task of {key}"
    assert scene.happened("came", key) == 1  # the call itself was sent once
    assert scene.happened("answer", key) == 1
