"""The official suite finds a server behind the gateway as it finds the same server alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.conformance import suite
from tests.conformance.listener import granting
from tests.harness import ROOT, START_SECONDS, Site, accepts, end, eventually, free_port

WHY_NOT: Final = suite.missing()
pytestmark = [
    pytest.mark.node,
    pytest.mark.xdist_group("conformance"),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "Node"),
]
LEGS: Final = {"2025-11-25": (33, 84), "2026-07-28": (40, 152)}
"""Revision to its scenarios and to the checks that succeed."""

REFERENCE: Final = (sys.executable, "-m", "tests.conformance.reference")


@contextmanager
def reference() -> Iterator[str]:
    """The reference server over HTTP; its URL."""
    port = free_port()
    process = subprocess.Popen(
        [*REFERENCE, "http", str(port)], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: accepts(port), START_SECONDS)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        end(process, signal.SIGKILL)


@contextmanager
def gateway(folder: Path, **server: object) -> Iterator[str]:
    """A gateway that allows everything in front of one server; the URL that adds a grant."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    own = {
        "SIGNOFF_ALLOWED_HOSTS": json.dumps([host]),
        "SIGNOFF_ALLOWED_ORIGINS": json.dumps([f"http://{host}"]),
    }
    site = Site(folder, own)
    site.policy(default="allow")
    site.servers(reference=server)
    token = site.grant("suite")
    site.start()
    try:
        with granting(port, to=site.port, token=token):
            yield f"http://{host}/mcp/reference"
    finally:
        site.stop()


@pytest.fixture(scope="module")
def direct() -> Iterator[str]:
    with reference() as url:
        yield url


@pytest.fixture(scope="module")
def behind(direct: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(tmp_path_factory.mktemp("gateway"), url=direct) as url:
        yield url


@pytest.mark.parametrize("revision", LEGS)
def test_the_gateway_is_transparent(
    direct: str, behind: str, revision: str, tmp_path: Path
) -> None:
    alone = suite.run(direct, revision, tmp_path / "direct")
    assert alone.trouble() == {}, alone.output
    assert (len(alone.scenarios), alone.checks) == LEGS[revision]
    guarded = suite.run(behind, revision, tmp_path / "gateway")
    assert guarded.trouble() == {}, guarded.output
    assert guarded.scenarios == alone.scenarios
