"""The official suite finds a server behind the gateway as it finds the same server alone.

No failure is expected anywhere. A server on pipes has no HTTP of its own, so what the suite asks
about its streams the gateway answers for it, and there two scenarios find less to look at:

| scenario (2025-11-25)       | over HTTP       | over stdio | why                               |
|-----------------------------|-----------------|------------|-----------------------------------|
| server-sse-multiple-streams | three streams   | three JSON | nothing comes before a list       |
| server-sse-polling          | closed, resumed | one JSON   | a pipe has no stream to be closed |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.conformance import suite
from tests.conformance.stage import BY_PIPE, gateway, reference
from tests.conformance.suite import Check, Leg

WHY_NOT: Final = suite.missing()
pytestmark = [
    pytest.mark.node,
    pytest.mark.xdist_group("conformance"),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "Node"),
]

LEGACY: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
LEGS: Final = {LEGACY: (33, 84), MODERN: (40, 152)}
"""Revision to its scenarios and to the checks that succeed."""

ON_PIPES: Final[Mapping[str, Mapping[str, Counter[Check]]]] = {
    LEGACY: {
        "server-sse-multiple-streams": Counter(
            {
                ("server-accepts-multiple-post-streams", "SUCCESS"): 1,
                ("server-sse-streams-functional", "INFO"): 1,
            }
        ),
        "server-sse-polling": Counter({("server-sse-content-type", "INFO"): 1}),
    },
    MODERN: {},
}
"""What the two scenarios of the table find."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with reference() as url:
        yield url


@pytest.fixture(scope="module")
def alone(server: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Leg]:
    """What the suite finds without a gateway, by revision."""
    folder = tmp_path_factory.mktemp("alone")
    return {revision: suite.run(server, revision, folder / revision) for revision in LEGS}


@pytest.fixture(scope="module")
def behind(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(tmp_path_factory.mktemp("gateway"), {"url": server}) as url:
        yield url


@pytest.mark.parametrize("revision", LEGS)
def test_the_reference_server_alone_is_without_fault(
    alone: Mapping[str, Leg], revision: str
) -> None:
    found = alone[revision]
    assert found.trouble() == {}, found.output
    assert (len(found.scenarios), found.checks) == LEGS[revision]


@pytest.mark.parametrize("revision", LEGS)
def test_a_server_behind_the_gateway_is_found_as_it_is(
    alone: Mapping[str, Leg], behind: str, revision: str, tmp_path: Path
) -> None:
    found = suite.run(behind, revision, tmp_path)
    assert found.trouble() == {}, found.output
    assert found.scenarios == alone[revision].scenarios


@pytest.mark.parametrize(
    ("revision", "more"),
    [
        pytest.param(MODERN, {}, id="2026-07-28"),
        pytest.param(LEGACY, {"shared": True}, id="2025-11-25, one process"),
        pytest.param(LEGACY, {}, id="2025-11-25, one for a session", marks=pytest.mark.slow),
    ],
)
def test_a_server_on_pipes_is_found_as_far_as_a_pipe_goes(
    alone: Mapping[str, Leg], revision: str, more: dict[str, bool], tmp_path: Path
) -> None:
    with gateway(tmp_path, {**BY_PIPE, **more}) as url:
        found = suite.run(url, revision, tmp_path / "found")
    assert found.trouble() == {}, found.output
    assert found.scenarios == {**alone[revision].scenarios, **ON_PIPES[revision]}
