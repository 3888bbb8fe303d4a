"""`allow_duplicates`: identical calls that are meant twice are asked about twice and run twice; one
that comes back for its answer is not taken for a second.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.effects.conftest import Grounds
from tests.support.killable_gateways import DOWN, Gateway, Ground, decision_of, text_of
from tests.support.live_gateway import eventually

TWICE: dict[str, Any] = {"free": {"require_approval": {"allow_duplicates": True}}}
LONG = {"SIGNOFF_HOLD": "3600"}


def ran(ground: Ground) -> int:
    return len(ground.witness.ran())


def _is(gateway: Gateway, approval: str, name: str, value: str) -> bool:
    return bool(gateway.shown(approval)[name] == value)


def waiting(gateway: Gateway, count: int) -> list[str]:
    def enough() -> list[str] | None:
        found = [row["id"] for row in gateway.pending()]
        return found if len(found) >= count else None

    return eventually(enough, 60)


def test_two_identical_calls_in_parallel_are_two_and_each_runs_once(grounds: Grounds) -> None:
    with (
        grounds(TWICE, **LONG) as ground,
        ground.gateway() as gateway,
        ThreadPoolExecutor() as pool,
    ):
        calls = [
            pool.submit(gateway.call, ground.agents[0], "free", patience=600, key="a")
            for _ in range(2)
        ]
        first, second = waiting(gateway, 2)
        assert gateway.shown(first)["view"]["twins"] == [second]
        gateway.decide(first)
        eventually(lambda: ran(ground) == 1, 60)
        gateway.decide(second)
        assert [text_of(call.result(60)[1]) for call in calls] == ["free a", "free a"]
        assert ran(ground) == 2
        assert [gateway.shown(one)["execution"] for one in (first, second)] == ["succeeded"] * 2


def test_without_it_they_are_one(grounds: Grounds) -> None:
    tools = {"free": {"require_approval": True}}
    with (
        grounds(tools, **LONG) as ground,
        ground.gateway() as gateway,
        ThreadPoolExecutor() as pool,
    ):
        calls = [
            pool.submit(gateway.call, ground.agents[0], "free", patience=600, key="a")
            for _ in range(2)
        ]
        (only,) = waiting(gateway, 1)
        eventually(lambda: gateway.shown(only)["attempts"] == 2, 60)
        gateway.decide(only)
        assert [text_of(call.result(60)[1]) for call in calls] == ["free a", "free a"]
        assert ran(ground) == 1


def test_one_that_left_and_comes_back_is_the_first_and_not_another(grounds: Grounds) -> None:
    with (
        grounds(TWICE, **LONG) as ground,
        ground.gateway() as gateway,
        ThreadPoolExecutor() as pool,
    ):
        agent = ground.agents[0]
        with pytest.raises(DOWN):
            gateway.call(agent, "free", patience=3, key="a")
        (only,) = waiting(gateway, 1)
        eventually(lambda: gateway.shown(only)["view"]["waiting"] is False, 60)
        again = pool.submit(gateway.call, agent, "free", patience=600, key="a")
        eventually(lambda: gateway.shown(only)["attempts"] == 2, 60)
        gateway.decide(only)
        assert text_of(again.result(60)[1]) == "free a"
        assert (ran(ground), gateway.pending()) == (1, [])


def test_answers_nobody_fetched_go_to_those_who_come_back_each_once(grounds: Grounds) -> None:
    tools = {"free": {"require_approval": {"allow_duplicates": True, "when_detached": "execute"}}}
    with grounds(tools, **LONG) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]

        def gives_up(_: int) -> None:
            with pytest.raises(DOWN):
                gateway.call(agent, "free", patience=4, key="a")

        with ThreadPoolExecutor() as pool:
            list(pool.map(gives_up, range(2)))
        both = waiting(gateway, 2)
        for one in both:
            gateway.decide(one)
        eventually(lambda: ran(ground) == 2, 120)
        for one in both:
            eventually(partial(_is, gateway, one, "execution", "succeeded"), 60)
        for _ in range(2):
            assert text_of(gateway.call(agent, "free", key="a")[1]) == "free a"
        assert ran(ground) == 2
        for one in both:
            eventually(partial(_is, gateway, one, "delivery", "delivered"), 60)


def test_an_agent_may_have_fifty_calls_waiting_and_is_told_the_setting_beyond(
    grounds: Grounds,
) -> None:
    tools = {"free": {"require_approval": True}}
    with grounds(tools) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        for number in range(50):
            held = gateway.call(agent, "free", key=str(number))[1]
            assert decision_of(held)["verdict"] == "hold"
        refused = gateway.call(agent, "free", key="one more")[1]
        assert "SIGNOFF_MAX_PENDING" in text_of(refused)
        seen: list[str] = []
        cursor = ""
        while True:
            path = f"/api/v1/pending?limit=20&cursor={cursor}"
            status, page = gateway.ask("GET", path, ground.reviewer)
            assert (status, page["total"]) == (200, 50)
            seen += [row["id"] for row in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 50
        assert seen == [row["id"] for row in gateway.pending()]
        assert gateway.ask("GET", "/api/v1/pending?cursor=x", ground.reviewer)[0] == 422
        listed = ground.site.run("pending", "--limit", "20")
        assert len(listed.stdout.splitlines()) == 20
        assert "30 more of 50 in all" in listed.stderr
        page = gateway.ask("GET", "/api/v1/history?event=held", ground.reviewer)[1]
        assert (page["total"], len(page["items"])) == (50, 50)
