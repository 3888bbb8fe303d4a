"""A command-started server in the shape of Streamable HTTP: what passes, and to whom."""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.relay.upstreams.stdio import Limits, StdioUpstream
from gateway.relay.upstreams.upstream import Answer, Request
from tests.support.patience import PATIENCE

CHILDREN = Path(__file__).parent / "children"
MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {}},
    "clientInfo": {"name": "t", "version": "1"},
}


@asynccontextmanager
async def child(
    script: str = "raw.py", *args: str, shared: bool = False, limits: Limits | None = None
) -> AsyncIterator[StdioUpstream]:
    up = StdioUpstream(
        "it",
        sys.executable,
        [str(CHILDREN / script), *args],
        {"SIGNOFF_T": "configured"},
        shared=shared,
        limits=limits,
    )
    try:
        with anyio.fail_after(PATIENCE):
            yield up
    finally:
        with anyio.fail_after(PATIENCE):
            await up.aclose()


def post(
    method: str,
    params: dict[str, Any] | None = None,
    *,
    identifier: str | int | None = 1,
    session: str = "",
    grant: str = "g",
    protocol: str = "2025-11-25",
) -> Request:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if protocol == MODERN:
        params = {**(params or {}), "_meta": {**META, **(params or {}).get("_meta", {})}}
    if identifier is not None:
        message["id"] = identifier
    if params is not None:
        message["params"] = params
    body = json.dumps(message).encode()
    return Request(method="POST", body=body, grant=grant, protocol=protocol, session=session)


def raw(method: str, body: dict[str, Any] | None, session: str, grant: str = "g") -> Request:
    data = json.dumps(body).encode() if body else b""
    return Request(method=method, body=data, grant=grant, protocol="2025-11-25", session=session)


async def text(answer: Answer) -> bytes:
    return b"".join([chunk async for chunk in answer.body()])


async def decoded(answer: Answer) -> Any:
    assert answer.content_type == "application/json"
    return json.loads(await text(answer))


def events(stream: bytes) -> list[Any]:
    return [json.loads(data) for data in re.findall(rb"^data: (.*)$", stream, re.MULTILINE)]


async def result(up: StdioUpstream, request: Request) -> Any:
    answer = await up.send(request)
    if answer.content_type == "application/json":
        return (await decoded(answer))["result"]
    (last,) = events(await text(answer))  # it took long enough to become a stream
    return last["result"]


async def session(up: StdioUpstream, grant: str = "g") -> str:
    answer = await up.send(post("initialize", HELLO, grant=grant, protocol=""))
    assert (answer.status, answer.content_type) == (200, "application/json")
    opened = post("notifications/initialized", identifier=None, session=answer.session, grant=grant)
    assert (await up.send(opened)).status == 202
    return answer.session


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "-b", "trunk", str(tmp_path)], check=True)
    return tmp_path


async def test_a_real_server_serves_both_eras(repository: Path) -> None:
    git = str(Path(sys.executable).parent / "mcp-server-git")
    up = StdioUpstream("git", git, ["--repository", str(repository)])
    call = {"name": "git_status", "arguments": {"repo_path": str(repository)}}
    with anyio.fail_after(PATIENCE):
        try:
            legacy = await session(up)
            discovered = await result(up, post("server/discover", protocol=MODERN))
            assert discovered["supportedVersions"] == [MODERN]
            for protocol, id_ in (("2025-11-25", legacy), (MODERN, "")):
                tools = await result(up, post("tools/list", session=id_, protocol=protocol))
                assert "git_status" in {tool["name"] for tool in tools["tools"]}
                done = await result(up, post("tools/call", call, session=id_, protocol=protocol))
                assert "On branch trunk" in done["content"][0]["text"]
        finally:
            await up.aclose()


async def test_progress_comes_as_a_stream_under_the_clients_own_token() -> None:
    async with child("sdk.py") as up:
        opened = await session(up)
        steps = {"name": "steps", "arguments": {"count": 2}, "_meta": {"progressToken": "tok"}}
        answer = await up.send(post("tools/call", steps, identifier="a", session=opened))
        assert answer.content_type == "text/event-stream"
        one, two, done = events(await text(answer))
        assert [one["params"]["message"], two["params"]["message"]] == ["step 1", "step 2"]
        assert one["params"]["progressToken"] == two["params"]["progressToken"] == "tok"
        assert (done["id"], done["result"]["structuredContent"]) == ("a", {"result": "done"})


