"""An agent with a session in front of a server that only knows 2026-07-28, HTTP and pipes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.relay.bridge.bridge import Bridge
from tests.bridge.crossing import (
    ANSWERS,
    BOTH,
    EVERYTHING,
    SAID,
    SECONDS,
    Json,
    Way,
    arriving,
    bridge,
    crossing,
    legacy,
    lines,
    opened,
    sent,
    served,
    until,
    whole,
)
from tests.support.live_gateway import free_port

pytestmark = pytest.mark.anyio


async def talk(
    up: Bridge, session: str, tool: str, key: str = "k", *, given: Json | None = None, **more: Any
) -> list[Json]:
    """One call; the server's questions on its stream are answered from `given` as they come."""
    params = {"name": tool, "arguments": {"key": key}}
    answer = await up.send(legacy("tools/call", params, session=session, **more))
    if answer.content_type == "application/json":
        return [json.loads(b"".join([chunk async for chunk in answer.body()]))]
    seen = []
    async for message in arriving(answer):
        seen.append(message)
        if "method" in message and "id" in message:
            found = (given or ANSWERS)[message["method"]]
            reply = found if "error" in found else {"result": found}
            told = sent({"jsonrpc": "2.0", "id": message["id"], **reply}, session=session)
            assert (await whole(up, told)).status == 202
    await answer.aclose()
    return seen


@BOTH
async def test_the_server_looks_like_one_with_sessions(way: Way, tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "modern", tmp_path) as (up, _):
            params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}}
            seen = await whole(up, legacy("initialize", params, rpc_id="first"))
            assert seen.last["id"] == "first"
            assert seen.result["protocolVersion"] == "2025-06-18"
            assert seen.result["serverInfo"]["name"] == "modern"
            assert seen.result["instructions"] == "Ask."
            assert {"tools", "resources", "logging"} <= seen.result["capabilities"].keys()
            listed = (await whole(up, legacy("tools/list", session=seen.session))).result
            assert "greet" in [tool["name"] for tool in listed["tools"]]
            assert not {"resultType", "ttlMs", "cacheScope"} & listed.keys()
            read = await whole(
                up, legacy("resources/read", {"uri": "memo://today"}, session=seen.session)
            )
            assert read.result["contents"][0]["text"] == "a memo"
            for method, level in (("ping", {}), ("logging/setLevel", {"level": "info"})):
                assert (await whole(up, legacy(method, level, session=seen.session))).result == {}
            unknown = await whole(up, legacy("tasks/list", session=seen.session))
            assert (unknown.status, unknown.last["error"]["code"]) == (200, -32601)


@BOTH
@pytest.mark.parametrize("tool", ["greet", "compose", "whereabouts"])
async def test_a_result_that_asks_for_more_becomes_a_question(
    way: Way, tool: str, tmp_path: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "modern", tmp_path) as (up, file):
            session = await opened(up, EVERYTHING)
            question, done = await talk(up, session, tool, rpc_id=7)
            assert question["method"] in ANSWERS
            assert (done["id"], done["result"]["content"][0]["text"]) == (7, SAID[tool])
            assert "resultType" not in done["result"]
            assert lines(file) == [("did", tool, "k")]


