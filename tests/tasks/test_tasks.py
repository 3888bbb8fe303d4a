"""A held call of an agent that knows tasks is a task: it answers at once, and nothing is lost."""

from __future__ import annotations

import threading

import httpx2
import pytest

from tests.support.bare_agent import TASKS, Agent
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE
from tests.tasks.conftest import Scene

pytestmark = pytest.mark.xdist_group("tasks")


def test_a_held_call_answers_with_a_task_that_is_on_record(scene: Scene, key: str) -> None:
    agent = scene.agent()
    result = agent.call("slow_compute", key=key).result
    assert result["taskId"].startswith("gwt_")
    assert len(result["taskId"]) == len("gwt_") + 26  # 128 bits
    assert result["resultType"] == "task"
    assert result["status"] == "working"
    assert result["ttlMs"] == (600 + 86_400) * 1000
    assert result["pollIntervalMs"] == 2_000
    assert not {"result", "error", "inputRequests", "requestState", "task"} & result.keys()
    row = scene.pending(key)
    assert row["id"][4:] == result["taskId"][4:]
    got = agent.get(result["taskId"])
    assert got["resultType"] == "complete"
    assert row["id"] in got["statusMessage"]
    assert scene.happened("came", key) == 0


def test_an_approved_task_runs_once_without_anybody_waiting(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("slow_compute", key=key)
    scene.approve(key)
    eventually(lambda: scene.happened("done", key))  # no one has asked
    done = agent.ended(task)
    assert done["status"] == "completed"
    assert done["result"]["content"] == [{"type": "text", "text": f"computed {key}"}]
    assert agent.get(task)["result"] == done["result"]  # and again
    assert scene.happened("came", key) == 1


def test_an_approval_that_comes_late_is_found_by_a_new_connection(scene: Scene, key: str) -> None:
    token = scene.site.grant("late")
    task = scene.agent(token=token).begin("slow_compute", key=key)
    row = scene.pending(key)
    assert scene.agent(token=token).get(task)["status"] == "working"
    scene.desk.approve(row["id"])
    done = scene.agent(token=token).ended(task)  # all that the crash left is the id
    assert done["result"]["content"][0]["text"] == f"computed {key}"


def test_a_denial_is_a_completed_task_with_the_reviewers_words(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("slow_compute", key=key)
    scene.desk.deny(scene.pending(key)["id"], "Not today.")
    done = agent.ended(task)
    assert done["status"] == "completed"
    assert done["result"]["isError"] is True
    assert done["result"]["content"][0]["text"] == "Denied by alice: Not today."
    assert scene.happened("came", key) == 0


def test_an_expired_approval_is_a_completed_task_that_says_so(scene: Scene, key: str) -> None:
    agent = scene.agent()
    done = agent.ended(agent.begin("slow_compute", key=key, kind="fleeting"))
    assert done["status"] == "completed"
    assert done["result"]["isError"] is True
    assert done["result"]["content"][0]["text"].startswith("Approval expired")


def test_cancelling_withdraws_what_nobody_has_decided(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("slow_compute", key=key)
    row = scene.pending(key)
    assert agent.cancel(task).result == {"resultType": "complete"}
    assert agent.get(task)["status"] == "cancelled"
    assert scene.desk.approval(row["id"])["state"] == "withdrawn"
    assert agent.cancel(task).result == {"resultType": "complete"}  # as often as one likes
    with pytest.raises(httpx2.HTTPStatusError):
        scene.desk.approve(row["id"])
    assert scene.happened("came", key) == 0


def test_cancelling_what_runs_tells_the_server_and_the_outcome_is_unknown(
    scene: Scene, key: str
) -> None:
    agent = scene.agent()
    task = agent.begin("slow_compute", key=key, seconds=60)
    row = scene.approve(key)
    eventually(lambda: scene.happened("came", key))
    agent.cancel(task)
    eventually(lambda: scene.happened("cancelled", key))
    assert agent.ended(task)["status"] == "cancelled"
    assert scene.desk.approval(row["id"])["execution"] == "outcome_unknown"
    events = scene.desk.events(approval_id=row["id"])
    told = [event for event in events if event != "delivered"]
    assert told[-2:] == ["cancel_asked", "outcome_unknown"]


def test_a_tools_own_error_is_completed_and_a_json_rpc_error_is_failed(
    scene: Scene, key: str
) -> None:
    agent = scene.agent()
    tool = agent.begin("failing_job", key=f"{key} tool")
    protocol = agent.begin("protocol_error_job", key=f"{key} protocol")
    scene.approve(f"{key} tool")
    scene.approve(f"{key} protocol")
    erred, failed = agent.ended(tool), agent.ended(protocol)
    assert (erred["status"], erred["result"]["isError"]) == ("completed", True)
    assert (failed["status"], failed["error"]) == (
        "failed",
        {"code": -32603, "message": "It broke"},
    )
    assert "result" not in failed


def test_a_task_is_unknown_to_every_other_grant(scene: Scene, key: str) -> None:
    owner, other = scene.agent(), scene.agent()
    task = owner.begin("slow_compute", key=key)
    for asked in (
        other.ask("tasks/get", taskId=task),
        other.cancel(task),
        other.update(task, anything={}),
        owner.ask("tasks/get", taskId="gwt_00000000000000000000000000"),
        owner.ask("tasks/get", taskId="somebody-elses"),
    ):
        assert (asked.status, asked.error["code"]) == (400, -32602)
        assert asked.error["message"] == "Task not found"
    assert owner.get(task)["status"] == "working"
    assert scene.pending(key)


def test_only_a_request_that_declares_tasks_gets_one(scene: Scene, key: str) -> None:
    token = scene.site.grant("plain")
    plain, knowing = scene.agent(token=token, tasks=False), scene.agent(token=token)
    answers: list[str] = []
    waiting = threading.Thread(
        target=lambda: answers.append(plain.call("slow_compute", key=key).text), daemon=True
    )
    waiting.start()
    scene.approve(key)
    waiting.join(PATIENCE)
    assert answers == [f"computed {key}"]
    task = knowing.begin("slow_compute", key=f"{key} again")
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        refused = plain.ask(method, taskId=task)
        assert (refused.status, refused.error["code"]) == (400, -32021)
        assert refused.error["data"] == {"requiredCapabilities": {"extensions": {TASKS: {}}}}


def test_headers_that_name_another_task_are_refused(scene: Scene, key: str) -> None:
    agent = scene.agent()
    task = agent.begin("slow_compute", key=key)
    for header in ("Mcp-Name", "Mcp-Method"):
        refused = agent.ask("tasks/cancel", {header: "other"}, taskId=task)
        assert (refused.status, refused.error["code"]) == (400, -32020)
    assert agent.get(task)["status"] == "working"


@pytest.mark.parametrize("method", ["tasks/result", "tasks/list"])
def test_the_methods_of_the_older_tasks_are_gone(scene: Scene, method: str) -> None:
    refused = scene.agent().ask(method, taskId="gwt_x")
    assert (refused.status, refused.error["code"]) == (404, -32601)


def test_server_discover_offers_tasks_and_nothing_else_does(scene: Scene) -> None:
    agent = scene.agent()
    offered = agent.ask("server/discover").result["capabilities"]
    assert offered == {"tools": {}, "extensions": {TASKS: {}}}
    for tool in agent.ask("tools/list").result["tools"]:
        assert "execution" not in tool


def test_the_same_call_twice_is_one_task_and_runs_once(scene: Scene, key: str) -> None:
    token = scene.site.grant("twice")
    agents = [scene.agent(token=token) for _ in range(4)]
    begun: list[str] = []
    barrier = threading.Barrier(4)

    def begin(agent: Agent) -> None:
        barrier.wait(PATIENCE)
        begun.append(agent.begin("slow_compute", key=key, seconds=0.2))

    threads = [threading.Thread(target=begin, args=(agent,)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(set(begun)) == 1
    scene.approve(key)
    assert agents[0].ended(begun[0])["status"] == "completed"
    assert scene.happened("came", key) == 1
    assert agents[0].begin("slow_compute", key=key, seconds=0.2) != begun[0]  # was delivered


def test_a_task_and_an_agent_that_waits_in_place_share_one_run(scene: Scene, key: str) -> None:
    token = scene.site.grant("both")
    task = scene.agent(token=token).begin("slow_compute", key=key, seconds=0.3)
    plain = scene.agent(token=token, tasks=False)
    answers: list[str] = []
    waiting = threading.Thread(
        target=lambda: answers.append(plain.call("slow_compute", key=key, seconds=0.3).text)
    )
    waiting.start()
    row = scene.pending(key)
    eventually(lambda: scene.desk.approval(row["id"])["attempts"] == 2)
    scene.desk.approve(row["id"])
    waiting.join(PATIENCE)
    assert answers == [f"computed {key}"]
    assert scene.agent(token=token).ended(task)["result"]["content"][0]["text"] == answers[0]
    assert scene.happened("came", key) == 1


def test_a_task_of_a_grant_that_was_revoked_never_runs(scene: Scene, key: str) -> None:
    token = scene.site.grant("revoked")
    scene.agent(token=token).begin("slow_compute", key=key)
    row = scene.pending(key)
    scene.site.run("grant", "revoke", "revoked")
    ended = scene.desk.approval(row["id"])  # withdrawn with the grant: no one is asked in vain
    assert (ended["state"], ended["execution"]) == ("withdrawn", "none")
    with pytest.raises(httpx2.HTTPStatusError, match="409"):
        scene.desk.approve(row["id"])
    assert scene.happened("came", key) == 0
