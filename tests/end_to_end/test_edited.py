"""A reviewer changes a call before approving it: the agent is told what ran, in both eras."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.conftest import HOLD, Scene
from tests.support.agents import Answer
from tests.support.live_gateway import Site, witness
from tests.support.reviewer_desk import Row, at_work

pytestmark = pytest.mark.xdist_group("edited")
TOOLS: dict[str, Any] = {
    "held": {"require_approval": {"editable": ["args.amount"]}},
    "broken": {"require_approval": {"editable": ["args.amount"]}},
    "slow": {"require_approval": {"hold": "1s", "editable": ["args.amount"]}},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("edited")
    with witness(folder) as server:
        site = Site(folder, {"SIGNOFF_HOLD": str(HOLD)})
        site.policy(tools=TOOLS)
        site.servers(witness={"url": server.url})
        with at_work(site) as desk:
            yield Scene(site, server, desk)


def told(answer: Answer, key: str) -> None:
    """The agent knows that 7 went out, not the 20 it asked for."""
    text = "alice changed this call before it was approved: amount from 20 to 7."
    assert answer.text.endswith(f"{text} It ran with the changed arguments.")
    said = answer.decision
    assert said["edited"] is True
    assert said["edited_by"] == "alice"
    assert said["arguments"] == {"amount": 7, "key": key}
    assert said["changes"] == [{"path": "args.amount", "before": 20, "after": 7}]
    assert said["approval_id"].startswith("apr_")


def changed(scene: Scene, row: Row) -> None:
    scene.desk.edit(row["id"], {"amount": 7})
    scene.desk.approve(row["id"])


@pytest.mark.parametrize("client", ["py2-legacy", "py2-modern", "py2-tasks", "ts1", "ts2-auto"])
def test_an_agent_that_waits_is_told_what_ran(scene: Scene, key: str, client: str) -> None:
    with scene.agent(client) as agent:
        call = agent.begin("held", key=key, amount=20)
        changed(scene, scene.desk.waiting(key))
        answer = call.answer()
    assert answer.text.startswith(f"held {key}\n")
    told(answer, key)
    assert not answer.refused
    assert [one for one in scene.witness.arguments() if one["key"] == key] == [
        {"key": key, "amount": 7}
    ]


def test_a_tool_error_carries_it_too(scene: Scene, key: str) -> None:
    with scene.agent("py2-modern") as agent:
        call = agent.begin("broken", key=key, amount=20)
        changed(scene, scene.desk.waiting(key))
        answer = call.answer()
    told(answer, key)
    assert answer.refused


@pytest.mark.parametrize("client", ["py2-legacy", "py2-modern"])
def test_an_agent_that_comes_back_is_told_by_repeat_and_by_the_await_tool(
    scene: Scene, key: str, client: str
) -> None:
    with scene.agent(client) as agent:
        for place, again in enumerate(("repeat", "await")):
            own = f"{key} {place}"
            first = agent.call("slow", key=own, amount=20)
            assert first.text.startswith("Not executed yet")
            changed(scene, scene.desk.approval(first.decision["approval_id"]))
            if again == "repeat":
                answer = agent.call("slow", key=own, amount=20)
            else:
                identifier = first.decision["approval_id"]
                answer = agent.call("signoff_await_approval", approval_id=identifier)
            told(answer, own)
            assert scene.ran(own) == 1


def test_a_call_approved_as_it_was_asked_says_nothing_of_it(scene: Scene, key: str) -> None:
    with scene.agent("py2-modern") as agent:
        call = agent.begin("held", key=key, amount=20)
        scene.desk.approve(scene.desk.waiting(key)["id"])
        answer = call.answer()
    assert answer.text == f"held {key}"
    assert answer.decision == {}


def test_a_value_changed_back_is_no_edit(scene: Scene, key: str) -> None:
    with scene.agent("py2-modern") as agent:
        call = agent.begin("held", key=key, amount=20)
        row = scene.desk.waiting(key)
        scene.desk.edit(row["id"], {"amount": 7})
        scene.desk.edit(row["id"], {"amount": 20})
        scene.desk.approve(row["id"])
        answer = call.answer()
    assert answer.text == f"held {key}"
    assert answer.decision == {}