async def test_a_question_declined_or_failed_reaches_the_server_as_that(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing("http", "modern", tmp_path) as (up, file):
            session = await opened(up, EVERYTHING)
            for given, said in (
                ({"action": "decline"}, "No name: decline"),
                ({"error": {"code": -1, "message": "no"}}, "No name: cancel"),
            ):
                (_, done) = await talk(up, session, "greet", given={"elicitation/create": given})
                assert done["result"]["content"][0]["text"] == said
            failed = {"sampling/createMessage": {"error": {"code": -1, "message": "no"}}}
            (_, done) = await talk(up, session, "compose", given=failed)
            assert done["error"]["code"] == -32603
            assert ("did", "compose", "k") not in lines(file)


async def test_an_agent_that_cannot_be_asked_gets_an_error(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing("http", "modern", tmp_path) as (up, file):
            session = await opened(up, {"sampling": {}})
            (done,) = await talk(up, session, "greet")
            assert done["error"]["code"] == -32603
            assert lines(file) == []


async def test_nobody_else_answers_for_an_agent(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing("http", "modern", tmp_path) as (up, file):
            mine, other = await opened(up, EVERYTHING), await opened(up, EVERYTHING)
            answer = await up.send(
                legacy("tools/call", {"name": "greet", "arguments": {"key": "k"}}, session=mine)
            )
            messages = arriving(answer)
            question = await anext(messages)
            forged = {"jsonrpc": "2.0", "id": question["id"]}
            wrong = {"action": "accept", "content": {"name": "Mallory"}}
            await whole(up, sent({**forged, "result": wrong}, session=other))
            await whole(up, sent({**forged, "id": "another", "result": wrong}, session=mine))
            assert lines(file) == []
            right = ANSWERS["elicitation/create"]
            await whole(up, sent({**forged, "result": right}, session=mine))
            done = await anext(messages)
            assert done["result"]["content"][0]["text"] == SAID["greet"]
            await answer.aclose()


async def test_a_question_nobody_answers_ends_the_call(tmp_path: Path) -> None:
    file = tmp_path / "it.jsonl"
    with anyio.fail_after(SECONDS):
        with served("modern", file) as url:
            async with bridge(url, patience=1) as up:
                session = await opened(up, EVERYTHING)
                params = {"name": "greet", "arguments": {"key": "k"}}
                seen = await whole(up, legacy("tools/call", params, session=session))
                assert seen.last["error"]["code"] == -32603
                assert lines(file) == []


@BOTH
async def test_what_an_agent_cancels_is_cancelled_at_the_server(way: Way, tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "modern", tmp_path) as (up, file):
            session = await opened(up)
            params = {
                "name": "slow",
                "arguments": {"key": "k"},
                "_meta": {"progressToken": "mine"},
            }
            answer = await up.send(legacy("tools/call", params, session=session, rpc_id=5))
            note = await anext(arriving(answer))
            assert note["params"]["progressToken"] == "mine"
            cancel = legacy(
                "notifications/cancelled", {"requestId": 5}, session=session, rpc_id=None
            )
            await whole(up, cancel)
            await until(lambda: ("cancelled", "slow", "k") in lines(file))
            await answer.aclose()


@BOTH
async def test_what_changes_on_the_server_is_heard_on_the_sessions_stream(
    way: Way, tmp_path: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "modern", tmp_path) as (up, _):
            session = await opened(up)
            stream = await up.send(_stream(session))
            heard = arriving(stream)
            first = asyncio.create_task(_heard(heard, "notifications/tools/list_changed"))
            await _changing(up, session, first)
            watch = legacy("resources/subscribe", {"uri": "memo://today"}, session=session)
            assert (await whole(up, watch)).result == {}
            second = asyncio.create_task(_heard(heard, "notifications/resources/updated"))
            updated = await _changing(up, session, second)
            assert updated["params"] == {"uri": "memo://today"}
            second_stream = await up.send(_stream(session))
            assert second_stream.status == 409
            await stream.aclose()


async def _heard(messages: Any, method: str) -> Json:
    async for message in messages:
        if message["method"] == method:
            found: Json = message
            return found
    raise AssertionError("the stream ended")


async def _changing(up: Bridge, session: str, heard: asyncio.Task[Json]) -> Json:
    """Let things change until it is heard: a subscription takes a moment to stand."""
    while not heard.done():
        await talk(up, session, "change")
        await asyncio.wait({heard}, timeout=0.05)
    return await heard


def _stream(session: str) -> Any:
    request = sent({"jsonrpc": "2.0"}, session=session)
    return type(request)(
        method="GET", body=b"", grant="g", protocol=request.protocol, session=session
    )


async def test_a_session_outlives_the_gateway_and_ends_when_it_is_deleted(tmp_path: Path) -> None:
    file = tmp_path / "it.jsonl"
    with anyio.fail_after(SECONDS):
        with served("modern", file) as url:
            async with bridge(url) as up:
                session = await opened(up, EVERYTHING)
            async with bridge(url) as up:
                _, done = await talk(up, session, "greet")
                assert done["result"]["content"][0]["text"] == SAID["greet"]
                request = _stream(session)
                ending = type(request)(
                    method="DELETE", body=b"", grant="g", protocol="2025-11-25", session=session
                )
                assert (await whole(up, ending)).status == 200
                gone = await whole(up, legacy("tools/list", session=session))
                assert gone.status == 404


async def test_a_server_that_now_only_knows_sessions_gets_the_agent_to_begin_anew(
    tmp_path: Path,
) -> None:
    port = free_port()
    with anyio.fail_after(SECONDS):
        async with bridge(f"http://127.0.0.1:{port}/mcp") as up:
            with served("modern", tmp_path / "modern.jsonl", port=port):
                bridged = await opened(up)
                (done,) = await talk(up, bridged, "plain")
                assert done["result"]["content"][0]["text"] == "plain k"
            with served("legacy", tmp_path / "legacy.jsonl", port=port):
                await until_new(up, bridged)
                session = await opened(up)
                assert not session.startswith("bridged.")
                done = (await talk(up, session, "plain"))[-1]
                assert done["result"]["content"][0]["text"] == "plain k"


async def until_new(up: Bridge, session: str) -> None:
    """A request in the old session ends with 404, at the latest once dead connections are gone."""
    for _ in range(5):
        try:
            seen = await whole(up, legacy("tools/list", session=session))
        except Exception:  # noqa: BLE001, S112 - a connection kept alive to the one that is gone
            continue
        assert seen.status == 404
        return
    raise AssertionError("never 404")
