"""I1, I2, I4: kill -9 at any instant loses nothing, runs nothing twice and nothing unapproved."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.killable_gateways import (
    DOWN,
    Gateway,
    Ground,
    Nursery,
    decision_of,
    ground,
    text_of,
)
from tests.support.live_gateway import end, eventually
from tests.support.patience import PATIENCE
from tests.support.storm import TOOLS, Storm

LONGEST = 0.6  # seconds a gateway of a storm lives


@pytest.fixture
def site(tmp_path: Path, nursery: Nursery) -> Iterator[Ground]:
    tools = {**TOOLS, "slow": {"require_approval": True}}
    with ground(tmp_path, nursery, tools=tools, agents=3, SIGNOFF_HOLD="1") as found:
        yield found
        found.assert_intact()


def storm(site: Ground, rounds: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    started = time.monotonic()
    with site.gateway() as gateway:
        raging = Storm(site, [gateway], seed)
        raging.rage(rounds, LONGEST)
        figures = raging.check()
    print(f"{rounds} rounds in {time.monotonic() - started:.0f} s: {figures}")
    assert figures["executions"] > rounds


def test_25_kills_at_random_instants_lose_and_double_nothing(site: Ground) -> None:
    storm(site, 25)


@pytest.mark.slow
def test_1000_kills_at_random_instants_lose_and_double_nothing(site: Ground) -> None:
    storm(site, 1_000)


def _hold(site: Ground, gateway: Gateway, tool: str, **arguments: Any) -> str:
    _, answer = gateway.call(site.agents[0], tool, **arguments)
    return str(decision_of(answer)["approval_id"])


def test_what_is_pending_outlives_a_kill_with_all_it_says(site: Ground) -> None:
    with site.gateway() as gateway:
        held = [_hold(site, gateway, "held", key=f"k{n}", note="ü" * n) for n in range(5)]
        before = {one: gateway.shown(one) for one in held}
        gateway.end()
        gateway.start()
        assert {item["id"] for item in gateway.pending()} == set(held)
        for one in held:
            after = gateway.shown(one)
            for name in ("arguments", "digest", "revision", "expires_at", "state"):
                assert after[name] == before[one][name]
            assert gateway.decide(one)[0] == 200
        for n in range(5):
            _, answer = gateway.call(site.agents[0], "held", key=f"k{n}", note="ü" * n)
            assert text_of(answer) == f"held k{n}"
    assert len(site.witness.ran()) == 5


def test_a_stop_keeps_what_is_pending_and_lets_the_waiting_agent_go(site: Ground) -> None:
    answers: list[Any] = []
    with ExitStack() as stack:
        gateway = stack.enter_context(site.gateway())
        agent = threading.Thread(
            target=lambda: answers.append(gateway.call(site.agents[0], "held", key="k"))
        )
        agent.start()
        (item,) = eventually(gateway.pending)
        gateway.end(signal.SIGTERM)
        agent.join(PATIENCE)
        assert text_of(answers[0][1]).startswith("Not executed yet")
        gateway.start()
        assert gateway.shown(item["id"])["state"] == "pending"


def test_a_call_whose_gateway_was_killed_while_the_server_ran_is_unknown(site: Ground) -> None:
    """And is never sent again: not by the gateway, not for its agent, not by an approval."""
    agent = site.agents[0]
    arguments: dict[str, Any] = {"key": "k", "seconds": 60}
    with site.gateway() as gateway:
        approval = _hold(site, gateway, "slow", **arguments)
        gateway.decide(approval)

        def call() -> None:
            with suppress(*DOWN):
                gateway.call(agent, "slow", **arguments)

        waiting = threading.Thread(target=call)
        waiting.start()
        eventually(site.witness.ran)
        gateway.end()
        waiting.join(PATIENCE)
        gateway.start()
        eventually(lambda: gateway.shown(approval)["execution"] == "outcome_unknown")
        assert gateway.decide(approval)[0] == 409
        _, told = gateway.call(agent, "slow", **arguments)
        assert text_of(told).startswith("Outcome unknown")
        _, again = gateway.call(agent, "slow", **arguments)
        new = decision_of(again)["approval_id"]
        assert text_of(again).startswith("Not executed yet")
        assert new != approval
    assert site.witness.ran() == [("slow", "k")]


def test_an_allowed_call_killed_on_its_way_is_not_sent_again(site: Ground) -> None:
    site.site.policy(tools={"slow": {}})
    with site.gateway() as gateway:

        def call() -> None:
            with suppress(*DOWN):
                gateway.call(site.agents[0], "slow", key="k", seconds=60)

        waiting = threading.Thread(target=call)
        waiting.start()
        eventually(site.witness.ran)
        gateway.end()
        waiting.join(PATIENCE)
        gateway.start()
        gateway.call(site.agents[0], "slow", key="other", seconds=0)
    assert site.witness.ran() == [("slow", "k"), ("slow", "other")]


def test_a_suspended_gateway_does_not_contradict_the_one_that_took_over(site: Ground) -> None:
    """Its lease ran out, the outcome is unknown on record: its agent is told so too."""
    agent, told = site.agents[0], []
    with site.gateway() as first, site.gateway() as second:
        approval = _hold(site, first, "slow", key="k", seconds=1)
        first.decide(approval)
        waiting = threading.Thread(
            target=lambda: told.append(first.call(agent, "slow", key="k", seconds=1))
        )
        waiting.start()
        eventually(site.witness.ran)
        first.send(signal.SIGSTOP)
        eventually(lambda: second.shown(approval)["execution"] == "outcome_unknown")
        first.send(signal.SIGCONT)
        waiting.join(PATIENCE)
        assert text_of(told[0][1]).startswith("Outcome unknown")
        assert second.shown(approval)["execution"] == "outcome_unknown"
    assert site.witness.ran() == [("slow", "k")]


def test_two_gateways_never_both_run_one_approval(site: Ground) -> None:
    site.site.environ = {**site.site.environ, "SIGNOFF_HOLD": "180"}
    with site.gateway() as first, site.gateway() as second, ThreadPoolExecutor(6) as pool:
        for n in range(4):

            def repeat(gateway: Gateway, key: str = f"k{n}") -> str:
                return text_of(gateway.call(site.agents[0], "held", key=key)[1])

            told = [pool.submit(repeat, gateway) for gateway in (first, second) * 3]
            (item,) = eventually(lambda: [one for one in first.pending() if one["attempts"] == 6])
            first.decide(item["id"])
            # Anyone who waits beside the one that runs it gets its answer too.
            assert [one.result(PATIENCE) for one in told] == [f"held k{n}"] * 6
    assert sorted(site.witness.ran()) == [("held", f"k{n}") for n in range(4)]


def _killed_at_write(site: Ground, gateway: Gateway, key: str, write: int) -> bool:
    """Approve and run a held call while the gateway's K-th write kills it. Whether it did."""
    approval = _hold(site, gateway, "held", key=key)
    inject = f"inject=fdatasync,fsync,pwrite64:signal=KILL:when={write}"
    strace = subprocess.Popen(
        ["strace", "-f", "-p", str(gateway.pid), "-e", "trace=fdatasync,fsync,pwrite64",
         "-e", inject, "-o", "/dev/null"],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert strace.stderr is not None
    attached = 0
    threads = len(list(Path(f"/proc/{gateway.pid}/task").iterdir()))
    while attached < threads and (line := strace.stderr.readline()):
        attached += bool(re.search(r"attached", line)) and (int(_with(line)) or 1)
    acknowledged = died = False
    try:
        acknowledged = gateway.decide(approval)[0] == 200
        gateway.call(site.agents[0], "held", key=key, patience=5)
    except DOWN:
        died = True
    finally:
        gateway.end()
        end(strace, signal.SIGKILL)
        strace.stderr.close()
    gateway.start()
    if acknowledged:
        assert gateway.shown(approval)["state"] == "approved"
    if gateway.shown(approval)["state"] == "pending":
        gateway.decide(approval)
    return died


def _with(line: str) -> str:
    """`Process 7 attached with 12 threads` says how many."""
    found = re.search(r"with (\d+) threads", line)
    return found[1] if found else "0"


def _at_writes(site: Ground, writes: range) -> None:
    died = 0
    with site.gateway() as gateway:
        for write in writes:
            key = f"w{write}"
            died += _killed_at_write(site, gateway, key, write)
            word = eventually(lambda key=key: _end_of(site, gateway, key))  # type: ignore[misc]
            times = site.witness.ran().count(("held", key))
            assert (word, times) in {
                ("ran", 1),
                ("unknown", 0),
                ("unknown", 1),
                ("delivered", 1),
            }, write
    print(f"{died} of {len(writes)} writes killed it")
    assert died >= len(writes) // 2


def _end_of(site: Ground, gateway: Gateway, key: str) -> str | None:
    """What the agent that repeats its call is told in the end; None: not yet."""
    if _delivered(site, key):
        return "delivered"
    _, answer = gateway.call(site.agents[0], "held", key=key)
    if not answer["result"]["isError"]:
        return "ran"
    return "unknown" if text_of(answer).startswith("Outcome unknown") else None


def _delivered(site: Ground, key: str) -> bool:
    """The answer was handed over before the kill: a repeat would be a new call."""
    found = site.rows(
        "SELECT masked FROM approval WHERE delivery = 'delivered' AND execution = 'succeeded'"
    )
    return any(f'"{key}"' in row[0] for row in found)


STRACE = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@STRACE
def test_a_kill_at_a_write_of_an_approval_never_runs_it_twice(site: Ground) -> None:
    """From its decision to its delivery an approval makes about 70 writes in 6 commits."""
    _at_writes(site, range(1, 68, 6))


@STRACE
@pytest.mark.slow
def test_a_kill_at_each_write_of_an_approval_never_runs_it_twice(site: Ground) -> None:
    _at_writes(site, range(1, 61))
