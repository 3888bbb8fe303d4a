"""Agents that give up or die while a call is held: the approval stays, and nothing runs unasked."""

from __future__ import annotations

import pytest

from tests.end_to_end.conftest import Scene
from tests.support.agents import CLIENTS
from tests.support.live_gateway import eventually

pytestmark = pytest.mark.xdist_group("leaving")
IMPATIENT = ("py2-legacy", "py2-modern", "ts1", "ts2-legacy", "ts2-auto")
"""Clients that say so when their own time is up. The Python SDK 1.x neither says so nor hangs up:
a gateway cannot tell it from one that waits, so its hold must be shorter than its patience."""

MODERN = ("py2-modern", "ts2-auto")
TYPESCRIPT = ("ts1", "ts2-legacy", "ts2-auto")


@pytest.mark.parametrize("client", IMPATIENT)
def test_a_client_that_timed_out_gets_the_late_approval_by_repeating_its_call(
    scene: Scene, key: str, client: str
) -> None:
    with scene.agent(client) as agent:
        row = scene.given_up(agent, "held", key)
        assert scene.desk.approve(row["id"])["execution"] == "none"
        answer = agent.call("held", key=key)
        assert (answer.text, answer.refused) == (f"held {key}", False)
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


@pytest.mark.parametrize("client", IMPATIENT)
def test_a_time_out_while_the_approved_call_runs_neither_stops_nor_loses_it(
    scene: Scene, key: str, client: str
) -> None:
    with scene.agent(client) as agent:
        held = agent.begin("slow", timeout=2, key=key, seconds=3)
        (row,) = eventually(lambda: scene.desk.pending(key))
        scene.desk.approve(row["id"])
        assert "timed out" in held.answer().error.lower()
        assert agent.call("slow", key=key, seconds=3).text == f"slow {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)
    assert "notifications/cancelled" not in scene.witness.methods()


@pytest.mark.parametrize("client", IMPATIENT)
def test_a_cancelled_call_is_withdrawn_or_at_least_never_runs_unasked(
    scene: Scene, key: str, client: str
) -> None:
    # Of a client of 2026-07-28 one sees no more than that it hung up, as a timed out one does.
    with scene.agent(client) as agent:
        held = agent.begin("held", key=key)
        row = scene.desk.waiting(key)
        agent.cancel(held)
        assert held.answer().error
        if client in MODERN:
            assert scene.desk.left(row["id"])["state"] == "pending"
        else:
            eventually(lambda: scene.desk.approval(row["id"])["state"] == "withdrawn")
    assert scene.ran(key) == 0


@pytest.mark.parametrize("client", TYPESCRIPT)
def test_a_time_out_that_begins_anew_with_progress_outlives_the_wait(
    scene: Scene, key: str, client: str
) -> None:
    with scene.agent(client) as agent:
        held = agent.begin("held", timeout=4, progress=True, reset=True, key=key)
        row = scene.desk.waiting(key)
        eventually(lambda: len(held.progress) > 10)  # five seconds of notes
        assert not held.done
        scene.desk.approve(row["id"])
        assert held.answer().text == f"held {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("client", TYPESCRIPT)
def test_the_typescript_sdks_own_60_seconds_hold_longer_where_progress_counts(
    scene: Scene, key: str, client: str
) -> None:
    with scene.agent(client) as agent:
        held = agent.begin("held", progress=True, reset=True, key=key, kind="long")
        row = scene.desk.waiting(key)
        eventually(lambda: len(held.progress) > 2 * 70, 90)
        assert not held.done
        scene.desk.approve(row["id"])
        assert held.answer().text == f"held {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("client", TYPESCRIPT)
def test_the_typescript_sdks_own_60_seconds_lose_nothing(
    scene: Scene, key: str, client: str
) -> None:
    with scene.agent(client) as agent:
        held = agent.begin("held", key=key, kind="long")
        row = scene.desk.waiting(key)
        assert "timed out" in held.answer(75).error.lower()
        scene.desk.left(row["id"])
        scene.desk.approve(row["id"])
        assert agent.call("held", key=key, kind="long").text == f"held {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


@pytest.mark.parametrize("client", CLIENTS)
def test_an_agent_that_dies_leaves_its_call_pending_and_its_successor_runs_it_once(
    scene: Scene, key: str, client: str
) -> None:
    token = scene.site.grant(client)
    with scene.agent(client, token=token) as agent:
        agent.begin("held", key=key)
        row = scene.desk.waiting(key)
        agent.kill()
    assert scene.desk.left(row["id"])["state"] == "pending"
    scene.desk.approve(row["id"])
    with scene.agent(client, token=token) as successor:
        assert scene.ran(key) == 0
        assert successor.call("held", key=key).text == f"held {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)
    # Delivered is recorded after the answer has left: the agent may be told a moment earlier.
    told = eventually(lambda: _delivered(scene.desk.events(approval_id=row["id"])))
    assert told == ["held", "approved", "attached", "claimed", "succeeded", "delivered"]


@pytest.mark.parametrize("client", ["py2-legacy", "ts1", "ts2-legacy"])
def test_one_agents_time_out_does_not_end_the_wait_of_another(
    scene: Scene, key: str, client: str
) -> None:
    # Both number their requests from zero: a time-out must name its own session's request.
    token = scene.site.grant(client)
    with scene.agent(client, token=token) as first, scene.agent(client, token=token) as second:
        patient = first.begin("held", key=f"{key} patient")
        row = scene.desk.waiting(f"{key} patient")
        scene.given_up(second, "held", f"{key} hasty")
        assert scene.desk.approval(row["id"])["view"]["waiting"]
        scene.desk.approve(row["id"])
        assert patient.answer().text == f"held {key} patient"


def _delivered(events: list[str]) -> list[str] | None:
    """The events once the last of them is there."""
    return events if events[-1] == "delivered" else None
