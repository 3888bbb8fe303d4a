"""I8: what cannot be recorded does not run, is refused with a reason, and works again by itself."""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.killable_gateways import Gateway, Ground, Nursery, decision_of, ground, text_of
from tests.support.live_gateway import Site, eventually
from tests.support.patience import PATIENCE

TOOLS: dict[str, Any] = {"free": {}, "held": {"require_approval": True},
                         "slow": {"require_approval": True}}  # fmt: skip
BUSY = 5.0  # seconds a statement waits for another process's lock


@pytest.fixture
def site(tmp_path: Path, nursery: Nursery) -> Iterator[Ground]:
    with ground(tmp_path, nursery, tools=TOOLS) as found:
        yield found
        found.assert_intact()


@contextmanager
def locked(ground: Ground) -> Iterator[None]:
    """Another process's writer sits on the database."""
    with closing(sqlite3.connect(ground.site.data / "signoff.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


@contextmanager
def full(ground: Ground, gateway: Gateway) -> Iterator[None]:
    """No file of the gateway may grow: what a full disk does to it."""
    _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    sizes = [one.stat().st_size for one in ground.site.data.iterdir() if "-shm" not in one.name]
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (max(sizes), hard))
    try:
        yield
    finally:
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))


def assert_refused(ground: Ground, gateway: Gateway, key: str) -> None:
    """No kind of call runs or waits, and each is told why."""
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda tool: gateway.call(ground.agents[0], tool, key=key), TOOLS)
    for status, answer in answers:
        assert status == 503
        assert "cannot record calls" in answer["error"]["message"]
        assert answer["id"] == 1
    assert not [ran for ran in ground.witness.ran() if ran[1] == key]


def assert_recovers(ground: Ground, gateway: Gateway, key: str) -> None:
    agent = ground.agents[0]
    eventually(lambda: gateway.call(agent, "free", key=key)[0] == 200)
    assert ("free", key) in ground.witness.ran()
    assert eventually(lambda: gateway.ask("GET", "/readyz", "-")[0] == 200)


def test_nothing_runs_while_another_process_locks_the_record(site: Ground) -> None:
    with site.gateway() as gateway:
        _, answer = gateway.call(site.agents[0], "held", key="before")
        with locked(site):
            assert_refused(site, gateway, "locked")
            eventually(lambda: gateway.ask("GET", "/readyz", "-")[0] == 503)
            assert [item["id"] for item in gateway.pending()] == [
                decision_of(answer)["approval_id"]
            ]
        assert_recovers(site, gateway, "after")


def test_nothing_runs_while_the_disk_is_full(site: Ground) -> None:
    with site.gateway() as gateway:
        gateway.call(site.agents[0], "free", key="before")
        with full(site, gateway):
            eventually(lambda: gateway.call(site.agents[0], "free", key="x")[0] == 503)
            assert_refused(site, gateway, "full")
        assert_recovers(site, gateway, "after")


def test_a_decision_that_cannot_be_recorded_is_not_acknowledged(site: Ground) -> None:
    with site.gateway() as gateway:
        _, answer = gateway.call(site.agents[0], "held", key="k")
        approval = decision_of(answer)["approval_id"]
        with locked(site):
            assert gateway.decide(approval)[0] == 503
        assert gateway.shown(approval)["state"] == "pending"
        assert eventually(lambda: gateway.decide(approval)[0] == 200)


def test_a_run_whose_end_cannot_be_recorded_is_unknown_and_never_stuck(site: Ground) -> None:
    agent = site.agents[0]
    told: list[Any] = []
    with site.gateway() as gateway:
        _, answer = gateway.call(agent, "slow", key="k", seconds=1)
        approval = decision_of(answer)["approval_id"]
        gateway.decide(approval)
        repeat = threading.Thread(
            target=lambda: told.append(gateway.call(agent, "slow", key="k", seconds=1))
        )
        repeat.start()
        eventually(site.witness.ran)
        with locked(site):
            repeat.join(PATIENCE)
            assert text_of(told[0][1]).startswith("Outcome unknown")
        shown = eventually(
            lambda: (found := gateway.shown(approval))["execution"] != "executing" and found
        )
        assert shown["execution"] == "outcome_unknown"
        assert site.witness.ran() == [("slow", "k")]


def test_a_run_outlives_a_locked_record(site: Ground) -> None:
    agent = site.agents[0]
    told: list[Any] = []
    with site.gateway() as gateway:
        _, answer = gateway.call(agent, "slow", key="k", seconds=7)
        approval = decision_of(answer)["approval_id"]
        gateway.decide(approval)
        repeat = threading.Thread(
            target=lambda: told.append(gateway.call(agent, "slow", key="k", seconds=7))
        )
        repeat.start()
        eventually(site.witness.ran)
        with locked(site):  # far longer than the lease
            eventually(lambda: gateway.ask("GET", "/readyz", "-")[0] == 503)
        repeat.join(PATIENCE)
        assert text_of(told[0][1]) == "slow k"
        assert gateway.shown(approval)["execution"] == "succeeded"


def test_a_policy_saved_while_the_record_is_away_holds_at_once_and_is_recorded_later(
    site: Ground,
) -> None:
    with site.gateway() as gateway:
        _, answer = gateway.call(site.agents[0], "held", key="k")
        approval = decision_of(answer)["approval_id"]
        with locked(site):
            site.site.policy(tools={"free": {}})
            eventually(lambda: "policy.not_recorded" in site.site.log())
        eventually(lambda: gateway.shown(approval)["state"] == "superseded")
        site.site.policy(tools={})  # the file is still watched
        eventually(lambda: decision_of(gateway.call(site.agents[0], "free", key="k")[1]))
    told = site.rows("SELECT event FROM history WHERE event = 'policy_loaded'")
    assert len(told) == 2


def test_a_read_only_record_refuses_to_start(site: Ground) -> None:
    with site.gateway():
        pass
    for file in site.site.data.iterdir():
        file.chmod(0o400)
    # Root reads and writes everything unless it gives that up.
    bounded = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps",
               "-dac_override,-dac_read_search")  # fmt: skip
    assert isinstance(site.site, Site)
    ended = site.site.run("up", check=False, prefix=bounded)
    assert ended.returncode != 0
    assert "denied" in ended.stderr + ended.stdout
    for file in site.site.data.iterdir():
        file.chmod(0o600)
