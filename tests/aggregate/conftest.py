"""One gateway in front of four servers: one that remembers, the reference one over HTTP and as a
command, and one that is not there.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.live_gateway import Site, Witness, free_port, witness
from tests.support.patience import PATIENCE
from tests.support.reference_gateway import BY_PIPE, reference
from tests.support.reviewer_desk import Desk, at_work

Json = dict[str, Any]
Mode = Literal["legacy", "auto"]
MODES: tuple[Mode, ...] = ("legacy", "auto")
BRIEF: dict[str, Any] = {
    "conditions": [{"path": "args.kind", "op": "eq", "value": "brief"}],
    "hold": "1s",
}
LONG = "a" * 50 + "-very-long"


QUICK = ("w", "reference", "down", LONG)
"""All but the one that is started as a command, which takes a second."""


@dataclass(frozen=True)
class House:
    """A running gateway, the server that remembers, and the person who decides."""

    site: Site
    witness: Witness
    desk: Desk

    @asynccontextmanager
    async def client(
        self,
        mode: Mode,
        *,
        token: str = "",
        servers: tuple[str, ...] = QUICK,
        path: str = "/mcp",
        **callbacks: Any,
    ) -> AsyncIterator[Client]:
        """A real client at the URL of all servers, with a new grant or the one of `token`."""
        token = token or self.site.grant("agent", servers)
        headers = {"Authorization": f"Bearer {token}"}
        patience = httpx2.Timeout(30, read=60)
        url = f"{self.site.url}{path}"
        with anyio.fail_after(PATIENCE):
            async with (
                httpx2.AsyncClient(headers=headers, timeout=patience) as http,
                Client(
                    streamable_http_client(url, http_client=http), mode=mode, **callbacks
                ) as client,
            ):
                yield client

    def raw(
        self, token: str, method: str, params: Json, *, capabilities: Json, named: str = ""
    ) -> Json:
        """The result of one request of 2026-07-28 as no SDK makes it."""
        answer = httpx2.post(
            f"{self.site.url}/mcp",
            json=envelope(method, params, capabilities),
            headers=headers(token, method, named),
            timeout=PATIENCE,
        )
        result: Json = answer.json()["result"]
        return result

    def listened(self, token: str, params: Json, *, capabilities: Json, until: str) -> list[Json]:
        """What a subscription is told, up to the message in which a word stands."""
        told: list[Json] = []
        method = "subscriptions/listen"
        with httpx2.stream(
            "POST",
            f"{self.site.url}/mcp",
            json=envelope(method, params, capabilities),
            headers=headers(token, method, ""),
            timeout=PATIENCE,
        ) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    told.append(json.loads(line.removeprefix("data:")))
                    if until in line:
                        break
        return told

    def ran(self, key: str) -> int:
        return [found for _, found in self.witness.ran()].count(key)


def envelope(method: str, params: Json, capabilities: Json) -> Json:
    """One request of 2026-07-28."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    }
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}


def headers(token: str, method: str, named: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        **({"Mcp-Name": named} if named else {}),
    }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("together")
    with witness(folder) as server, reference() as url:
        site = Site(folder, {"SIGNOFF_HOLD": "180", "SIGNOFF_PROGRESS": "0.5"})
        site.policy(
            default="allow",
            hide=["secret", "test_missing_capability"],
            tools={"limited": {}, "denied": {"action": "deny", "reason": "Not for agents."}},
            servers={
                "w": {
                    "tools": {
                        "held": {"require_approval": True, "approve_if": [BRIEF]},
                        "limited": {
                            "limits": [
                                {"counter": "few", "window": "day", "max": 1, "scope": "grant"}
                            ]
                        },
                    }
                }
            },
        )
        site.servers(
            w={"url": server.url},
            reference={"url": url},
            pipe=BY_PIPE,
            down={"url": f"http://127.0.0.1:{free_port()}/mcp"},
            **{LONG: {"url": server.url}},
        )
        with at_work(site) as desk:
            yield House(site, server, desk)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found
