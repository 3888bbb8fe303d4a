"""The official suite of one era in front of the reference server that only knows the other.

What cannot be found across the bridge is named here with its reason; all else is found as alone.
(1) Questions of 2025-11-25 have no names, and the scenario wants its server's own: `user_name`.
(2) They bring answers to a question no one asked, without a state: the gateway refuses them.
(3) The suite listens for 600 ms. What a client declares here is new, so a process is started for
    it, and that may take longer.
(4) A stateless server has no streams to come back to (SEP-1699), and answers lists in one piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance import suite
from tests.conformance.suite import Check, Leg
from tests.support.one_era import Era
from tests.support.reference_gateway import BY_PIPE, gateway, reference

WHY_NOT: Final = suite.missing()
pytestmark = [
    pytest.mark.node,
    pytest.mark.xdist_group("conformance"),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "Node"),
]

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
UNNAMED: Final[Mapping[str, list[Check]]] = {
    "input-required-result-basic-elicitation": [("sep-2322-elicitation-incomplete", "FAILURE")],
    "input-required-result-ignore-extra-params": [("sep-2322-ignore-unexpected-params", "WARNING")],
    "input-required-result-missing-input-response": [
        ("sep-2322-missing-response-rerequests", "WARNING")
    ],
}
"""(1) and (2)."""

SLOW_START: Final[Check] = ("sep-2575-http-server-no-independent-requests-on-stream", "FAILURE")
"""(3), of server-stateless."""

STATELESS: Final[Mapping[str, Counter[Check]]] = {
    "server-sse-multiple-streams": Counter(
        {
            ("server-accepts-multiple-post-streams", "SUCCESS"): 1,
            ("server-sse-streams-functional", "INFO"): 1,
        }
    ),
    "server-sse-polling": Counter({("server-sse-content-type", "INFO"): 1}),
}
"""(4)."""


def by_pipe(era: Era) -> dict[str, Any]:
    return {**BY_PIPE, "args": [*BY_PIPE["args"], era]}


def found(folder: Path, server: dict[str, Any], revision: str) -> Leg:
    with gateway(folder, server) as front:
        return suite.run(front.url, revision, folder / "found")


def test_a_server_with_sessions_is_found_by_the_newer_suite(tmp_path: Path) -> None:
    with reference("legacy") as url:
        leg = found(tmp_path, {"url": url}, MODERN)
    assert leg.trouble() == UNNAMED, leg.output
    assert (len(leg.scenarios), leg.checks) == (40, 148)


def test_a_stateless_server_is_found_by_the_older_suite(tmp_path: Path) -> None:
    with reference("modern") as url:
        leg = found(tmp_path, {"url": url}, LEGACY)
    assert leg.trouble() == {}, leg.output
    assert (len(leg.scenarios), leg.checks) == (33, 80)
    assert {name: leg.scenarios[name] for name in STATELESS} == STATELESS


@pytest.mark.slow
def test_a_server_with_sessions_on_pipes_is_found_by_the_newer_suite(tmp_path: Path) -> None:
    leg = found(tmp_path, by_pipe("legacy"), MODERN)
    trouble = leg.trouble()
    assert trouble.pop("server-stateless", [SLOW_START]) == [SLOW_START]
    assert trouble == UNNAMED, leg.output


@pytest.mark.slow
def test_a_stateless_server_on_pipes_is_found_by_the_older_suite(tmp_path: Path) -> None:
    leg = found(tmp_path, by_pipe("modern"), LEGACY)
    assert leg.trouble() == {}, leg.output
    assert (len(leg.scenarios), leg.checks) == (33, 80)
