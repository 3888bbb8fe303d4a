"""One gateway in front of one remembering server for each module of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.agents import Agent, agent
from tests.support.live_gateway import Site, Witness, witness
from tests.support.reviewer_desk import Desk, Row, at_work

HOLD = 180  # seconds; longer than any wait of a test, so a held call is answered by a decision
POLICY: dict[str, Any] = {
    "hide": ["secret"],
    "approval": {"expires": "10m"},
    "tools": {
        "free": {},
        "limited": {"limits": [{"counter": "few", "window": "day", "max": 1, "scope": "grant"}]},
        "denied": {"action": "deny", "reason": "Not for agents."},
        "slow": {"require_approval": True},
        "held": {
            "require_approval": {"reason": "A person decides."},
            "approve_if": [
                {
                    "conditions": [{"path": "args.kind", "op": "eq", "value": "brief"}],
                    "hold": "1s",
                },
                {
                    "conditions": [{"path": "args.kind", "op": "eq", "value": "fleeting"}],
                    "expires": "1s",
                },
                {
                    "conditions": [{"path": "args.kind", "op": "eq", "value": "long"}],
                    "hold": "90s",
                },
            ],
        },
    },
}
"""`held` waits in place; of a kind it is let go soon, expires soon, or waits over a minute."""


@dataclass(frozen=True)
class Scene:
    """A running gateway, what it guards, and the person who decides."""

    site: Site
    witness: Witness
    desk: Desk

    def ran(self, key: str) -> int:
        """How often a call with this key ran on the server."""
        return [found for _, found in self.witness.ran()].count(key)

    def given_up(self, agent: Agent, tool: str, key: str, **arguments: Any) -> Row:
        """A held call whose client's own time is up, and whose row is open."""
        timeout = 2.0
        while True:  # on a busy machine the call may not have arrived in its client's time
            call = agent.begin(tool, timeout=timeout, key=key, **arguments)
            assert "timed out" in call.answer().error.lower()
            if rows := self.desk.pending(key):
                return self.desk.left(rows[0]["id"])
            timeout *= 2

    @contextmanager
    def agent(self, client: str, *, token: str = "") -> Iterator[Agent]:
        """A client with a grant of its own, or with the one of `token`."""
        grant = token or self.site.grant(client)
        url = f"{self.site.url}/mcp/witness"
        with agent(client, url, grant, log=self.site.folder / f"{client}.log") as connected:
            yield connected


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("gateway")
    with witness(folder) as server:
        # The long kind has to outlive the gateway's own default.
        site = Site(folder, {"SIGNOFF_HOLD": str(HOLD), "SIGNOFF_PROGRESS": "0.5"})
        site.policy(**POLICY)
        site.servers(witness={"url": server.url})
        with at_work(site) as desk:
            yield Scene(site, server, desk)
