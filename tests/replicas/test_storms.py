"""I1, I2, I4 on PostgreSQL: two gateways under load, killed with -9 at any instant, while their
server is crashed, frozen and cut off. Nothing is lost, runs twice or runs unapproved.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from tests.replicas.cluster import Cluster
from tests.support.killable_gateways import Gateway, Ground, Nursery, ground
from tests.support.live_gateway import eventually
from tests.support.storm import TOOLS, Storm

pytestmark = pytest.mark.postgres

LONGEST = 0.6  # seconds between two faults
STANDSTILL = 1.5  # seconds the server is frozen: longer than a lease


@pytest.fixture
def site(tmp_path: Path, nursery: Nursery, server: Cluster) -> Iterator[Ground]:
    environ = {"SIGNOFF_DATABASE_URL": server.fresh(), "SIGNOFF_HOLD": "1"}
    with ground(tmp_path, nursery, tools=TOOLS, agents=3, **environ) as found:
        yield found
        found.assert_intact()


def faults(site: Ground, server: Cluster, storm: Storm) -> dict[str, Callable[[], None]]:
    """What may happen to them."""
    url = make_url(site.site.environ["SIGNOFF_DATABASE_URL"])
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)

    def crash() -> None:
        server.crash()
        server.start()

    def freeze() -> None:
        with server.frozen():
            threading.Event().wait(STANDSTILL)

    def drop() -> None:
        with psycopg.connect(plain, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'signoff' AND datname = %s",
                (url.database,),
            )

    def kill_while_it_crashes() -> None:
        server.crash()
        gateway = storm.gateway
        gateway.end()
        server.start()
        gateway.start()

    return {
        "gateways killed": storm.kill,
        "servers crashed": crash,
        "servers frozen": freeze,
        "times all connections dropped": drop,
        "both at once": kill_while_it_crashes,
    }


def rage(site: Ground, server: Cluster, rounds: int, *, only: tuple[str, ...] = ()) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"\nseed {seed}")
    began = time.monotonic()
    with site.gateway() as one, site.gateway() as other:
        storm = Storm(site, [one, other], seed)
        possible = faults(site, server, storm)
        storm.rage(rounds, LONGEST, {k: v for k, v in possible.items() if not only or k in only})
        for gateway in (one, other):
            eventually(lambda gateway=gateway: ready(gateway))  # type: ignore[misc]
        figures: dict[str, Any] = storm.check(record_dies=True)
    print(f"{rounds} faults in {time.monotonic() - began:.0f} s: {figures}")
    assert figures["executions"] > rounds / 2


def ready(gateway: Gateway) -> bool:
    return bool(gateway.ask("GET", "/readyz", "-")[0] == 200)


def test_a_storm_over_two_gateways_and_their_server_loses_and_doubles_nothing(
    site: Ground, server: Cluster
) -> None:
    rage(site, server, 8)


@pytest.mark.slow
def test_200_kills_of_gateways_on_postgresql_lose_and_double_nothing(
    site: Ground, server: Cluster
) -> None:
    rage(site, server, 200, only=("gateways killed",))


@pytest.mark.slow
def test_100_faults_of_every_kind_on_postgresql_lose_and_double_nothing(
    site: Ground, server: Cluster
) -> None:
    rage(site, server, 100)
