"""A gateway that is told to stop while calls are held: agents get their handle, nothing is lost."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from tests.end_to_end.conftest import Scene
from tests.support.agents import CLIENTS
from tests.support.live_gateway import eventually

pytestmark = pytest.mark.xdist_group("leaving")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_gateway_that_dies_loses_nothing_and_its_agents_come_back(
    scene: Scene, key: str, client: str
) -> None:
    token = scene.site.grant(client)
    with ExitStack() as stack:
        agent = stack.enter_context(scene.agent(client, token=token))
        agent.begin("held", key=key)
        row = scene.desk.waiting(key)
        scene.site.kill()
        scene.site.start()
        assert scene.desk.approval(row["id"])["state"] == "pending"
        if not client.startswith("ts"):  # a Python client's session ends with its connection
            agent = stack.enter_context(scene.agent(client, token=token))
        again = agent.begin("held", key=key)
        eventually(lambda: scene.desk.approval(row["id"])["attempts"] == 2)
        scene.desk.approve(row["id"])
        assert again.answer().text == f"held {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


def test_a_stop_lets_held_calls_go_and_after_the_restart_each_runs_once(
    scene: Scene, key: str
) -> None:
    with ExitStack() as stack:
        agents = [stack.enter_context(scene.agent(client)) for client in CLIENTS]
        keys = [f"{key} {agent.client}" for agent in agents]
        # Held for longer than a stop is waited for here.
        held = [
            agent.begin("held", key=each, kind="long")
            for agent, each in zip(agents, keys, strict=True)
        ]
        rows = [scene.desk.waiting(each) for each in keys]

        assert scene.site.stop(signal.SIGTERM) == 0
        answers = [call.answer() for call in held]
        assert [answer.decision["approval_id"] for answer in answers] == [r["id"] for r in rows]
        assert all(answer.text.startswith("Not executed yet") for answer in answers)

        scene.site.start()
        for row in rows:
            assert scene.desk.approval(row["id"])["state"] == "pending"
            scene.desk.approve(row["id"])
        again = [
            agent.call("held", key=each, kind="long")
            for agent, each in zip(agents, keys, strict=True)
        ]
        assert [answer.text for answer in again] == [f"held {each}" for each in keys]
    assert [scene.ran(each) for each in keys] == [1] * len(keys)
    assert [scene.desk.opened(each) for each in keys] == [1] * len(keys)
