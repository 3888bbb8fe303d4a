"""A real client with tasks (Python SDK 2.x): every way a held call may end, and every crash."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.end_to_end.conftest import Scene
from tests.support.agents import Agent
from tests.support.bare_agent import Agent as Bare
from tests.support.live_gateway import eventually

pytestmark = pytest.mark.xdist_group("client with tasks")


def task_of(agent: Agent) -> str:
    """The id of the task that the client was given."""
    told: list[dict[str, Any]] = eventually(lambda: agent.notes)
    return str(told[-1]["task"])


def test_a_call_approved_in_time_gives_the_servers_own_result(scene: Scene, key: str) -> None:
    with scene.agent("py2-tasks") as agent:
        assert agent.protocol == "2026-07-28"
        call = agent.begin("held", key=key)
        assert task_of(agent).startswith("gwt_")
        scene.desk.approve(scene.desk.waiting(key)["id"])
        answer = call.answer()
    assert (answer.text, answer.refused) == (f"held {key}", False)
    assert answer.result["structuredContent"] == {"arguments": {"key": key}}
    assert scene.ran(key) == 1


def test_a_denial_reaches_the_model_in_the_reviewers_words(scene: Scene, key: str) -> None:
    with scene.agent("py2-tasks") as agent:
        call = agent.begin("held", key=key)
        scene.desk.deny(scene.desk.waiting(key)["id"], "Use the copy.")
        answer = call.answer()
    assert (answer.text, answer.refused) == ("Denied by alice: Use the copy.", True)
    assert scene.ran(key) == 0


def test_an_expired_call_says_so(scene: Scene, key: str) -> None:
    with scene.agent("py2-tasks") as agent:
        answer = agent.call("held", key=key, kind="fleeting")
    assert answer.text.startswith("Approval expired")
    assert answer.refused
    assert scene.ran(key) == 0


def test_an_allowed_call_and_a_denied_one_are_no_tasks(scene: Scene, key: str) -> None:
    with scene.agent("py2-tasks") as agent:
        assert agent.call("free", key=key).text == f"free {key}"
        assert agent.call("denied", key=key).text.startswith("Policy violation: Not for agents.")
        assert agent.notes == []


def test_a_cancelled_task_is_told_as_cancelled_and_never_runs(scene: Scene, key: str) -> None:
    token = scene.site.grant("canceller")
    with scene.agent("py2-tasks", token=token) as agent:
        call = agent.begin("held", key=key)
        row = scene.desk.waiting(key)
        Bare(f"{scene.site.url}/mcp/witness", token).cancel(task_of(agent))
        assert "task cancelled" in call.answer().error
    assert scene.desk.approval(row["id"])["state"] == "withdrawn"
    assert scene.ran(key) == 0


def test_a_client_that_crashed_finds_its_task_when_it_is_back(scene: Scene, key: str) -> None:
    token = scene.site.grant("crasher")
    with scene.agent("py2-tasks", token=token) as agent:
        agent.begin("held", key=key)
        row = scene.desk.waiting(key)
        task = task_of(agent)
        agent.kill()
    scene.desk.approve(row["id"])
    eventually(lambda: scene.ran(key) == 1)  # with no one connected
    found = Bare(f"{scene.site.url}/mcp/witness", token).ended(task)
    assert found["result"]["content"][0]["text"] == f"held {key}"


def test_a_repeat_after_a_crash_is_the_same_task(scene: Scene, key: str) -> None:
    token = scene.site.grant("repeater")
    with scene.agent("py2-tasks", token=token) as agent:
        agent.begin("held", key=key)
        row = scene.desk.waiting(key)
        first = task_of(agent)
        agent.kill()
    with scene.agent("py2-tasks", token=token) as agent:
        call = agent.begin("held", key=key)
        assert task_of(agent) == first
        scene.desk.approve(row["id"])
        assert call.answer().text == f"held {key}"
    assert scene.ran(key) == 1


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_gateway_leaves_the_task_to_the_next_client(
    scene: Scene, key: str, sig: signal.Signals
) -> None:
    token = scene.site.grant("restarter")
    with scene.agent("py2-tasks", token=token) as agent:  # this SDK's client ends with its server
        agent.begin("held", key=key)
        row = scene.desk.waiting(key)
        task = task_of(agent)
        scene.site.stop(sig)
        agent.kill()
    scene.site.start()
    scene.desk.approve(row["id"])
    eventually(lambda: scene.ran(key) == 1)
    with scene.agent("py2-tasks", token=token) as agent:
        assert agent.call("held", key=key).text == f"held {key}"
        assert task_of(agent) == task
    assert scene.ran(key) == 1
