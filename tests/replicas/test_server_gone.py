"""A PostgreSQL that is really stopped, crashed and frozen under a gateway: nothing unrecorded
runs, what was acknowledged is there afterwards, and the gateway goes on by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.replicas.cluster import Cluster
from tests.support.killable_gateways import Gateway, Ground, Nursery, decision_of, ground, text_of
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.postgres

TOOLS: dict[str, Any] = {"free": {}, "held": {"require_approval": True}}
HEALED_IN = 20


@pytest.fixture
def site(tmp_path: Path, nursery: Nursery, server: Cluster) -> Iterator[Ground]:
    url = server.fresh()
    with ground(tmp_path, nursery, tools=TOOLS, SIGNOFF_DATABASE_URL=url) as found:
        yield found
        found.assert_intact()


def refused(gateway: Gateway, site: Ground, tool: str) -> None:
    began = time.monotonic()
    status, answer = gateway.call(site.agents[0], tool, key="away")
    assert (status, time.monotonic() - began < PATIENCE) == (503, True)
    assert "cannot record calls" in answer["error"]["message"]


def goes_on(gateway: Gateway, site: Ground, approval: str) -> None:
    """What was held before can be decided and runs, and new calls pass."""
    eventually(lambda: gateway.ask("GET", "/readyz", "-")[0] == 200, HEALED_IN)
    assert [item["id"] for item in gateway.pending()] == [approval]
    assert gateway.decide(approval)[0] == 200
    assert text_of(gateway.call(site.agents[0], "held", key="before")[1]) == "held before"
    assert gateway.call(site.agents[0], "free", key="after")[0] == 200
    assert [key for _, key in site.witness.ran()] == ["before", "after"]


def held(gateway: Gateway, site: Ground) -> str:
    answer = gateway.call(site.agents[0], "held", key="before")[1]
    return str(decision_of(answer)["approval_id"])


def test_a_crashed_server_loses_nothing_and_nothing_runs_meanwhile(
    site: Ground, server: Cluster
) -> None:
    with site.gateway() as gateway:
        approval = held(gateway, site)
        server.crash()
        try:
            for tool in TOOLS:
                refused(gateway, site, tool)
            eventually(lambda: gateway.ask("GET", "/readyz", "-")[0] == 503)
        finally:
            server.start()
        goes_on(gateway, site, approval)


def test_nothing_runs_while_the_server_is_frozen(site: Ground, server: Cluster) -> None:
    with site.gateway() as gateway:
        approval = held(gateway, site)
        with server.frozen():
            for tool in TOOLS:
                refused(gateway, site, tool)
            eventually(lambda: gateway.ask("GET", "/readyz", "-")[0] == 503)
        goes_on(gateway, site, approval)


def test_calls_in_flight_when_the_server_crashes_ran_only_if_they_were_recorded(
    site: Ground, server: Cluster
) -> None:
    with site.gateway() as gateway, ThreadPoolExecutor(8) as agents:
        calls = [
            agents.submit(gateway.call, site.agents[0], "free", key=f"k{place}")
            for place in range(200)
        ]
        eventually(lambda: len(site.witness.ran()) > 10)
        server.crash()
        told = [one.result(PATIENCE)[0] for one in calls]
        server.start()
        eventually(lambda: gateway.ask("GET", "/readyz", "-")[0] == 200, HEALED_IN)
    assert set(told) <= {200, 503}
    ran = [key for _, key in site.witness.ran()]
    recorded = [row[0] for row in site.rows("SELECT arguments FROM history WHERE event='allowed'")]
    assert len(ran) == len(set(ran))
    assert {f'{{"key":"{key}"}}' for key in ran} <= set(recorded)
    assert told.count(200) == len(ran)
