"""A gateway in front of one shifty server, and real clients of both eras on it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation
from sqlalchemy import RowMapping

from approvals import pins
from tests.hostile.shifty import Shifty, shifty
from tests.support.live_gateway import ROOT, Site


@dataclass
class Ground:
    """A gateway in front of one shifty server."""

    site: Site
    server: Shifty
    token: str

    @asynccontextmanager
    async def agent(
        self,
        path: str,
        mode: Literal["legacy", "auto"] = "legacy",
        *,
        name: str = "agent",
        token: str = "",
    ) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(60)) as http,
            Client(
                streamable_http_client(f"{self.site.url}{path}", http_client=http),
                mode=mode,
                client_info=Implementation(name=name, version="1"),
            ) as client,
        ):
            yield client

    def seen_hash(self, tool: str) -> str:
        """What an acceptance of the tool's change names."""
        return next(str(row["seen_hash"]) for row in self._pins() if row["name"] == tool)

    def changed(self) -> list[str]:
        """What waits for a person, because it was seen to change."""
        return [row["name"] for row in self._pins() if row["hash"] != row["seen_hash"]]

    def _pins(self) -> list[RowMapping]:
        with self.site.record() as database:
            return database.read_now(pins.states)


@contextmanager
def ground(
    folder: Path, transport: str, *, environ: dict[str, str] | None = None, **words: Any
) -> Iterator[Ground]:
    """A running gateway whose server says these `words`."""
    site = Site(folder / "site", {"SIGNOFF_LIST_REFRESH": "3600", **(environ or {})})
    site.folder.mkdir()
    site.policy(default="allow")
    with shifty(folder / "says.json", **words) as server:
        if transport == "http":
            site.servers(s={"url": server.url, "protocol": "legacy"})
        else:
            script = str(ROOT / "tests" / "hostile" / "shifty.py")
            args = [script, str(server.file)]
            site.servers(s={"command": sys.executable, "args": args, "protocol": "legacy"})
        site.run("reviewer", "add", "alice", "--role", "admin")
        site.start()
        try:
            yield Ground(site, server, site.grant("agent"))
        finally:
            site.stop()


async def listed(client: Client) -> dict[str, Any]:
    """Every tool but the gateway's own, as the agent gets it."""
    tools = (await client.list_tools()).tools
    found = [tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in tools]
    return {tool["name"]: tool for tool in found if tool["name"] != "signoff_await_approval"}
