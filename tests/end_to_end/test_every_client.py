"""What every real client meets: lists, verdicts, held calls. The witness's file says what ran."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import Scene
from tests.support.agents import CLIENTS, Agent, until_progress
from tests.support.live_gateway import eventually

pytestmark = pytest.mark.xdist_group("every_client")
REVISIONS = {
    "py2-legacy": "2025-11-25",
    "py2-modern": "2026-07-28",
    "py1": "2025-11-25",
    "ts1": "2025-11-25",
    "ts2-legacy": "2025-11-25",
    "ts2-auto": "2026-07-28",
}


@pytest.fixture(scope="module", params=CLIENTS)
def agent(request: pytest.FixtureRequest, scene: Scene) -> Iterator[Agent]:
    with scene.agent(request.param) as connected:
        yield connected


def test_a_client_speaks_the_newest_revision_it_knows(agent: Agent) -> None:
    assert agent.protocol == REVISIONS[agent.client]


def test_a_hidden_tool_is_absent_from_the_list_and_the_way_back_is_in_it(agent: Agent) -> None:
    listed = agent.tools()
    assert "secret" not in listed
    assert {"free", "limited", "denied", "held", "signoff_await_approval"} <= set(listed)


def test_an_allowed_call_gets_the_servers_own_result(agent: Agent, scene: Scene, key: str) -> None:
    answer = agent.call("free", key=key, amount=3)
    assert (answer.text, answer.refused) == (f"free {key}", False)
    assert answer.result["structuredContent"] == {"arguments": {"key": key, "amount": 3}}
    assert scene.ran(key) == 1


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("denied", "Policy violation: Not for agents. (rule /tools/denied)"),
        ("secret", "(rule (hidden))"),
        ("unheard_of", "(rule (default deny))"),
    ],
)
def test_a_denied_call_never_runs(
    agent: Agent, scene: Scene, key: str, tool: str, text: str
) -> None:
    answer = agent.call(tool, key=key)
    assert answer.refused
    assert answer.text.startswith("Policy violation: ")
    assert answer.text.endswith(text)
    assert answer.decision["verdict"] == "deny"
    assert scene.ran(key) == 0


def test_a_call_over_its_limit_is_told_when_to_come_back(
    agent: Agent, scene: Scene, key: str
) -> None:
    first, second = agent.call("limited", key=key), agent.call("limited", key=key)
    assert (first.refused, second.refused) == (False, True)
    told = re.fullmatch(
        r"Rate limit reached: few allows 1 per day\. Try again in (\d+) s\.", second.text
    )
    assert told is not None
    assert second.decision["retry_after_seconds"] == int(told[1])
    assert scene.ran(key) == 1


def test_a_call_approved_while_it_is_held_returns_in_place(
    agent: Agent, scene: Scene, key: str
) -> None:
    held = agent.begin("held", progress=True, key=key)
    row = scene.desk.waiting(key)
    note = until_progress(held)
    assert note.startswith("Waiting for approval ")
    assert note.endswith(f"{scene.site.page}/approvals/{row['id']}")
    assert (held.done, scene.ran(key)) == (False, 0)
    scene.desk.approve(row["id"])
    answer = held.answer()
    assert (answer.text, answer.refused) == (f"held {key}", False)
    assert answer.result["structuredContent"] == {"arguments": {"key": key}}
    assert scene.ran(key) == 1
    numbers = [note["progress"] for note in held.progress]
    assert numbers == sorted(set(numbers))


def test_an_approval_after_the_agent_was_let_go_is_picked_up_by_repeating_the_call(
    agent: Agent, scene: Scene, key: str
) -> None:
    let_go = agent.call("held", key=key, kind="brief")
    assert let_go.refused
    assert let_go.text.startswith(f"Not executed yet: approval {let_go.decision['approval_id']} ")
    assert let_go.decision["status"] == "pending"
    scene.desk.approve(let_go.decision["approval_id"])
    assert scene.ran(key) == 0  # nothing runs with no one to receive the answer
    answer = agent.call("held", key=key, kind="brief")
    assert (answer.text, answer.refused) == (f"held {key}", False)
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


def test_an_approval_after_the_agent_was_let_go_is_picked_up_by_its_handle(
    agent: Agent, scene: Scene, key: str
) -> None:
    let_go = agent.call("held", key=key, kind="brief")
    handle = let_go.decision["approval_id"]
    assert f'signoff_await_approval with {{"approval_id": "{handle}"}}' in let_go.text
    scene.desk.approve(handle)
    answer = agent.call("signoff_await_approval", approval_id=handle)
    assert (answer.text, answer.refused) == (f"held {key}", False)
    assert answer.result["structuredContent"] == {"arguments": {"key": key, "kind": "brief"}}
    again = agent.call("signoff_await_approval", approval_id=handle)
    assert again.text.startswith("The result of this approval was delivered before.")
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


def test_an_agent_may_wait_in_place_by_its_handle(agent: Agent, scene: Scene, key: str) -> None:
    handle = agent.call("held", key=key, kind="brief").decision["approval_id"]
    waiting = agent.begin("signoff_await_approval", progress=True, approval_id=handle)
    until_progress(waiting)
    scene.desk.approve(handle)
    assert waiting.answer().text == f"held {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


def test_a_denial_reaches_the_agent_and_its_repeat_at_once(
    agent: Agent, scene: Scene, key: str
) -> None:
    held = agent.begin("held", key=key)
    scene.desk.deny(scene.desk.waiting(key)["id"], "wrong environment")
    answer = held.answer()
    assert (answer.text, answer.refused) == ("Denied by alice: wrong environment.", True)
    repeat = agent.call("held", key=key)
    assert repeat.text.startswith("Denied by alice: wrong environment. This was attempt 2;")
    assert (scene.ran(key), scene.desk.opened(key)) == (0, 1)


def test_identical_calls_at_the_same_time_are_one_approval_and_one_execution(
    agent: Agent, scene: Scene, key: str
) -> None:
    calls = [agent.begin("held", key=key), agent.begin("held", key=key)]
    row = scene.desk.waiting(key)
    eventually(lambda: scene.desk.approval(row["id"])["attempts"] == 2)
    scene.desk.approve(row["id"])
    assert [call.answer().text for call in calls] == [f"held {key}"] * 2
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


def test_an_approval_that_nobody_decides_expires_under_the_waiting_agent(
    agent: Agent, scene: Scene, key: str
) -> None:
    answer = agent.call("held", key=key, kind="fleeting")
    assert answer.refused
    assert answer.text == "Approval expired: no one decided in 1 second."
    assert scene.ran(key) == 0
