"""Who may do what at the door, and what of an agent or a server goes further."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.hostile.door import Door, call, message, modern
from tests.hostile.evil import OWN_CREDENTIAL
from tests.support.live_gateway import eventually

CREDENTIALS = {
    "none": None,
    "empty": "",
    "no scheme": "{token}",
    "another scheme": "Basic {token}",
    "cut": "Bearer {cut}",
    "longer": "Bearer {token}x",
    "another case": "Bearer {upper}",
    "two tokens": "Bearer {token} {token}",
    "a comma list": "Bearer {token}, Bearer {token}",
    "a reviewer's": "Bearer {reviewer}",
    "a hash": "Bearer {hash}",
    "very long": "Bearer {long}",
    "not ASCII": "Bearer {token}é",
}


@pytest.mark.parametrize("case", CREDENTIALS)
def test_only_a_whole_grant_in_the_header_opens_the_door(door: Door, case: str) -> None:
    template = CREDENTIALS[case]
    given = template and template.format(
        token=door.token,
        cut=door.token[:-1],
        upper=door.token.swapcase(),
        reviewer=door.reviewer,
        hash="0" * 64,
        long="a" * 5_000,
    )
    before = door.caused()
    assert door.send(call(), headers={"authorization": given}).status == 401
    assert door.caused() == before


@pytest.mark.parametrize("name", ["token", "access_token", "authorization", "key"])
def test_a_grant_in_the_address_or_a_cookie_is_none(door: Door, name: str) -> None:
    before = door.caused()
    path = f"/mcp/w?{name}={door.token}"
    headers = {"authorization": None, "cookie": f"{name}={door.token}"}
    assert door.send(call(), path=path, headers=headers).status == 401
    assert door.caused() == before


TWICE = ["authorization", "host", "content-type", "mcp-session-id", "origin"]


@pytest.mark.parametrize("name", TWICE)
def test_a_header_that_must_be_alone_is_refused_when_doubled(door: Door, name: str) -> None:
    usual = {
        "authorization": f"Bearer {door.other}",
        "host": door.host,
        "content-type": "text/plain",
        "mcp-session-id": "x",
        "origin": f"http://{door.host}",
    }
    before = door.caused()
    answer = door.send(call(), extra=[(name, usual[name]), (name.title(), usual[name])])
    assert answer.status == 400
    assert door.caused() == before


HOSTS = ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "127.0.0.1",
         "127.0.0.1:1", "127.0.0.1:{port}.", "localhost.:{port}", "0.0.0.0:{port}", "",
         "user@127.0.0.1:{port}", "127.1:{port}", "[::1]", "127.0.0.1:{port},evil.example",
         None]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_rebound_name_is_not_answered(door: Door, host: str | None) -> None:
    before = door.caused()
    given = host and host.format(port=door.site.port)
    assert door.send(call(), headers={"host": given}).status == HTTPStatus.MISDIRECTED_REQUEST
    assert door.caused() == before


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_the_gateways_own_names_are_answered(door: Door, host: str) -> None:
    given = host.format(port=door.site.port)
    assert door.send(message("ping"), headers={"host": given}).status == 200


ORIGINS = ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "",
           "https://127.0.0.1:{port}", "http://127.0.0.1:{port}.evil.example", "file://",
           "http://127.0.0.1:{port}/", "http://evil.example:{port}", "*"]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "OPTIONS"])
def test_a_foreign_page_may_not_call(door: Door, origin: str, method: str) -> None:
    before = door.caused()
    headers = {"origin": origin.format(port=door.site.port)}
    answer = door.send(call(), method=method, headers=headers)
    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert door.caused() == before


PATHS = ["/mcp/", "/mcp/W", "/mcp/w/", "/mcp//w", "/mcp/w%2f", "/mcp/%77", "/mcp/w%00",
         "/mcp/x", "/mcp/../mcp/w", "/mcp/w%0a", "/mcp/./w", "/mcp/e/../w", "/mcp/w;x",
         "/MCP/w", "//mcp/w"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_only_the_exact_path_is_a_server(door: Door, path: str) -> None:
    before = door.caused()
    assert door.send(call(), path=path).status in (401, 403, 404, 405)
    assert door.caused() == before


def test_a_grant_for_one_server_does_not_reach_another(door: Door) -> None:
    token = door.site.grant("narrow", servers=("e",))
    before = door.caused()
    headers = {"authorization": f"Bearer {token}"}
    assert door.send(call(), headers=headers).status == 403
    assert door.caused() == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"])
def test_other_http_methods_do_nothing(door: Door, method: str) -> None:
    before = door.caused()
    extra = [("x-http-method-override", "POST")]
    assert door.send(call(), method=method, extra=extra).status == 405
    assert door.caused() == before


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("session", ["made-up", "server-own-session", "", "A" * 5_000, "é"])
def test_a_session_that_was_not_sealed_here_is_gone(door: Door, method: str, session: str) -> None:
    before = door.caused()
    body = call() if method == "POST" else b""
    headers = {"mcp-session-id": session}
    assert door.send(body, method=method, path="/mcp/e", headers=headers).status == 404
    assert door.caused() == before


def _session(door: Door, token: str) -> str:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c"}}
    headers = {"authorization": f"Bearer {token}"}
    answer = door.send(message("initialize", params), path="/mcp/e", headers=headers)
    return answer.headers["mcp-session-id"]


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_session_serves_only_its_own_grant_and_server(door: Door, method: str) -> None:
    session = _session(door, door.token)
    assert "server-own-session" not in session
    headers = {"mcp-session-id": session}
    mine = door.send(message("ping"), path="/mcp/e", headers=headers)
    assert mine.status == 200
    assert door.evil.heard[-1].headers["mcp-session-id"] == "server-own-session"
    before = door.caused()
    body = call() if method == "POST" else b""
    stolen = {**headers, "authorization": f"Bearer {door.other}"}
    assert door.send(body, method=method, path="/mcp/e", headers=stolen).status == 404
    assert door.send(body, method=method, path="/mcp/w", headers=headers).status == 404
    assert door.caused() == before


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_stream_carries_no_version_that_is_none(door: Door, method: str) -> None:
    before = door.caused()
    headers = {"mcp-protocol-version": "2025-06-18, evil"}
    assert door.send(b"", method=method, headers=headers).status == 400
    assert door.caused() == before


def _held(door: Door, key: str, token: str = "") -> str:
    headers = {"authorization": f"Bearer {token or door.token}"}
    answer = door.send(call("held", {"key": key}), headers=headers)
    approval = answer.json["result"]["_meta"]["dev.signoff/decision"]["approval_id"]
    assert isinstance(approval, str)
    return approval


TRICKS = [
    ("POST", "/api/v1/approvals/{id}/approve"),
    ("POST", "/approvals/{id}/decide"),
    ("GET", "/api/v1/approvals/{id}/approve"),
    ("HEAD", "/api/v1/approvals/{id}/approve"),
    ("POST", "/mcp/../api/v1/approvals/{id}/approve"),
    ("POST", "//api/v1/approvals/{id}/approve"),
    ("POST", "/mcp/w/api/v1/approvals/{id}/approve"),
    ("POST", "/api/v1/approvals/{id}%2fapprove"),
    ("PUT", "/api/v1/approvals/{id}/approve"),
    ("POST", "/signin?token={token}"),
]


@pytest.mark.parametrize(("method", "path"), TRICKS)
@pytest.mark.parametrize("who", ["its own", "none", "forged"])
def test_an_agent_cannot_approve(door: Door, method: str, path: str, who: str) -> None:
    approval = _held(door, "tricks")
    headers: dict[str, str | None] = {
        "authorization": None if who == "none" else f"Bearer {door.token}"
    }
    extra = [("x-http-method-override", "POST")]
    if who == "forged":
        extra += [("x-forwarded-user", "alice"), ("x-remote-user", "alice"), ("forwarded", "for=x")]
    answer = door.send(
        json.dumps({"revision": 1}).encode(),
        method=method,
        path=path.format(id=approval, token=door.token),
        headers=headers,
        extra=extra,
    )
    assert answer.status in (303, 401, 403, 404, 405, 422)
    shown = door.review("GET", f"/api/v1/approvals/{approval}")
    assert shown.json["state"] == "pending"


READING = ["/api/v1/history", "/api/v1/pending", "/api/v1/me", "/api/v1/approvals/{id}",
           "/events", "/history", "/approvals/{id}", "/"]  # fmt: skip


@pytest.mark.parametrize("path", READING)
@pytest.mark.parametrize("own", [True, False])
def test_an_agent_reads_nothing_of_the_reviewers(door: Door, path: str, *, own: bool) -> None:
    approval = _held(door, "reading")
    headers = {"authorization": f"Bearer {door.token}" if own else None}
    answer = door.send(method="GET", path=path.format(id=approval), headers=headers)
    assert answer.status in (303, 401, 403)
    assert approval.encode() not in answer.body.replace(path.format(id=approval).encode(), b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_decision_is_a_post(door: Door, method: str) -> None:
    approval = _held(door, "method")
    path = f"/api/v1/approvals/{approval}/approve"
    assert door.review(method, path).status == 405
    assert door.review("GET", f"/api/v1/approvals/{approval}").json["state"] == "pending"


@pytest.mark.parametrize("invented", ["apr_" + "0" * 26, "apr_", "%", "", "1"])
def test_an_invented_approval_is_nobodys(door: Door, invented: str) -> None:
    before = door.caused()
    answer = door.send(call("signoff_await_approval", {"approval_id": invented}))
    assert answer.text == "There is no such approval of this agent."
    assert door.caused() == before


def test_nobody_decides_an_invented_approval(door: Door) -> None:
    invented = "apr_" + "0" * 26
    before = door.caused()
    decided = door.review("POST", f"/api/v1/approvals/{invented}/approve", {"revision": 1})
    assert decided.status == 404
    assert door.caused() == before


def test_an_agent_learns_nothing_of_anothers_approval(door: Door) -> None:
    approval = _held(door, "foreign")
    before = door.caused()
    theirs = {"authorization": f"Bearer {door.other}"}
    polled = door.send(call("signoff_await_approval", {"approval_id": approval}), headers=theirs)
    assert polled.text == "There is no such approval of this agent."
    elsewhere = door.send(
        call("signoff_await_approval", {"approval_id": approval}), path="/mcp/e", headers=theirs
    )
    assert approval.encode() not in elsewhere.body
    again = _held(door, "foreign", token=door.other)
    assert again != approval
    assert len(door.pending()) == before.pending + 1


def test_300_wrong_grants_are_slowed_down_and_lock_nobody_out(door: Door) -> None:
    before = door.caused()
    told = []
    for place in range(300):
        near = door.token[:-3] + f"{place:03}"
        told.append(door.send(call(), headers={"authorization": f"Bearer {near}"}))
    assert {one.status for one in told} <= {401, 429}
    assert [one.status for one in told[-200:]] == [429] * 200
    assert 0 < int(told[-1].headers["retry-after"]) <= 60
    assert door.caused() == before
    assert door.send(call("free", {"key": "still"})).status == 200
    fresh = {"authorization": f"Bearer {door.site.grant('fresh')}"}  # never seen before the flood
    assert door.send(call("free", {"key": "new"}), headers=fresh).status == 200


def test_a_revoked_grant_is_refused_within_seconds(door: Door) -> None:
    token = door.site.grant("brief")
    headers = {"authorization": f"Bearer {token}"}
    assert door.send(message("ping"), headers=headers).status == 200
    door.site.write(lambda tx: tx.connection.exec_driver_sql(
        "UPDATE \"grant\" SET revoked_at = 1 WHERE label = 'brief'"
    ).rowcount)  # fmt: skip
    eventually(lambda: door.send(message("ping"), headers=headers).status in (401, 429))


def test_nothing_of_the_agent_reaches_the_server(door: Door) -> None:
    body, headers = modern("mirror", region="us")
    headers |= {
        "mcp-param-region": "us",
        "cookie": "session=agent-cookie",
        "x-api-key": "agent-key",
        "x-forwarded-for": "203.0.113.9",
        "proxy-authorization": "Basic YWdlbnQ=",
        "user-agent": "agent-program",
        "baggage": "agent=1",
    }
    answer = door.send(body, path="/mcp/e", headers=headers)
    assert answer.status == 200
    assert "set-cookie" not in answer.headers
    heard = door.evil.calls("mirror")[-1]
    assert heard.headers["authorization"] == f"Bearer {OWN_CREDENTIAL}"
    text = json.dumps(heard.headers) + heard.body.decode()
    for secret in (door.token, "agent-cookie", "agent-key", "203.0.113.9", "YWdlbnQ=",
                   "agent-program", "baggage"):  # fmt: skip
        assert secret not in text


def test_redirects_are_not_followed(door: Door) -> None:
    answer = door.send(call("moved"), path="/mcp/e")
    assert answer.status >= 300
    assert "location" not in answer.headers
    assert len(door.evil.calls("moved")) == 1
    assert "/planted" not in [one.path for one in door.evil.heard]


def test_a_servers_own_error_page_does_not_reach_the_agent(door: Door) -> None:
    answer = door.send(call("leak"), path="/mcp/e")
    assert answer.status >= 500
    assert OWN_CREDENTIAL.encode() not in answer.body
    assert answer.code == -32603
    assert len(door.evil.calls("leak")) == 1


def test_a_lost_answer_is_unknown_and_not_asked_for_again(door: Door) -> None:
    answer = door.send(call("lost"), path="/mcp/e")
    assert answer.text.startswith("Outcome unknown")
    assert len(door.evil.calls("lost")) == 1


@pytest.mark.parametrize("tool", ["mumbles", "abyss"])
def test_noise_around_an_approved_answer_neither_loses_it_nor_hangs(door: Door, tool: str) -> None:
    """Nor does an answer that no one can read: it is none, for the agent and for the page."""
    held = door.send(call(tool), path="/mcp/e")
    approval = held.json["result"]["_meta"]["dev.signoff/decision"]["approval_id"]
    assert (
        door.review("POST", f"/api/v1/approvals/{approval}/approve", {"revision": 1}).status == 200
    )
    answer = door.send(call(tool), path="/mcp/e")
    assert answer.status == 200
    assert b"result" in answer.body
    shown = door.review("GET", f"/api/v1/approvals/{approval}").json
    assert shown["execution"] == ("succeeded" if tool == "mumbles" else "outcome_unknown")
    assert (b"too deeply to be read" in answer.body) == (tool == "abyss")
    assert len(door.evil.calls(tool)) == 1


def test_an_allowed_calls_answer_that_nobody_can_read_is_refused(door: Door) -> None:
    answer = door.send(call("chasm"), path="/mcp/e")
    assert answer.text.startswith("Outcome unknown: the server answered, but nested too deeply")
    assert len(door.evil.calls("chasm")) == 1


def test_secrets_are_not_found_at_rest_nor_in_the_log(door: Door) -> None:
    secret = "hunter2-correct-horse"
    door.send(call("held", {"key": "secret", "password": secret}))
    door.review("GET", "/api/v1/pending")
    files = [one for one in door.site.data.iterdir() if one.is_file()]
    stored = b"".join(one.read_bytes() for one in files) + door.site.log().encode()
    assert len(stored) > 4096
    for hidden in (secret, door.token, door.other, door.reviewer, OWN_CREDENTIAL):
        assert hidden.encode() not in stored
    assert {oct(one.stat().st_mode & 0o777) for one in files} == {"0o600"}
    assert b"sgn_" not in Path(f"/proc/{door.pid}/cmdline").read_bytes()
