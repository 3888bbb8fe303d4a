"""A gateway that is told to stop while calls are held: agents get their handle, nothing is lost."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

import pytest

from tests.end_to_end.agents import CLIENTS
from tests.end_to_end.conftest import Scene

pytestmark = pytest.mark.xdist_group("leaving")


def test_a_stop_lets_held_calls_go_and_after_the_restart_each_runs_once(
    scene: Scene, key: str
) -> None:
    with ExitStack() as stack:
        agents = [stack.enter_context(scene.agent(client)) for client in CLIENTS]
        keys = [f"{key} {agent.client}" for agent in agents]
        held = [agent.begin("held", key=each) for agent, each in zip(agents, keys, strict=True)]
        rows = [scene.desk.waiting(each) for each in keys]

        began = time.monotonic()
        assert scene.site.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 15
        answers = [call.answer() for call in held]
        assert [answer.decision["approval_id"] for answer in answers] == [r["id"] for r in rows]
        assert all(answer.text.startswith("Not executed yet") for answer in answers)

        scene.site.start()
        for row in rows:
            assert scene.desk.approval(row["id"])["state"] == "pending"
            scene.desk.approve(row["id"])
        again = [agent.call("held", key=each) for agent, each in zip(agents, keys, strict=True)]
        assert [answer.text for answer in again] == [f"held {each}" for each in keys]
    assert [scene.ran(each) for each in keys] == [1] * len(keys)
    assert [scene.desk.opened(each) for each in keys] == [1] * len(keys)
