"""One effect key is done once: anyone who asks, however it is worded, however many ask at once, on
whatever database, at whatever gateway, and after a gateway died in the middle.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

from tests.effects.conftest import Grounds
from tests.support.killable_gateways import DOWN, Gateway, Ground, decision_of, text_of
from tests.support.live_gateway import eventually

PAY: dict[str, Any] = {"effect": "pay:{args.key}"}
LARGE: dict[str, Any] = {
    **PAY,
    "approve_if": [
        {
            "conditions": [{"path": "args.amount", "op": "gt", "value": 100}],
            "reason": "Large.",
            "hold": "20s",
        }
    ],
}


def ran(ground: Ground, key: str) -> int:
    return [found for _, found in ground.witness.ran()].count(key)


def at_once(count: int, ask: Any) -> list[Any]:
    """What so many callers get who ask at the same moment."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Any:
        barrier.wait(30)
        return ask(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def pending_id(gateway: Gateway, count: int = 1) -> list[str]:
    def enough() -> list[str] | None:
        found = [row["id"] for row in gateway.pending()]
        return found if len(found) >= count else None

    return eventually(enough, 30)


def test_twelve_calls_of_one_key_at_once_run_once_and_so_do_repeats(grounds: Grounds) -> None:
    with grounds({"free": PAY}, agents=3) as ground, ground.gateway() as gateway:
        answers = at_once(
            12, lambda n: gateway.call(ground.agents[n % 3], "free", key="a", amount=n)
        )
        assert ran(ground, "a") == 1
        refused = [one for _, one in answers if decision_of(one)]
        assert len(refused) == 11
        for answer in refused:
            assert decision_of(answer)["status"] in ("effect_taken", "effect_done")
        for token in ground.agents:
            again = gateway.call(token, "free", key="a", amount=99)[1]
            assert decision_of(again)["status"] == "effect_done"
            assert "was done already, by call_" in text_of(again)
        assert ran(ground, "a") == 1
        assert text_of(gateway.call(ground.agents[0], "free", key="b")[1]) == "free b"
        ground.assert_intact()


def _asked(gateways: list[Gateway], agent: str, key: str, number: int) -> Any:
    return gateways[number % 2].call(agent, "free", key=key, amount=number)


def test_two_gateways_on_one_record_do_it_once(grounds: Grounds) -> None:
    with grounds({"free": PAY}, agents=2) as ground, ExitStack() as stack:
        gateways = [stack.enter_context(ground.gateway()) for _ in range(2)]
        for key in ("a", "b", "c"):
            at_once(8, partial(_asked, gateways, ground.agents[0], key))
            assert ran(ground, key) == 1


def test_what_an_allowed_call_did_no_approval_does_again(grounds: Grounds) -> None:
    """Allowed first and then held; held first and then allowed."""
    with grounds({"free": LARGE}) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        assert text_of(gateway.call(agent, "free", key="a", amount=50)[1]) == "free a"
        held = gateway.call(agent, "free", key="a", amount=500)[1]
        assert decision_of(held)["status"] == "effect_done"
        assert gateway.pending() == []  # no one is asked about what may not run

        with ThreadPoolExecutor() as pool:
            waits = pool.submit(gateway.call, agent, "free", key="b", amount=500)
            (approval,) = pending_id(gateway)
            assert gateway.decide(approval)[0] == 200
            assert text_of(waits.result(30)[1]) == "free b"
        small = gateway.call(agent, "free", key="b", amount=50)[1]
        assert decision_of(small)["holder"] == approval
        assert (ran(ground, "a"), ran(ground, "b")) == (1, 1)


def test_a_held_key_is_nobodys_until_it_is_claimed(grounds: Grounds) -> None:
    with grounds({"free": LARGE}) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        with ThreadPoolExecutor() as pool:
            waits = pool.submit(gateway.call, agent, "free", key="a", amount=500)
            (approval,) = pending_id(gateway)
            assert text_of(gateway.call(agent, "free", key="a", amount=50)[1]) == "free a"
            # In the transaction in which the other was done, this one ended.
            answer = waits.result(30)[1]
        assert gateway.shown(approval)["state"] == "superseded"
        assert "has done this meanwhile" in text_of(answer)
        assert ran(ground, "a") == 1


def test_two_held_calls_of_one_key_name_each_other_and_one_runs(grounds: Grounds) -> None:
    with grounds({"free": LARGE}, agents=2) as ground, ground.gateway() as gateway:
        with ThreadPoolExecutor() as pool:
            calls = [
                pool.submit(gateway.call, token, "free", key="a", amount=500 + number)
                for number, token in enumerate(ground.agents)
            ]
            first, second = pending_id(gateway, 2)
            assert gateway.shown(first)["view"]["effect"]["beside"] == [second]
            assert gateway.shown(second)["view"]["effect"]["beside"] == [first]
            assert gateway.decide(first)[0] == 200
            texts = [text_of(call.result(30)[1]) for call in calls]
        assert "free a" in texts
        assert gateway.shown(second)["state"] == "superseded"
        assert gateway.shown(second)["reason"] == f"{first} has done this meanwhile."
        assert ran(ground, "a") == 1


def test_with_ask_a_person_lets_it_happen_once_more_knowing(grounds: Grounds) -> None:
    tools = {"free": {**PAY, "effect_again": "ask"}}
    with grounds(tools, SIGNOFF_HOLD="20") as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        assert text_of(gateway.call(agent, "free", key="a")[1]) == "free a"
        for times in (2, 3):
            with ThreadPoolExecutor() as pool:
                waits = pool.submit(gateway.call, agent, "free", key="a")
                (approval,) = pending_id(gateway)
                view = gateway.shown(approval)["view"]
                assert view["effect"]["state"] == "done"
                assert view["effect"]["again"] is True
                assert "second time" in view["flags"]
                assert gateway.decide(approval)[0] == 200
                assert text_of(waits.result(30)[1]) == "free a"
            assert ran(ground, "a") == times


def test_with_ask_the_other_held_call_becomes_a_second_time_and_votes_begin_anew(
    grounds: Grounds,
) -> None:
    tools = {"free": {**LARGE, "effect_again": "ask"}}
    tools["free"]["approve_if"] = [{**LARGE["approve_if"][0], "quorum": 2}]
    with grounds(tools, agents=2) as ground, ground.gateway() as gateway:
        with ThreadPoolExecutor() as pool:
            calls = [
                pool.submit(gateway.call, token, "free", key="a", amount=500 + number)
                for number, token in enumerate(ground.agents)
            ]
            first, second = pending_id(gateway, 2)
            assert gateway.decide(second)[1]["outcome"] == "counted"
            gateway.decide(first)
            assert gateway.decide(first, token=ground.other_reviewer)[1]["outcome"] == "moved"
            shown = eventually(
                lambda: (found := gateway.shown(second))["revision"] == 2 and found, 30
            )
            assert shown["state"] == "pending"
            assert shown["view"]["effect"]["holder"] == first
            assert "second time" in shown["view"]["flags"]
            assert shown["view"]["missing"] == 2  # she had approved a first time, not a second
            press = {"revision": 1}
            path = f"/api/v1/approvals/{second}/approve"
            assert gateway.ask("POST", path, ground.other_reviewer, press)[0] == 409
            for token in (ground.reviewer, ground.other_reviewer):
                assert gateway.ask("POST", path, token, {"revision": 2})[0] == 200
            assert [text_of(call.result(30)[1]) for call in calls] == ["free a", "free a"]
        assert ran(ground, "a") == 2
        ground.assert_intact()


def test_the_servers_own_error_frees_the_key_and_an_answer_of_nobodys_does_not(
    grounds: Grounds,
) -> None:
    tools = {"broken": PAY, "garbage": PAY}
    with grounds(tools) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        for times in (1, 2):
            assert gateway.call(agent, "broken", key="a")[1]["result"]["isError"]
            assert ran(ground, "a") == times
        gateway.call(agent, "garbage", key="b")
        held = gateway.call(agent, "garbage", key="b")[1]
        assert decision_of(held)["verdict"] == "hold"
        assert ran(ground, "b") == 1


def test_a_call_that_was_not_sent_frees_the_key(grounds: Grounds) -> None:
    with grounds({"free": PAY}) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        assert text_of(gateway.call(agent, "free", key="a")[1]) == "free a"
        ground.witness.process.kill()
        ground.witness.process.wait(30)
        for _ in range(2):
            refused = gateway.call(agent, "free", key="b")[1]
            assert text_of(refused).startswith("Not executed: the server could not be reached.")


def test_kill_9_in_the_middle_leaves_the_key_unknown_and_a_person_settles_it(
    grounds: Grounds,
) -> None:
    tools = {"slow": PAY}
    with grounds(tools, SIGNOFF_HOLD="20") as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        for key, settlement, then in (("a", "not_done", 2), ("b", "done", 1)):
            with ThreadPoolExecutor() as pool:
                dies = pool.submit(_call_and_die, gateway, agent, key)
                eventually(partial(_ran_once, ground, key), 30)
                gateway.end()
                assert isinstance(dies.result(60), DOWN)
            gateway.start()
            with ThreadPoolExecutor() as pool:
                waits = pool.submit(gateway.call, agent, "slow", key=key, seconds=0)
                (approval,) = pending_id(gateway)
                view = gateway.shown(approval)["view"]
                assert view["effect"]["state"] == "unknown"
                holder = view["effect"]["holder"]
                assert holder.startswith("call_")
                listed = gateway.ask("GET", "/api/v1/effects", ground.reviewer)[1]
                assert [one["holder"] for one in listed["items"]] == [holder]
                assert listed["total"] == 1
                body = {"settlement": settlement, "note": "Looked at the ledger."}
                path = f"/api/v1/effects/{holder}/settle"
                assert gateway.ask("POST", path, agent, body)[0] == 401
                if settlement == "not_done":
                    assert gateway.ask("POST", path, ground.reviewer, body)[0] == 200
                else:  # as anyone who sits at the terminal
                    assert holder in ground.site.run("effects").stdout
                    said = ("settle", holder, "done", "--note", "Seen.", "--as", "alice")
                    assert "is settled as done" in ground.site.run(*said).stdout
                assert gateway.ask("POST", path, ground.reviewer, body)[0] in (404, 409)
                if settlement == "not_done":
                    assert gateway.shown(approval)["view"]["effect"]["state"] == "free"
                    revision = gateway.shown(approval)["revision"]
                    press = {"revision": revision}
                    where = f"/api/v1/approvals/{approval}/approve"
                    assert gateway.ask("POST", where, ground.reviewer, press)[0] == 200
                    assert text_of(waits.result(30)[1]) == f"slow {key}"
                else:
                    assert "has done this" in text_of(waits.result(30)[1])
                    again = gateway.call(agent, "slow", key=key, seconds=0)[1]
                    assert decision_of(again)["status"] == "effect_done"
            assert ran(ground, key) == then
        ground.assert_intact()


def _ran_once(ground: Ground, key: str) -> bool:
    return ran(ground, key) == 1


def _call_and_die(gateway: Gateway, agent: str, key: str) -> Any:
    try:
        return gateway.call(agent, "slow", patience=120, key=key, seconds=60)
    except DOWN as down:
        return down


def test_what_was_done_counts_as_long_as_the_rule_says(grounds: Grounds) -> None:
    with grounds({"free": {**PAY, "effect_for": "2s"}}) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        assert text_of(gateway.call(agent, "free", key="a")[1]) == "free a"
        eventually(lambda: not decision_of(gateway.call(agent, "free", key="a")[1]), 30)
        assert ran(ground, "a") == 2


def test_seven_is_seven_however_it_is_written_and_long_values_differ_to_the_end(
    grounds: Grounds,
) -> None:
    tools = {"free": {"effect": "n:{args.amount}"}}
    with grounds(tools) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        for key, amount, done in (
            ("a", "7", True), ("a", "7.0", False), ("a", "70e-1", False),
            ("b", "1" * 90, True), ("b", "1" * 89 + "2", True), ("b", "1" * 90, False),
        ):  # fmt: skip
            before = ran(ground, key)
            arguments = f'{{"key": "{key}", "amount": {amount}}}'
            answer = gateway.raw(agent, "free", arguments)
            assert bool(decision_of(answer)) is not done
            assert ran(ground, key) == before + done