async def test_a_question_of_the_server_is_answered_through_the_session() -> None:
    async with child("sdk.py") as up:
        opened = await session(up)
        confirm = {"name": "confirm", "arguments": {}}
        answer = await up.send(post("tools/call", confirm, session=opened))
        stream = answer.body()
        (question,) = events(await anext(stream))
        assert question["method"] == "elicitation/create"
        accept = {"action": "accept", "content": {"yes": True}}
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": accept}
        assert (await up.send(raw("POST", reply, opened, grant="other"))).status == 404
        assert (await up.send(raw("POST", reply, opened))).status == 202
        (done,) = events(await anext(stream))
        assert done["result"]["structuredContent"] == {"result": "accept"}


async def test_modern_steps_carry_progress_of_their_own_grant_only() -> None:
    async with child(shared=True) as up:
        answers = {}

        async def one(grant: str) -> None:
            params = {"progress": 3, "_meta": {"progressToken": 7}}
            request = post("echo", params, identifier=grant, grant=grant, protocol=MODERN)
            answers[grant] = events(await text(await up.send(request)))

        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(one, f"g{number}")
        for grant, (*progress, done) in answers.items():
            assert [each["params"] for each in progress] == [
                {"progressToken": 7, "progress": number, "extra": None} for number in range(3)
            ]
            assert done["id"] == grant
        assert len({done["result"]["pid"] for *_, done in answers.values()}) == 1


async def test_nothing_of_a_message_is_lost() -> None:
    async with child() as up:
        params = {"unknown": {"n": None, "big": 2**70}, "_meta": {"traceparent": "x"}}
        got = await result(up, post("echo", params, identifier="id-1", protocol=MODERN))
        assert got["got"]["params"] == {**params, "_meta": {**META, "traceparent": "x"}}
        assert got["got"]["id"] == 1
        answer = await up.send(post("nonsense", identifier="id-2", protocol=MODERN))
        assert await decoded(answer) == {
            "jsonrpc": "2.0",
            "id": "id-2",
            "result": {"unknown": {"deep": [None, 2**70, -0.0, "\ud800"]}, "nul": None},
            "surprise": [1],
        }


async def test_modern_errors_have_the_status_of_their_code() -> None:
    async with child() as up:
        answer = await up.send(post("unknown", identifier="x", protocol=MODERN))
        assert answer.status == 404
        error = {"code": -32601, "message": "Method not found", "data": {"x": 1}}
        assert await decoded(answer) == {"jsonrpc": "2.0", "id": "x", "error": error}
        opened = await session(up)
        assert (await up.send(post("unknown", session=opened))).status == 200


async def test_each_session_and_each_grant_has_a_process_of_its_own() -> None:
    async with child() as up:
        one, two = await session(up), await session(up)
        pids = [(await result(up, post("echo", session=each)))["pid"] for each in (one, two)]
        for grant in ("g", "h", "g"):
            got = await result(up, post("echo", grant=grant, protocol=MODERN))
            pids.append(got["pid"])
        assert len(set(pids)) == 4
        assert pids[2] == pids[4]
    assert not any(alive(pid) for pid in pids)


async def test_a_shared_process_is_opened_once_for_all_sessions() -> None:
    async with child(shared=True) as up:
        one, two = await session(up), await session(up, "other")
        assert one != two
        got = [
            await result(up, post("echo", session=one)),
            await result(up, post("echo", session=two, grant="other")),
        ]
        assert got[0]["pid"] == got[1]["pid"]
        heard = [each if isinstance(each, str) else each["method"] for each in got[1]["seen"]]
        assert heard == ["initialize", "notifications/initialized", "echo", "echo"]


async def test_a_session_belongs_to_its_grant() -> None:
    async with child() as up:
        opened = await session(up)
        assert re.fullmatch(r"[!-~]{22,}", opened)
        assert (await up.send(post("echo", session=opened, grant="other"))).status == 404
        assert (await up.send(post("echo", session="invented"))).status == 404
        assert (await up.send(post("echo"))).status == 400
        assert (await up.send(raw("GET", None, opened, grant="other"))).status == 404
        assert (await up.send(raw("DELETE", None, opened, grant="other"))).status == 404
        assert (await up.send(raw("DELETE", None, opened))).status == 200
        assert (await up.send(post("echo", session=opened))).status == 404


async def test_the_modern_era_has_neither_get_nor_delete() -> None:
    async with child() as up:
        for method in ("GET", "DELETE", "PUT"):
            request = Request(method=method, body=b"", grant="g", protocol=MODERN)
            assert (await up.send(request)).status == 405


async def test_an_opening_that_is_refused_makes_no_session() -> None:
    async with child() as up:
        answer = await up.send(post("initialize", {"refuse": True}, identifier="i", protocol=""))
        error = {"code": -32602, "message": "no"}
        assert await decoded(answer) == {"jsonrpc": "2.0", "id": "i", "error": error}
        assert answer.session == ""


