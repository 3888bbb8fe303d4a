"""Servers that hang, die, babble or never end: one send each, a true word to the agent, no one else
waits, and the gateway stays as it was.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.hostile.faulty import TOOLS, Faulty, faulty_server
from tests.support.live_gateway import DEPLOYED, Site, eventually, free_port, witness
from tests.support.patience import PATIENCE
from tests.support.reviewer_desk import Desk, at_work

pytestmark = pytest.mark.xdist_group("faulty")
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
UNKNOWN = "Outcome unknown: the server did not answer. It was not sent again."
UNKNOWN_TOOLS = ("hangs", "half", "resets", "empty", "long_head", "not_json", "wrong_id")


@dataclass(frozen=True)
class Ground:
    """A gateway in front of a faulty server and a good one."""

    site: Site
    faulty: Faulty
    desk: Desk
    token: str

    def call(
        self, tool: str, *, modern: bool = True, server: str = "f", key: str = "k"
    ) -> dict[str, Any]:
        """The JSON-RPC answer to one tools/call."""
        with httpx2.stream(**self.request(tool, modern=modern, server=server, key=key)) as answer:
            answer.read()
            found: dict[str, Any] = answer.json()
            return found

    def request(
        self, tool: str, *, modern: bool = True, server: str = "f", key: str = "k"
    ) -> dict[str, Any]:
        params: dict[str, Any] = {"name": tool, "arguments": {"key": key}}
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if modern:
            params["_meta"] = META
            headers |= {
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": "tools/call",
                "Mcp-Name": tool,
            }
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        url = f"{self.site.url}/mcp/{server}"
        return {"method": "POST", "url": url, "json": body, "headers": headers, "timeout": PATIENCE}

    def memory(self) -> int:
        """MB the gateway holds now."""
        assert self.site.process is not None
        status = Path(f"/proc/{self.site.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) // 1024

    def others_are_served(self) -> None:
        answer = self.call("free", server="w")
        assert answer["result"]["content"][0]["text"] == "free k"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("faulty")
    with witness(folder) as good, faulty_server() as faulty:
        site = Site(folder, {**DEPLOYED, "SIGNOFF_HOLD": "0", "SIGNOFF_SERVER_TIMEOUT": "3"})
        held = {"conditions": [{"path": "args.key", "op": "eq", "value": "held"}]}
        site.policy(tools={**{tool: {"approve_if": [held]} for tool in TOOLS}, "free": {}})
        site.servers(
            f={"url": faulty.url, "protocol": "modern"},
            old={"url": faulty.url, "protocol": "legacy"},
            w={"url": good.url},
            down={"url": f"http://127.0.0.1:{free_port()}/mcp"},
        )
        with at_work(site) as desk:
            yield Ground(site, faulty, desk, site.grant("agent"))


def text(answer: dict[str, Any]) -> str:
    return str(answer["result"]["content"][0]["text"])


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("tool", UNKNOWN_TOOLS)
def test_a_call_without_a_usable_answer_is_unknown_and_sent_once(
    ground: Ground, tool: str, *, modern: bool
) -> None:
    before = ground.faulty.sent[tool]
    answer = ground.call(tool, modern=modern, server="f" if modern else "old")
    assert answer["result"]["isError"]
    assert text(answer) == UNKNOWN
    assert ground.faulty.sent[tool] == before + 1
    told = ["allowed", "outcome_unknown"]
    eventually(lambda: ground.desk.events(tool=tool)[-2:] == told)


@pytest.mark.parametrize("tool", UNKNOWN_TOOLS)
def test_an_approved_call_without_a_usable_answer_is_unknown_for_good(
    ground: Ground, tool: str
) -> None:
    before = ground.faulty.sent[tool]
    held = ground.call(tool, key="held")
    approval = held["result"]["_meta"]["dev.signoff/decision"]["approval_id"]
    ground.desk.approve(approval)
    assert text(ground.call(tool, key="held")) == UNKNOWN
    assert ground.faulty.sent[tool] == before + 1
    assert ground.desk.approval(approval)["execution"] == "outcome_unknown"


@pytest.mark.parametrize("tool", ["redirects", "unavailable"])
def test_a_page_that_is_no_answer_reaches_no_agent(ground: Ground, tool: str) -> None:
    answer = ground.call(tool)
    assert answer["error"]["code"] == -32603
    assert "maintenance" not in json.dumps(answer)
    assert ground.faulty.sent[tool] == 1
    assert not ground.faulty.sent["planted"]


def test_a_server_that_is_down_was_sent_nothing(ground: Ground) -> None:
    answer = ground.call("fine", server="down")
    assert answer["result"]["isError"]
    assert "Nothing was sent" in text(answer)


def test_a_server_whose_list_hangs_is_sent_no_call_and_keeps_nobody_waiting(
    ground: Ground,
) -> None:
    ground.faulty.lists = False
    before = sum(ground.faulty.sent.values())
    ground.site.servers(
        **json.loads((ground.site.folder / "servers.json").read_text("utf-8"))["mcpServers"]
    )
    try:
        ground.site.stop()
        ground.site.start()
        with ExitStack() as stack:
            stack.enter_context(_begun(ground, "fine"))
            ground.others_are_served()
        assert text(ground.call("fine")).startswith("Not executed: the server did not list")
    finally:
        ground.faulty.lists = True
    assert sum(ground.faulty.sent.values()) == before
    assert text(ground.call("fine")) == "fine"


def _begun(ground: Ground, tool: str, *, modern: bool = True) -> socket.socket:
    """A connection on which a call was sent and whose answer no one reads."""
    asked = ground.request(tool, modern=modern, server="f" if modern else "old")
    body = json.dumps(asked["json"]).encode()
    fields = {"Host": f"127.0.0.1:{ground.site.port}", "Content-Length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in {**asked["headers"], **fields}.items()]
    path = asked["url"].partition(str(ground.site.port))[2]
    head = "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode()
    connection = socket.create_connection(("127.0.0.1", ground.site.port), 10)
    connection.sendall(head + body)
    return connection


@pytest.mark.parametrize("modern", [pytest.param(False, marks=pytest.mark.slow), True])
def test_an_endless_stream_ends_when_its_agent_leaves(ground: Ground, *, modern: bool) -> None:
    before, memory = ground.faulty.ended["endless"], ground.memory()
    with _begun(ground, "endless", modern=modern) as connection:
        seen = 0
        while seen < 5_000_000:
            part = connection.recv(1 << 16)
            assert part
            seen += len(part)
        ground.others_are_served()
    eventually(lambda: ground.faulty.ended["endless"] > before)
    assert ground.memory() - memory < 60


def test_an_endless_stream_that_nobody_reads_is_not_kept_in_memory(ground: Ground) -> None:
    memory = ground.memory()
    with _begun(ground, "endless") as connection:
        for _ in range(100):
            ground.others_are_served()
        assert ground.memory() - memory < 60
        connection.close()


def test_an_approved_call_whose_answer_never_ends_is_given_up(ground: Ground) -> None:
    held = ground.call("endless", key="held")
    ground.desk.approve(held["result"]["_meta"]["dev.signoff/decision"]["approval_id"])
    with _begun(ground, "endless"):
        ground.others_are_served()


def test_a_stop_ends_whatever_the_servers_do(ground: Ground) -> None:
    with ExitStack() as stack:
        for tool in ("endless", "trickles", "hangs"):
            for modern in (False, True):
                stack.enter_context(_begun(ground, tool, modern=modern))
        ground.others_are_served()
        for _ in range(50):
            stack.enter_context(socket.create_connection(("127.0.0.1", ground.site.port), PATIENCE))
        assert ground.site.stop() == 0
    ground.site.start()
    assert "Traceback" not in ground.site.log()
