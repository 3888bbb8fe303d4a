"""Two gateways on one PostgreSQL: one record, whichever of them an agent or a reviewer talks to."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from tests.invariants.test_caps import CALLS, CAP, admitted, burst
from tests.invariants.test_caps import TOOLS as CAPPED
from tests.replicas.proxy import Proxy
from tests.support.killable_gateways import (
    DOWN,
    Gateway,
    Ground,
    Nursery,
    decision_of,
    ground,
    text_of,
)
from tests.support.live_gateway import Site, eventually
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.postgres

TOOLS: dict[str, Any] = {
    "free": {},
    "limited": CAPPED["free"],
    "held": {"require_approval": True},
    "slow": {"require_approval": True},
}


@pytest.fixture
def site(
    tmp_path: Path, nursery: Nursery, postgres: URL, proxy: Proxy, request: pytest.FixtureRequest
) -> Iterator[Ground]:
    """A record behind the proxy. Agents wait in place for 20 s."""
    tools = getattr(request, "param", TOOLS)
    url = postgres.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    environ = {"SIGNOFF_DATABASE_URL": url, "SIGNOFF_HOLD": "180", "SIGNOFF_MAX_PENDING": "50"}
    with ground(tmp_path, nursery, tools=tools, agents=4, **environ) as found:
        yield found
        found.assert_intact()


@pytest.fixture
def pair(site: Ground) -> Iterator[tuple[Gateway, Gateway]]:
    with site.gateway() as one, site.gateway() as other:
        yield one, other


@pytest.fixture
def agents() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def more_than(told: dict[str, int], size: int) -> bool:
    return len(told) > size


def ready(gateway: Gateway) -> bool:
    return bool(gateway.ask("GET", "/readyz", "-")[0] == 200)


def waits(
    agents: ThreadPoolExecutor,
    gateway: Gateway,
    token: str,
    key: str,
    tool: str = "held",
    **more: Any,
) -> Future[tuple[int, Any]]:
    """An agent that waits in place, once reviewers see its call."""
    before = len(gateway.pending())
    waiting = agents.submit(gateway.call, token, tool, key=key, **more)
    eventually(lambda: len(gateway.pending()) > before)
    return waiting


def test_a_call_held_on_one_is_approved_on_the_other_and_answered_in_place(
    site: Ground, pair: tuple[Gateway, Gateway], agents: ThreadPoolExecutor
) -> None:
    one, other = pair
    for place in range(5):
        waiting = waits(agents, one, site.agents[0], f"k{place}")
        (item,) = other.pending()
        assert other.decide(item["id"])[0] == 200
        status, answer = waiting.result(PATIENCE)
        assert (status, text_of(answer)) == (200, f"held k{place}")
    assert site.witness.ran() == [("held", f"k{place}") for place in range(5)]


def test_a_denial_on_the_other_reaches_the_waiting_agent(
    site: Ground, pair: tuple[Gateway, Gateway], agents: ThreadPoolExecutor
) -> None:
    one, other = pair
    waiting = waits(agents, one, site.agents[0], "k")
    assert other.decide(other.pending()[0]["id"], "deny")[0] == 200
    assert decision_of(waiting.result(PATIENCE)[1])["status"] == "denied"
    assert site.witness.ran() == []


def test_the_same_call_on_both_is_one_approval_and_runs_once(
    site: Ground, pair: tuple[Gateway, Gateway], agents: ThreadPoolExecutor
) -> None:
    waiting = [agents.submit(gateway.call, site.agents[0], "held", key="k") for gateway in pair]
    (item,) = eventually(pair[0].pending)
    eventually(lambda: pair[1].shown(item["id"])["attempts"] == 2)
    assert pair[1].decide(item["id"])[0] == 200
    assert {text_of(one.result(PATIENCE)[1]) for one in waiting} == {"held k"}
    assert site.witness.ran() == [("held", "k")]


def test_of_deciders_on_both_one_wins(site: Ground, pair: tuple[Gateway, Gateway]) -> None:
    for place in range(4):
        with ThreadPoolExecutor(9) as pool:
            waiting = waits(pool, pair[0], site.agents[0], f"k{place}")
            approval = pair[0].pending()[0]["id"]
            barrier = threading.Barrier(8)

            def press(n: int, approval: str = approval, barrier: Any = barrier) -> int:
                barrier.wait(PATIENCE)
                token = site.reviewer if n % 4 < 2 else site.other_reviewer
                return pair[n % 2].decide(approval, "approve" if n < 4 else "deny", token)[0]

            told = list(pool.map(press, range(8)))
            assert (told.count(200), told.count(409)) == (1, 7), told
            waiting.result(PATIENCE)


@pytest.mark.parametrize("site", [CAPPED], indirect=True)
def test_200_calls_over_two_replicas_run_20_times(
    site: Ground, pair: tuple[Gateway, Gateway]
) -> None:
    told = burst(site, list(pair), range(CALLS))
    assert (told.count("ran"), told.count("limited")) == (CAP, CALLS - CAP)
    assert len(site.witness.ran()) == len(set(site.witness.ran())) == admitted(site) == CAP


def test_what_a_killed_replica_was_running_becomes_unknown_and_is_not_sent_again(
    site: Ground, pair: tuple[Gateway, Gateway], agents: ThreadPoolExecutor
) -> None:
    one, other = pair
    waiting = waits(agents, one, site.agents[0], "k", "slow", seconds=30)
    approval = other.pending()[0]["id"]
    other.decide(approval)
    eventually(site.witness.ran)
    one.end()
    with suppress(*DOWN):
        waiting.result(PATIENCE)
    shown = eventually(
        lambda: (found := other.shown(approval))["execution"] != "executing" and found, 10
    )
    assert shown["execution"] == "outcome_unknown"
    answer = other.call(site.agents[0], "slow", key="k", seconds=30)[1]
    assert text_of(answer).startswith("Outcome unknown")
    assert site.witness.ran() == [("slow", "k")]


def test_a_call_that_waited_on_a_killed_replica_runs_through_the_other(
    site: Ground, pair: tuple[Gateway, Gateway], agents: ThreadPoolExecutor
) -> None:
    one, other = pair
    waiting = waits(agents, one, site.agents[0], "k")
    one.end()
    with suppress(*DOWN):
        waiting.result(PATIENCE)
    assert other.decide(other.pending()[0]["id"])[0] == 200
    assert text_of(other.call(site.agents[0], "held", key="k")[1]) == "held k"
    assert site.witness.ran() == [("held", "k")]


def test_connections_dropped_again_and_again_let_nothing_unrecorded_run(
    site: Ground, pair: tuple[Gateway, Gateway], postgres: URL, agents: ThreadPoolExecutor
) -> None:
    stop = threading.Event()
    told: dict[str, int] = {}

    def calls(gateway: Gateway, token: str) -> None:
        while not stop.is_set():
            key = secrets.token_hex(6)
            told[key] = gateway.call(token, "free", key=key)[0]

    running = [agents.submit(calls, pair[n % 2], site.agents[n]) for n in range(4)]
    plain = postgres.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as admin:
        for _ in range(8):
            seen = len(told)
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'signoff' AND datname = %s",
                (postgres.database,),
            )
            eventually(partial(more_than, told, seen + 10))
    stop.set()
    for one in running:
        one.result(PATIENCE)
    assert set(told.values()) <= {200, 503}
    for gateway in pair:
        eventually(partial(ready, gateway))
    ran = [key for _, key in site.witness.ran()]
    recorded = {
        row[0] for row in site.rows("SELECT arguments FROM history WHERE event = 'allowed'")
    }
    assert len(ran) == len(set(ran))
    assert {f'{{"key":"{key}"}}' for key in ran} <= recorded
    assert {key for key, status in told.items() if status == 200} == set(ran)


@pytest.mark.parametrize("fault", ["frozen", "gone"])
def test_nothing_runs_while_the_database_is_away_and_it_heals_by_itself(
    site: Ground, proxy: Proxy, fault: str
) -> None:
    agent = site.agents[0]
    with site.gateway() as gateway:
        assert gateway.call(agent, "free", key="before")[0] == 200
        with proxy.frozen() if fault == "frozen" else proxy.gone():
            for tool in ("free", "held"):
                began = time.monotonic()
                status, answer = gateway.call(agent, tool, key="away")
                assert (status, time.monotonic() - began < PATIENCE) == (503, True)
                assert "cannot record calls" in answer["error"]["message"]
            eventually(lambda: not ready(gateway))
        eventually(partial(ready, gateway))
        assert gateway.call(agent, "free", key="after")[0] == 200
    assert [key for _, key in site.witness.ran()] == ["before", "after"]


def test_an_agent_that_waits_outlives_lost_connections_and_a_short_outage(
    site: Ground, pair: tuple[Gateway, Gateway], proxy: Proxy, agents: ThreadPoolExecutor
) -> None:
    waiting = waits(agents, pair[0], site.agents[0], "k")
    approval = pair[1].pending()[0]["id"]
    with proxy.gone():
        eventually(lambda: pair[1].decide(approval)[0] == 503)
    proxy.reset()
    assert pair[1].decide(approval)[0] == 200
    assert text_of(waiting.result(PATIENCE)[1]) == "held k"
    assert site.witness.ran() == [("held", "k")]


def test_a_replica_with_another_key_does_not_start(site: Ground, tmp_path: Path) -> None:
    second = Site(tmp_path / "second", environ=site.site.environ)
    second.folder.mkdir()
    for name in ("policy.json", "servers.json"):
        shutil.copy(site.site.folder / name, second.folder)
    refused = second.run("up", check=False)
    assert refused.returncode != 0
    assert "another key file" in " ".join((refused.stdout + refused.stderr).split())
    shutil.copy(site.site.data / "signoff.key", second.data)
    second.start()
    second.stop()
