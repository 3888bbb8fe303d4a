"""A server that asks back (SEP-2322): the answer is approved already, and fits no other call."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.bare_agent import Agent, Reply
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE
from tests.tasks.conftest import Scene

pytestmark = pytest.mark.xdist_group("tasks")

YES = {"action": "accept", "content": {"confirm": "yes"}}
STEP = {"step": {"action": "accept", "content": {"step": "on"}}}


def approved(scene: Scene, agent: Agent, tool: str, key: str, **arguments: Any) -> Reply:
    """The answer to a call that is approved while its agent waits in place."""
    answers: list[Reply] = []
    waiting = threading.Thread(
        target=lambda: answers.append(agent.call(tool, key=key, **arguments)), daemon=True
    )
    waiting.start()
    scene.approve(key)
    waiting.join(PATIENCE)
    return answers[0]


def retry(asked: Reply, **answers: Any) -> dict[str, Any]:
    """The params that bring the answers to a question."""
    return {"inputResponses": answers, "requestState": asked.result["requestState"]}


def test_an_approved_calls_question_is_answered_without_another_approval(
    scene: Scene, key: str
) -> None:
    agent = scene.agent(tasks=False)
    asked = approved(scene, agent, "confirm_delete", key)
    assert asked.result["resultType"] == "input_required"
    assert list(asked.result["inputRequests"]) == ["confirm"]
    assert key not in asked.result["requestState"]  # the server's own is sealed
    done = agent.call("confirm_delete", key=key, more=retry(asked, confirm=YES))
    assert done.text == f"deleted {key}"
    assert scene.desk.opened(key) == 1
    assert [line for line in scene.lines() if line[2] == key] == [
        ["came", "confirm_delete", key, None],
        ["came", "confirm_delete", key, f"delete {key}"],  # its own state came back as it was
        ["done", "confirm_delete", key, {"confirm": YES}],
    ]


def test_the_history_tells_every_question_and_what_was_answered(scene: Scene, key: str) -> None:
    agent = scene.agent(tasks=False)
    asked = approved(scene, agent, "confirm_delete", key)
    secret = {"action": "accept", "content": {"password": "hunter2hunter2"}}
    agent.call("confirm_delete", key=key, more=retry(asked, confirm=YES, other=secret))
    approval = scene.desk.approval(_id(scene, key))
    events = scene.desk.events(approval_id=approval["id"])
    assert [event for event in events if event != "delivered"] == [
        *("held", "approved", "claimed", "input_required", "continued", "succeeded")
    ]
    kept = scene.site.run("history", "--json").stdout
    assert '\\"confirm\\":\\"yes\\"' in kept or '"confirm": "yes"' in kept or '"yes"' in kept
    assert "hunter2hunter2" not in kept


def _id(scene: Scene, key: str) -> str:
    items = scene.desk._get("/history", event="held", text=key)["items"]  # noqa: SLF001
    return str(items[0]["approval_id"])


def test_a_question_without_a_state_gets_one_from_the_gateway(scene: Scene, key: str) -> None:
    agent = scene.agent(tasks=False)
    asked = approved(scene, agent, "multi_input", key)
    more = retry(asked, first=YES, second=YES)
    assert agent.call("multi_input", key=key, more=more).text == "both"
    assert [line[3] for line in scene.lines() if line[:1] == ["came"] and line[2] == key] == [
        None,
        None,  # and it stays with the gateway
    ]


def test_a_state_opens_nothing_but_its_own_call(scene: Scene, key: str) -> None:
    token = scene.site.grant("owner")
    agent = scene.agent(tasks=False, token=token)
    asked = approved(scene, agent, "confirm_delete", key)
    more = retry(asked, confirm=YES)
    state = more["requestState"]
    changed = state[:-2] + ("AA" if state[-2:] != "AA" else "BB")
    tried = (
        agent.call("confirm_delete", key=f"{key} other", more=more),
        agent.call("confirm_delete", key=key, force=True, more=more),
        agent.call("multi_input", key=key, more=more),
        agent.call("steps", key=key, count=1, more=more),  # a tool that is allowed
        scene.agent(tasks=False).call("confirm_delete", key=key, more=more),
        agent.call("confirm_delete", key=key, more={**more, "requestState": changed}),
        agent.call("confirm_delete", key=key, more={**more, "requestState": f"delete {key}"}),
        agent.call("confirm_delete", key=key, more={**more, "requestState": ""}),
    )
    for refused in tried:
        assert (refused.status, refused.error["code"]) == (400, -32602)
        assert refused.error["message"].startswith("requestState does not belong to this call")
    assert scene.happened("came", key) == 1
    assert scene.desk.opened(f"{key} other") == 0
    assert agent.call("confirm_delete", key=key, more=more).text == f"deleted {key}"


def test_an_answer_is_sent_once_however_often_it_is_brought(scene: Scene, key: str) -> None:
    agent = scene.agent(tasks=False)
    asked = approved(scene, agent, "confirm_delete", key)
    more = retry(asked, confirm=YES)
    answers: list[Reply] = []
    barrier = threading.Barrier(6)

    def bring() -> None:
        barrier.wait(PATIENCE)
        answers.append(agent.call("confirm_delete", key=key, more=more))

    threads = [threading.Thread(target=bring) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    texts = {answer.text for answer in answers if "result" in answer.message}
    assert f"deleted {key}" in texts
    assert all("delivered before" in other for other in texts - {f"deleted {key}"})
    assert scene.happened("done", key) == 1
    assert scene.happened("came", key) == 2
    eventually(lambda: "delivered" in scene.desk.events(approval_id=_id(scene, key)))
    late = agent.call("confirm_delete", key=key, more=more)
    assert (late.status, late.error["code"]) == (400, -32602)
    assert "used before" in late.error["message"]
    assert scene.happened("done", key) == 1


def test_an_earlier_rounds_answer_is_not_taken_for_a_later_question(scene: Scene, key: str) -> None:
    agent = scene.agent(tasks=False)
    first = approved(scene, agent, "steps", key, count=3, kind="held")
    again = {"key": key, "count": 3, "kind": "held"}
    second = agent.call("steps", more=retry(first, **STEP), **again)
    assert second.result["resultType"] == "input_required"
    stale = agent.call("steps", more=retry(first, **STEP), **again)
    assert stale.result["inputRequests"] == second.result["inputRequests"]  # nothing was sent
    assert scene.happened("came", key) == 2
    third = agent.call("steps", more=retry(second, **STEP), **again)
    assert agent.call("steps", more=retry(third, **STEP), **again).text == "3 steps"


def test_a_server_may_ask_ten_times_and_not_more(scene: Scene, key: str) -> None:
    agent = scene.agent(tasks=False)
    answer = approved(scene, agent, "steps", key, count=50, kind="held")
    rounds = 0
    while "result" in answer.message and answer.result["resultType"] == "input_required":
        rounds += 1
        more = retry(answer, **STEP)
        answer = agent.call("steps", key=key, count=50, kind="held", more=more)
    assert rounds == 10
    assert "too many questions" in answer.error["message"]
    assert scene.happened("came", key) == 11


def test_an_allowed_call_is_counted_once_and_not_once_a_round(scene: Scene, key: str) -> None:
    agent = scene.agent(tasks=False)
    asked = agent.call("steps", key=key, count=2)
    more = retry(asked, **STEP)
    second = agent.call("steps", key=key, count=2, more=more)
    assert second.result["resultType"] == "input_required"
    done = agent.call("steps", key=key, count=2, more=retry(second, **STEP))
    assert done.text == "2 steps"
    assert agent.call("steps", key=key, count=2).text.startswith("Rate limit reached")
    for used in (more, retry(second, **STEP)):
        again = agent.call("steps", key=key, count=2, more=used)
        assert (again.status, again.error["code"]) == (400, -32602)
        assert "used before" in again.error["message"]
    assert scene.happened("came", key) == 3
    assert scene.happened("done", key) == 1


def test_a_repeat_gets_the_question_again_and_sends_nothing(scene: Scene, key: str) -> None:
    agent = scene.agent(tasks=False)
    approved(scene, agent, "confirm_delete", key)
    row = scene.desk.approval(_id(scene, key))
    assert (row["state"], row["execution"]) == ("approved", "input_required")
    again = agent.call("confirm_delete", key=key)  # a repeat gets the question again
    assert again.result["resultType"] == "input_required"
    assert scene.happened("came", key) == 1
    assert agent.call("confirm_delete", key=key, more=retry(again, confirm=YES)).text
    assert scene.happened("done", key) == 1


def test_a_question_that_awaits_a_handle_is_answered_through_it(scene: Scene, key: str) -> None:
    agent = scene.agent(tasks=False)
    task = threading.Thread(target=lambda: agent.call("confirm_delete", key=key), daemon=True)
    task.start()
    row = scene.approve(key)
    task.join(PATIENCE)
    asked = agent.call("signoff_await_approval", approval_id=row["id"])
    assert asked.result["resultType"] == "input_required"
    more = retry(asked, confirm=YES)
    done = agent.call("signoff_await_approval", approval_id=row["id"], more=more)
    assert done.text == f"deleted {key}"
    assert scene.happened("done", key) == 1


def test_at_the_url_of_all_servers_questions_are_answered_just_so(scene: Scene, key: str) -> None:
    agent = Agent(f"{scene.site.url}/mcp", scene.site.grant("all"), tasks=False)
    asked = approved(scene, agent, "jobs__confirm_delete", key)
    more = retry(asked, confirm=YES)
    assert agent.call("jobs__confirm_delete", key=key, more=more).text == f"deleted {key}"
    late = f"{key} late"
    approved(scene, agent, "jobs__confirm_delete", late)
    handle: dict[str, Any] = {"approval_id": _id(scene, late)}
    asked = agent.call("signoff_await_approval", **handle)
    done = agent.call("signoff_await_approval", more=retry(asked, confirm=YES), **handle)
    assert done.text == f"deleted {late}"
    assert (scene.happened("came", key), scene.happened("came", late)) == (2, 2)


def test_at_the_url_of_all_servers_a_held_call_is_a_task_too(scene: Scene, key: str) -> None:
    agent = Agent(f"{scene.site.url}/mcp", scene.site.grant("all tasks"))
    task = agent.begin("jobs__confirm_delete", key=key)
    scene.approve(key)
    (named,) = agent.until(task, "input_required")["inputRequests"]
    agent.update(task, **{named: YES})
    assert agent.ended(task)["result"]["content"][0]["text"] == f"deleted {key}"
