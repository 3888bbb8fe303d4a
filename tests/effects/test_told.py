"""What an agent is told of a refusal and what the history says of it are one: the same verdict,
and the refusal's own reason, never that of the hold it did not come to.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.effects.conftest import Grounds
from tests.support.killable_gateways import Gateway, Ground, decision_of, text_of
from tests.support.live_gateway import eventually

ASKS = "A person must approve this call."
HELD: dict[str, Any] = {"require_approval": {"hold": "20s"}, "effect": "pay:{args.key}"}


def refused(ground: Ground, gateway: Gateway, **query: str) -> list[dict[str, Any]]:
    """The history's rows, the newest first."""
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    status, found = gateway.ask("GET", f"/api/v1/history?{asked}", ground.reviewer)
    assert status == 200, found
    return list(found["items"])


def assert_one(ground: Ground, gateway: Gateway, answer: Any, verdict: str, reason: str) -> None:
    """Agent and history are told this of the call that was just refused."""
    decision = decision_of(answer)
    assert (decision["verdict"], decision["reason"]) == (verdict, reason)
    row = refused(ground, gateway, verdict=verdict)[0]
    assert (row["verdict"], row["reason"], row["rule"]) == (verdict, reason, decision["rule"])


def test_the_second_call_of_a_done_effect_is_denied_for_what_the_first_has_done(
    grounds: Grounds,
) -> None:
    with grounds({"held": HELD}) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        with ThreadPoolExecutor() as pool:
            waits = pool.submit(gateway.call, agent, "held", key="a", amount=1)
            (first,) = eventually(gateway.pending)
            assert gateway.decide(first["id"])[0] == 200
            assert text_of(waits.result(30)[1]) == "held a"
        answer = gateway.call(agent, "held", key="a", amount=2)[1]
        reason = f"{first['id']} has done this already."
        assert_one(ground, gateway, answer, "deny", reason)
        row = refused(ground, gateway, event="denied")[0]
        assert row["outcome"] == "effect_done"


def test_a_call_whose_effect_is_being_caused_is_limited_for_that(grounds: Grounds) -> None:
    slow = {"effect": "pay:{args.key}"}
    tools = {"slow": slow, "held": HELD}
    with grounds(tools) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        with ThreadPoolExecutor() as pool:
            runs = pool.submit(gateway.call, agent, "slow", key="a")
            eventually(ground.witness.ran)
            answer = gateway.call(agent, "held", key="a")[1]
            holder = decision_of(answer)["holder"]
            assert_one(ground, gateway, answer, "limited", f"{holder} is doing this right now.")
            runs.result(30)


def test_a_call_that_finds_no_place_is_told_that(grounds: Grounds) -> None:
    tools = {"held": {"require_approval": {"hold": "0s"}}}
    with grounds(tools, SIGNOFF_MAX_PENDING="1") as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        gateway.call(agent, "held", key="a")
        answer = gateway.call(agent, "held", key="b")[1]
        reason = "This agent has 1 calls waiting for approval, as many as it may."
        assert_one(ground, gateway, answer, "limited", reason)


def test_a_held_call_for_which_a_limit_has_no_room_is_told_of_the_limit(grounds: Grounds) -> None:
    limit = {"counter": "few", "window": "day", "max": 1, "scope": "grant"}
    tools = {"held": {"require_approval": {"hold": "20s"}, "limits": [limit]}}
    with grounds(tools) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        with ThreadPoolExecutor() as pool:
            waits = pool.submit(gateway.call, agent, "held", key="a")
            (first,) = eventually(gateway.pending)
            assert gateway.decide(first["id"])[0] == 200
            assert text_of(waits.result(30)[1]) == "held a"
        answer = gateway.call(agent, "held", key="b")[1]
        assert_one(ground, gateway, answer, "limited", "The limit few has no room.")


def test_of_two_held_calls_the_second_is_not_told_to_ask_again(grounds: Grounds) -> None:
    with grounds({"held": HELD}) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        with ThreadPoolExecutor() as pool:
            calls = {
                amount: pool.submit(gateway.call, agent, "held", key="a", amount=amount)
                for amount in (1, 2)
            }
            first, second = eventually(lambda: _two(gateway))
            assert gateway.decide(first["id"])[0] == 200
            told = [one.result(30)[1] for one in calls.values()]
        (answer,) = [one for one in told if decision_of(one)]
        assert decision_of(answer)["approval_id"] == second["id"]
        assert text_of(answer) == (
            f"Not executed: {first['id']} has done this meanwhile. It is done once: do not ask "
            "for it again."
        )
        assert decision_of(answer)["reason"] == f"{first['id']} has done this meanwhile."
        assert decision_of(answer)["verdict"] == "deny"


def test_where_a_person_may_let_it_happen_again_the_second_is_told_to_ask_again(
    grounds: Grounds,
) -> None:
    tools = {"held": {**HELD, "effect_again": "ask", "require_approval": {"hold": "0s"}}}
    with grounds(tools) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        for amount in (1, 2):
            gateway.call(agent, "held", key="a", amount=amount)
        one, other = gateway.pending()
        for approval in (one, other):
            assert gateway.decide(approval["id"])[0] == 200
        answers = [gateway.call(agent, "held", key="a", amount=amount)[1] for amount in (1, 2)]
        assert text_of(answers[0]) == "held a"
        (late,) = [held for held in (one, other) if held["id"] != _ran(ground, gateway)]
        answer = gateway.call(agent, "signoff_await_approval", approval_id=late["id"])[1]
        assert decision_of(answer)["status"] == "superseded"
        assert text_of(answer).endswith("A second time needs a person). Ask again.")
        assert decision_of(answers[1])["status"] == "pending"


def _ran(ground: Ground, gateway: Gateway) -> str:
    """The approval that was claimed."""
    return str(refused(ground, gateway, event="claimed")[0]["approval_id"])


def _two(gateway: Gateway) -> list[dict[str, Any]]:
    found = gateway.pending()
    return found if len(found) == 2 else []
