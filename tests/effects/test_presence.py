"""An agent waits as long as its own time and its gateway last, and no longer: what was approved for
an agent that is gone runs at once where its rule says so, and no card says that it waits.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tests.effects.conftest import Grounds
from tests.support.killable_gateways import DOWN, Gateway, Ground, decision_of, text_of
from tests.support.live_gateway import eventually

LONG = {"SIGNOFF_HOLD": "3600"}  # seconds; a test that waits for it to end fails by itself
RUNS: dict[str, Any] = {"free": {"require_approval": {"when_detached": "execute"}}}


UNDO: dict[str, Any] = {
    "free": {"require_approval": {"when_detached": "execute", "hold": "60s", "undo": "3s"}}
}


def ran(ground: Ground, key: str) -> int:
    return [found for _, found in ground.witness.ran()].count(key)


def call_and_lose(gateway: Gateway, agent: str, key: str) -> None:
    try:
        gateway.call(agent, "free", patience=600, key=key)
    except DOWN:
        return
    raise AssertionError("it was answered")


def waiting(gateway: Gateway) -> str:
    found: str = eventually(lambda: (rows := gateway.pending()) and rows[0]["id"], 30)
    return found


def test_after_kill_9_and_a_restart_nobody_waits_and_what_is_approved_runs(
    grounds: Grounds,
) -> None:
    # The lease outlasts every wait of this test: it is the name that tells of the death.
    with grounds(RUNS, SIGNOFF_LEASE_SECONDS="3000", **LONG) as ground, ground.gateway() as gateway:
        with ThreadPoolExecutor() as pool:
            lost = pool.submit(call_and_lose, gateway, ground.agents[0], "a")
            approval = waiting(gateway)
            assert gateway.shown(approval)["view"]["waiting"] is True
            gateway.end()
            lost.result(60)
        gateway.start()
        assert gateway.shown(approval)["view"]["waiting"] is False
        assert gateway.decide(approval)[0] == 200
        eventually(lambda: ran(ground, "a") == 1, 60)
        eventually(lambda: gateway.shown(approval)["execution"] == "succeeded", 60)
        assert text_of(gateway.call(ground.agents[0], "free", key="a")[1]) == "free a"
        assert ran(ground, "a") == 1


def test_of_two_gateways_the_one_that_lives_runs_what_was_waited_for_at_the_dead_one(
    grounds: Grounds,
) -> None:
    with grounds(RUNS, **LONG) as ground, ExitStack() as stack:
        dies, lives = (stack.enter_context(ground.gateway()) for _ in range(2))
        with ThreadPoolExecutor() as pool:
            lost = pool.submit(call_and_lose, dies, ground.agents[0], "a")
            approval = waiting(lives)
            assert lives.shown(approval)["view"]["waiting"] is True
            dies.end()
            lost.result(60)
        assert lives.decide(approval)[0] == 200
        eventually(lambda: lives.shown(approval)["view"]["waiting"] is False, 60)
        eventually(lambda: ran(ground, "a") == 1, 60)


def test_an_agent_that_waits_twice_waits_until_both_are_gone(grounds: Grounds) -> None:
    with (
        grounds({"free": {"require_approval": True}}, **LONG) as ground,
        ground.gateway() as gateway,
    ):
        agent = ground.agents[0]
        with ThreadPoolExecutor() as pool:
            stays = pool.submit(gateway.call, agent, "free", patience=600, key="a")
            approval = waiting(gateway)
            try:
                gateway.call(agent, "free", patience=3, key="a")
                raise AssertionError("it was answered")
            except DOWN:
                pass
            eventually(lambda: gateway.shown(approval)["attempts"] == 2, 30)
            again = gateway.shown(approval)["version"]
            gateway.decide(approval)
            assert text_of(stays.result(60)[1]) == "free a"
        assert again  # it was still shown, and still waited for
        assert ran(ground, "a") == 1


def test_who_is_told_of_a_call_that_runs_by_itself_is_not_told_to_try_again(
    grounds: Grounds,
) -> None:
    tools = {**RUNS, "held": {"require_approval": True}}
    with grounds(tools, **LONG) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        with ThreadPoolExecutor() as pool:
            runs = pool.submit(gateway.call, agent, "free", patience=600, key="a")
            first = waiting(gateway)
            keeps = pool.submit(gateway.call, agent, "held", patience=600, key="b")
            rows = eventually(lambda: (rows := gateway.pending())[1:] and rows, 30)
            (second,) = (row["id"] for row in rows if row["id"] != first)
            ground.witness.process.kill()
            ground.witness.process.wait(30)
            for approval in (first, second):
                assert gateway.decide(approval)[0] == 200
            told = runs.result(120)[1]
            assert "It runs by itself once that is over" in text_of(told)
            assert "Nothing was sent" not in text_of(told)
            assert "again" not in text_of(told)
            assert decision_of(told)["approval_id"] == first
            kept = text_of(keeps.result(120)[1])
            assert "The approval stands until" in kept
            assert "repeat the identical call" in kept
        assert gateway.shown(first)["view"]["waiting"] is False


def test_an_undo_outlives_kill_9_and_a_restart_and_nothing_runs_before_it_is_over(
    grounds: Grounds,
) -> None:
    with grounds(UNDO, SIGNOFF_LEASE_SECONDS="3000", **LONG) as ground, ground.gateway() as gateway:
        with ThreadPoolExecutor() as pool:
            lost = pool.submit(call_and_lose, gateway, ground.agents[0], "a")
            approval = waiting(gateway)
            status, told = gateway.decide(approval)
            assert (status, told["approval"]["runs_from"] - told["approval"]["decided_at"]) == (
                *(200, 3_000),
            )
            gateway.end()
            lost.result(60)
        assert ran(ground, "a") == 0
        gateway.start()
        eventually(lambda: ran(ground, "a") == 1, 60)
        times = dict(
            ground.rows(
                "SELECT event, at FROM history WHERE event IN ('approved', 'claimed') ORDER BY seq"
            )
        )
        assert times["claimed"] - times["approved"] >= 3_000
        ground.assert_intact()