async def test_what_belongs_to_no_request_goes_to_the_get_stream() -> None:
    async with child() as up:
        opened = await session(up)
        get = await up.send(raw("GET", None, opened))
        assert (get.status, get.content_type) == (200, "text/event-stream")
        assert (await up.send(raw("GET", None, opened))).status == 409
        say = ["notifications/tools/list_changed", "notifications/message"]
        answer = await up.send(post("echo", {"say": say}, session=opened))
        log, done = events(await text(answer))
        assert (log["method"], done["id"]) == ("notifications/message", 1)
        stream = get.body()
        (changed,) = events(await anext(stream))
        assert changed["method"] == "notifications/tools/list_changed"
        await up.send(raw("DELETE", None, opened))
        assert [chunk async for chunk in stream] == []


async def test_a_subscription_hears_changes_under_its_own_id() -> None:
    async with child() as up:
        answer = await up.send(post("subscriptions/listen", identifier="sub", protocol=MODERN))
        stream = answer.body()
        acknowledged = events(await anext(stream))[0]
        changed = events(await anext(stream))[0]
        key = "io.modelcontextprotocol/subscriptionId"
        assert acknowledged["params"]["_meta"][key] == changed["params"]["_meta"][key] == "sub"
        await answer.aclose()
        seen = (await result(up, post("echo", protocol=MODERN)))["seen"]
        cancelled = [each for each in seen if isinstance(each, dict)]
        assert [each["method"] for each in cancelled] == ["notifications/cancelled"]
        assert cancelled[0]["params"]["requestId"] == 1


@pytest.mark.parametrize(("protocol", "cancels"), [(MODERN, 1), ("2025-11-25", 0)])
async def test_closing_early_cancels_in_the_modern_era_only(protocol: str, cancels: int) -> None:
    async with child(limits=Limits(silence=0.05)) as up:
        opened = await session(up)
        answer = await up.send(post("never", session=opened, protocol=protocol))
        assert await anext(answer.body()) == b": ping\n\n"
        await answer.aclose()
        seen = (await result(up, post("echo", session=opened, protocol=protocol)))["seen"]
        sent = [each["method"] for each in seen if isinstance(each, dict)]
        assert sent.count("notifications/cancelled") == cancels


async def test_a_caller_who_goes_before_the_headers_cancels_too() -> None:
    async with child() as up:
        async with anyio.create_task_group() as group:
            group.start_soon(up.send, post("never", protocol=MODERN))
            while "never" not in (await result(up, post("echo", protocol=MODERN)))["seen"]:
                pass
            group.cancel_scope.cancel()
        seen = (await result(up, post("echo", protocol=MODERN)))["seen"]
        assert [each["method"] for each in seen if isinstance(each, dict)] == [
            "notifications/cancelled"
        ]


async def test_only_ones_own_request_can_be_cancelled() -> None:
    async with child(shared=True, limits=Limits(silence=0.05)) as up:
        one, two = await session(up, "a"), await session(up, "b")
        held = await up.send(post("never", identifier=9, session=one, grant="a"))
        for opened, grant in ((two, "b"), (one, "a")):
            cancel = post(
                "notifications/cancelled",
                {"requestId": 9},
                identifier=None,
                session=opened,
                grant=grant,
            )
            assert (await up.send(cancel)).status == 202
        seen = (await result(up, post("echo", session=one, grant="a")))["seen"]
        cancels = [
            each["params"]["requestId"]
            for each in seen
            if isinstance(each, dict) and each["method"] == "notifications/cancelled"
        ]
        assert cancels == [2]  # the process's own id: 1 was the opening
        await held.aclose()


async def test_a_ping_is_answered_when_nobody_listens() -> None:
    async with child(limits=Limits(silence=0.05)) as up:
        opened = await session(up)
        first = await up.send(post("never", session=opened))
        await first.aclose()  # abandoned: two in flight, none of them sure to be meant
        answered = await result(up, post("ask", {"what": "ping"}, session=opened))
        assert answered == {"answered": {"jsonrpc": "2.0", "id": "q-1", "result": {}}}


async def test_the_modern_era_refuses_questions_of_the_server() -> None:
    async with child() as up:
        answered = await result(up, post("ask", protocol=MODERN))
        assert answered["answered"]["error"]["code"] == -32601


async def test_a_question_is_answered_only_by_the_session_that_was_asked() -> None:
    async with child(shared=True) as up:
        one, two = await session(up, "a"), await session(up, "b")
        answer = await up.send(post("ask", session=one, grant="a"))
        stream = answer.body()
        (question,) = events(await anext(stream))
        for opened, grant, says in ((two, "b", "forged"), (one, "a", "mine")):
            reply = {"jsonrpc": "2.0", "id": question["id"], "result": says}
            assert (await up.send(raw("POST", reply, opened, grant))).status == 202
        (done,) = events(await anext(stream))
        assert done["result"]["answered"]["result"] == "mine"
