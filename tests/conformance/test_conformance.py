"""The official suite finds a server behind the gateway as it finds the same server alone.

No failure is expected anywhere, and no warning but two (UNASKED). Only two scenarios of 2025-11-25
can find less to look at, where the gateway and not the server decides what an answer looks like:

| scenario                    | alone           | server on pipes | every call approved |
|-----------------------------|-----------------|-----------------|---------------------|
| server-sse-multiple-streams | three streams   | three JSON (1)  | three streams       |
| server-sse-polling          | closed, resumed | one JSON (2)    | one JSON (2)        |

(1) Nothing comes before a list, and a pipe has no stream of its own that would have to be kept.
(2) A pipe has no stream that a server could close. Of an approved call the gateway keeps the
    result for the agent: it comes back to a closed stream by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.conformance import suite
from tests.conformance.suite import Check, Leg
from tests.support.reference_gateway import BY_PIPE, approving, gateway, reference

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

WHOLE: Final[Counter[Check]] = Counter({("server-sse-content-type", "INFO"): 1})
"""What server-sse-polling finds in an answer that is no stream."""

ON_PIPES: Final[Mapping[str, Mapping[str, Counter[Check]]]] = {
    LEGACY: {
        "server-sse-multiple-streams": Counter(
            {
                ("server-accepts-multiple-post-streams", "SUCCESS"): 1,
                ("server-sse-streams-functional", "INFO"): 1,
            }
        ),
        "server-sse-polling": WHOLE,
    },
    MODERN: {},
}
APPROVED: Final[Mapping[str, Mapping[str, Counter[Check]]]] = {
    LEGACY: {"server-sse-polling": WHOLE},
    MODERN: {},
}
"""What the scenarios of the table find."""


UNASKED: Final[Mapping[str, Mapping[str, list[Check]]]] = {
    LEGACY: {},
    MODERN: {
        name: [(check, "WARNING")]
        for name, check in (
            ("input-required-result-ignore-extra-params", "sep-2322-ignore-unexpected-params"),
            (
                "input-required-result-missing-input-response",
                "sep-2322-missing-response-rerequests",
            ),
        )
    },
}
"""Both bring answers to a question that no one asked yet: a server may take them (SEP-2322 says
SHOULD); the gateway refuses them, for no one has judged them and no card shows them.
"""


def known(scenarios: Mapping[str, Counter[Check]], revision: str) -> Mapping[str, Counter[Check]]:
    """The scenarios without those that UNASKED names."""
    return {name: one for name, one in scenarios.items() if name not in UNASKED[revision]}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with reference() as url:
        yield url


@pytest.fixture(scope="module")
def alone(server: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Leg]:
    """What the suite finds without a gateway, by revision."""
    folder = tmp_path_factory.mktemp("alone")
    return {
        revision: suite.run(server, revision, folder / revision, usual=UNASKED[revision])
        for revision in LEGS
    }


@pytest.fixture(scope="module")
def behind(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(tmp_path_factory.mktemp("gateway"), {"url": server}) as front:
        yield front.url


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
    found = suite.run(behind, revision, tmp_path, usual=UNASKED[revision])
    assert found.trouble() == UNASKED[revision], found.output
    assert known(found.scenarios, revision) == known(alone[revision].scenarios, revision)


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
    with gateway(tmp_path, {**BY_PIPE, **more}) as front:
        found = suite.run(front.url, revision, tmp_path / "found", usual=UNASKED[revision])
    assert found.trouble() == UNASKED[revision], found.output
    as_alone = {**alone[revision].scenarios, **ON_PIPES[revision]}
    assert known(found.scenarios, revision) == known(as_alone, revision)


@pytest.mark.parametrize("revision", LEGS)
def test_a_server_whose_every_call_is_approved_first_is_found_as_it_is(
    server: str, alone: Mapping[str, Leg], revision: str, tmp_path: Path
) -> None:
    every_call = {"*": {"require_approval": True}}
    with (
        gateway(tmp_path, {"url": server}, default="deny", tools=every_call) as front,
        approving(front.site) as desk,
    ):
        found = suite.run(front.url, revision, tmp_path / "found", usual=UNASKED[revision])
        unasked, ran = desk.events(event="allowed"), desk.events(event="claimed")
    # An answer without a state may find its question open: that of a scenario with the same call.
    assert {**UNASKED[revision], **found.trouble()} == UNASKED[revision], found.output
    as_alone = {**alone[revision].scenarios, **APPROVED[revision]}
    assert known(found.scenarios, revision) == known(as_alone, revision)
    assert unasked == []
    assert ran
