"""A gateway in front of one remembering server, and hosts that only start commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.support.live_gateway import SIGNOFF, Site, Witness, witness
from tests.support.patience import PATIENCE
from tests.support.reference_gateway import reference
from tests.support.reviewer_desk import Desk, at_work

Mode = Literal["legacy", "auto"]

MODES: tuple[Mode, ...] = ("legacy", "auto")
BRIEF: dict[str, Any] = {
    "conditions": [{"path": "args.kind", "op": "eq", "value": "brief"}],
    "hold": "1s",
}
TOOLS: dict[str, Any] = {
    "denied": {"action": "deny", "reason": "Not for agents."},
    "held": {"require_approval": True, "approve_if": [BRIEF]},
}


@dataclass(frozen=True)
class Start:
    """What hosts start, what it guards, and the person who decides."""

    site: Site
    witness: Witness
    desk: Desk

    @asynccontextmanager
    async def host(
        self, mode: Mode, *command: str, environ: dict[str, str] | None = None, **callbacks: Any
    ) -> AsyncIterator[Client]:
        """A real host that starts `signoff COMMAND`."""
        log = self.site.folder / "front.log"
        parameters = StdioServerParameters(
            command=str(SIGNOFF),
            args=list(command),
            env={**self.site.environment(), **(environ or {})},
            cwd=self.site.folder,
        )
        with anyio.fail_after(PATIENCE), log.open("a", encoding="utf-8") as errors:
            async with Client(
                stdio_client(parameters, errlog=errors), mode=mode, **callbacks
            ) as client:
                yield client

    def ran(self, key: str) -> int:
        return [found for _, found in self.witness.ran()].count(key)

    def said(self) -> str:
        """What the commands wrote to stderr."""
        return (self.site.folder / "front.log").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    folder = tmp_path_factory.mktemp("front")
    with witness(folder) as server, reference() as url:
        site = Site(folder, {"SIGNOFF_HOLD": "180", "SIGNOFF_PROGRESS": "0.5"})
        site.policy(default="allow", hide=["secret"], tools=TOOLS)
        site.servers(w={"url": server.url}, reference={"url": url})
        with at_work(site) as desk:
            yield Start(site, server, desk)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found
