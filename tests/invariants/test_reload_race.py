"""A policy that denies a call, saved while it is approved: it runs before the change or never."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.killable_gateways import Gateway, Ground, Nursery, ground
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE

HELD: dict[str, Any] = {"held": {"require_approval": True}}
DENIED: dict[str, Any] = {"held": {"action": "deny", "reason": "Not any more."}}
ROUNDS = 6


@pytest.fixture
def site(tmp_path: Path, nursery: Nursery) -> Iterator[Ground]:
    with ground(tmp_path, nursery, tools=HELD, SIGNOFF_HOLD="180") as found:
        yield found
        found.assert_intact()


def loaded(site: Ground) -> int:
    return int(site.rows("SELECT count(*) FROM history WHERE event = 'policy_loaded'")[0][0])


def test_an_approval_against_a_policy_reload_runs_before_the_change_or_never(
    site: Ground,
) -> None:
    with site.gateway() as gateway, ThreadPoolExecutor(3) as pool:
        for place in range(ROUNDS):
            key = f"k{place}"
            waiting = pool.submit(gateway.call, site.agents[0], "held", key=key)
            (item,) = eventually(gateway.pending)
            barrier = threading.Barrier(2)

            def save(barrier: threading.Barrier = barrier) -> None:
                barrier.wait(PATIENCE)
                site.site.policy(tools=DENIED)

            saving, before = pool.submit(save), loaded(site)
            decided = press(gateway, item["id"], barrier, later=place / 40)
            saving.result(PATIENCE)
            eventually(lambda before=before: loaded(site) > before)  # type: ignore[misc]
            status, answer = waiting.result(PATIENCE)
            ran = site.witness.ran().count(("held", key))
            assert (status, decided) in {(200, 200), (200, 409)}
            assert ran == (not answer["result"]["isError"])
            site.site.policy(tools=HELD)
            eventually(lambda before=before: loaded(site) > before + 1)  # type: ignore[misc]
    # Claims and policies are rows of one history: between a policy that denies and the next one
    # nothing was let through.
    told = site.rows("SELECT event FROM history WHERE event IN ('policy_loaded', 'claimed')")
    policies = 0
    for (event,) in told:
        policies += event == "policy_loaded"
        assert event == "policy_loaded" or policies % 2 == 0
    assert policies == 2 * ROUNDS


def press(gateway: Gateway, approval: str, barrier: threading.Barrier, *, later: float) -> int:
    """Approve at the barrier, or a little after: the watch needs a moment to see the file."""
    barrier.wait(PATIENCE)
    threading.Event().wait(later)
    return gateway.decide(approval)[0]
