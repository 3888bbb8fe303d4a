"""A server that waits: agents are told so, and an administrator sees what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from approvals.reviewers import People
from tests.end_to_end.conftest import Scene
from tests.end_to_end.test_confirming import CLIENT, RULES, Admin
from tests.support.live_gateway import Site, eventually, witness
from tests.support.page_key import PageKey, sign_in
from tests.support.patience import PATIENCE
from tests.support.reviewer_desk import at_work

pytestmark = pytest.mark.xdist_group("confirming")
TOLD = "must first confirm how this server is started or reached. Nothing was sent."
HELLO: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}


@pytest.fixture
def waiting(tmp_path: Path, key: str) -> Iterator[Scene]:
    """A gateway whose server was used once, and has another header since."""
    with witness(tmp_path) as server:
        site = Site(tmp_path, {"SIGNOFF_HOLD": "1"})
        site.policy(**RULES)
        entry = {"url": server.url, "headers": {"X-Mode": "one", "X-Token": "a" * 24}}
        site.servers(witness=entry)
        with at_work(site) as desk:
            scene = Scene(site, server, desk)
            with scene.agent(CLIENT) as agent:
                assert not agent.call("free", key=f"first {key}").refused
            site.stop()
            entry["headers"] = {"X-Mode": "two", "X-Token": "b" * 24}
            site.servers(witness=entry)
            site.start()
            yield scene


def ask(site: Site, path: str, method: str, session: str = "", **params: Any) -> httpx2.Response:
    """One request of 2025-06-18."""
    headers = {
        "Authorization": f"Bearer {site.grant('raw')}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-06-18",
        **({"Mcp-Session-Id": session} if session else {}),
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return httpx2.post(site.url + path, json=message, headers=headers, timeout=PATIENCE)


def call(site: Site, path: str, tool: str, key: str, session: str = "") -> str:
    answer = ask(site, path, "tools/call", session, name=tool, arguments={"key": key}).json()
    return str(answer["result"]["content"][0]["text"])


def test_an_agent_is_told_that_its_server_waits_for_an_administrator(
    waiting: Scene, key: str
) -> None:
    site, before = waiting.site, waiting.witness.methods()
    opened = ask(site, "/mcp/witness", "initialize", **HELLO)
    assert opened.json()["error"]["message"].endswith(TOLD)
    assert ask(site, "/mcp/witness", "tools/list").json()["error"]["message"].endswith(TOLD)
    assert call(site, "/mcp/witness", "free", key).endswith(TOLD)
    assert call(site, "/mcp/witness", "free", key).startswith("Not executed: ")
    assert waiting.ran(key) == 0
    assert waiting.witness.methods() == before


def test_an_agent_of_all_servers_is_told_which_waits(waiting: Scene, key: str) -> None:
    site, token = waiting.site, waiting.site.grant("all")
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-06-18",
    }
    with httpx2.Client(base_url=site.url, headers=headers, timeout=PATIENCE) as http:
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
        opened = http.post("/mcp", json=hello)
        said = opened.json()["result"]["instructions"]
        assert said.startswith("## witness\n")
        assert said.endswith(TOLD)
        listed = http.post(
            "/mcp",
            json={"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
            headers={"Mcp-Session-Id": opened.headers["mcp-session-id"]},
        ).json()["result"]["tools"]
        [name] = [one["name"] for one in listed if one["name"].endswith("free")]
        params = {"name": name, "arguments": {"key": key}}
        refused = http.post(
            "/mcp",
            json={"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params},
            headers={"Mcp-Session-Id": opened.headers["mcp-session-id"]},
        ).json()["result"]
        assert refused["isError"] is True
        assert refused["content"][0]["text"].endswith(TOLD)
    assert waiting.ran(key) == 0


def test_an_administrator_sees_what_changed_and_that_it_is_confirmed(waiting: Scene) -> None:
    with ExitStack() as stack:
        admin = stack.enter_context(Admin(waiting.site))
        shown = admin.page("/servers/confirm?server=witness")
        assert "header X-Mode, confirmed" in shown
        assert "<del>one</del>" in shown
        assert "X-Mode=two" in shown
        assert "b" * 24 not in shown
        assert "another one (hidden, 24 characters)" in shown
        pressed = admin.press("/servers/confirm", shown, "csrf", "server", "revision")
        assert pressed.status_code == 303
        landed = pressed.headers["location"].partition("#")[0]
        assert "Confirmed: witness" in admin.page(landed)
        assert "Confirmed: " not in admin.page("/agents?confirmed=nobody")


def test_whoever_is_no_administrator_sees_no_values(waiting: Scene) -> None:
    site = waiting.site

    async def invite(people: People) -> str:
        await people.add("vera", role="viewer")
        return await people.invite("vera", url=site.url)

    with site.record() as database:
        link = asyncio.run(invite(People(database, database.clock)))
    auth, origin = PageKey(), {"Origin": site.url}
    with httpx2.Client(base_url=site.url, headers=origin, timeout=PATIENCE, auth=auth) as http:
        assert sign_in(http, link, site.url).status_code == 200
        for path in ("/servers/confirm?server=witness", "/"):
            page = http.get(path).text
            assert "X-Mode" not in page
        assert "Only an administrator confirms." in http.get("/servers/confirm").text


def test_the_terminal_of_a_start_says_what_changed(waiting: Scene) -> None:
    lines = waiting.site.said
    eventually(lambda: any("signoff server confirm witness" in line for line in lines))
    said = "".join(lines)
    assert "Waits     server witness: " in said
    assert "header X-Mode: was one; is two" in said
    assert "a" * 24 not in said
