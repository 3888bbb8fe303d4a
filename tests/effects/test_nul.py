"""NUL is a character of JSON and none of PostgreSQL's texts: who sends one, agent or reviewer,
gets an answer, the same on every database, and nothing of the record breaks.
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.effects.conftest import Grounds
from tests.support.killable_gateways import Gateway, Ground, decision_of

KEYED = {"effect": "pay:{args.key}"}
TOOLS: dict[str, Any] = {
    "free": KEYED,
    "limited": {},
    "held": {"require_approval": {"reason": "Look."}, **KEYED},
    "denied": {"action": "deny"},
}
NUL = "\x00"
ABOUT_CLIENT = "io.modelcontextprotocol/clientInfo"


def test_a_key_that_holds_nul_is_done_once_and_another_key_of_nuls_is_another(
    grounds: Grounds,
) -> None:
    with grounds(TOOLS) as ground, ground.gateway() as gateway:
        agent = ground.agents[0]
        for key in (f"a{NUL}", f"a{NUL}{NUL}"):
            status, first = gateway.call(agent, "free", key=key)
            assert (status, decision_of(first)) == (200, {}), first
            status, second = gateway.call(agent, "free", key=key)
            assert decision_of(second)["status"] == "effect_done"
        status, held = gateway.call(agent, "held", key=f"b{NUL}")
        assert (status, decision_of(held)["status"]) == (200, "pending")
        found = gateway.shown(decision_of(held)["approval_id"])
        assert found["effect"].startswith("pay:{args.key}#")
        assert [key for _, key in ground.witness.ran()] == [f"a{NUL}", f"a{NUL}{NUL}"]
        ground.assert_intact()


def _message(ground: Ground, gateway: Gateway, method: str, **params: Any) -> tuple[int, Any]:
    document = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return gateway.ask("POST", "/mcp/w", ground.agents[0], document)


def test_every_text_of_an_agent_may_hold_nul(grounds: Grounds) -> None:
    with grounds(TOOLS) as ground, ground.gateway() as gateway:
        about = {ABOUT_CLIENT: {"name": f"n{NUL}", "version": f"1{NUL}"}}
        name = f"fr{NUL}ee"
        arguments = {"key": f"k{NUL}"}
        asked: list[tuple[str, dict[str, Any]]] = [
            ("tools/call", {"name": "limited", "arguments": arguments}),
            ("tools/call", {"name": "denied", "arguments": arguments}),
            ("tools/call", {"name": name, "arguments": arguments}),
            ("tools/call", {"name": "held", "arguments": {NUL: NUL, **arguments}}),
            ("tools/call", {"name": "held", "arguments": {"key": "q"}, "_meta": about}),
            ("tools/call", {"name": "held", "arguments": {"key": "r"}, "_meta": {"x/y": NUL}}),
            (
                "tools/call",
                {"name": "held", "arguments": {"key": "s"}, "_meta": {"progressToken": NUL}},
            ),
            ("tools/call", {"name": "held", "arguments": {"key": "s"}, "requestState": NUL}),
            ("tools/call", {"name": "signoff_await_approval", "arguments": {"approval_id": NUL}}),
            ("tools/list", {"cursor": NUL}),
            ("tasks/get", {"taskId": f"apr_{NUL}"}),
            ("tasks/cancel", {"taskId": f"apr_{NUL}"}),
            ("tasks/result", {"taskId": f"apr_{NUL}"}),
            ("tasks/list", {"cursor": NUL}),
            ("resources/read", {"uri": f"file:///{NUL}"}),
            ("prompts/get", {"name": NUL}),
            ("initialize", {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": f"n{NUL}", "version": NUL},
            }),
            (NUL, {}),
        ]  # fmt: skip
        for method, params in asked:
            status, answer = _message(ground, gateway, method, **params)
            assert status < 500, (method, params, answer)
            assert answer["jsonrpc"] == "2.0", (method, params, answer)
        ground.assert_intact()
        assert "post_failed" not in ground.site.log()
        assert "Traceback" not in ground.site.log()


def test_an_agent_whose_name_holds_nul_has_its_calls_held(grounds: Grounds) -> None:
    with grounds(TOOLS) as ground, ground.gateway() as gateway:
        document = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": f"n{NUL}", "version": f"1{NUL}"},
            },
        }
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        headers = {
            "Authorization": f"Bearer {ground.agents[0]}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        connection.request("POST", "/mcp/w", json.dumps(document), headers)
        answer = connection.getresponse()
        answer.read()
        session = answer.headers["mcp-session-id"]
        params = {"name": "held", "arguments": {"key": "z"}}
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
        sent = {**headers, "mcp-session-id": session, "mcp-protocol-version": "2025-06-18"}
        connection.request("POST", "/mcp/w", json.dumps(call), sent)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        assert [row["client"] for row in gateway.pending()] != []
        connection.close()
        assert "Traceback" not in ground.site.log()


@pytest.mark.parametrize("field", ["reason", "view_digest"])
@pytest.mark.parametrize("text", [NUL, "\ud800"])
def test_a_programs_decision_with_a_text_that_is_none_is_refused(
    grounds: Grounds, field: str, text: str
) -> None:
    with grounds(TOOLS) as ground, ground.gateway() as gateway:
        held = decision_of(gateway.call(ground.agents[0], "held", key="c")[1])["approval_id"]
        press = {"revision": 1, "reason": "No.", field: f"x{text}"}
        token = ground.reviewer
        status, said = gateway.ask("POST", f"/api/v1/approvals/{held}/deny", token, press)
        assert (status, said["code"]) == (422, "invalid_request")
        for path in (
            f"/api/v1/approvals/{quote(held + NUL)}",
            "/api/v1/history?text=%00",
            "/api/v1/history?grant=%00&event=%00",
            "/api/v1/pending?cursor=%00",
            "/api/v1/effects?cursor=%00",
        ):
            status, said = gateway.ask("GET", path, token)
            assert 400 <= status < 500, (path, said)
        assert "Traceback" not in ground.site.log()
