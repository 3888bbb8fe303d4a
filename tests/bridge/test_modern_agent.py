"""A 2026-07-28 agent in front of a server that only knows sessions (SDK 1.x), HTTP and pipes."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.relay.bridge.modern_agent import MOST_PARKED_EACH
from gateway.relay.bridge.session_pool import SessionPool
from gateway.relay.upstreams.http import HttpUpstream, pooled_session
from gateway.relay.upstreams.upstream import OutcomeUnknown
from tests.bridge.crossing import (
    BOTH,
    EVERYTHING,
    LIMIT,
    META,
    SAID,
    SECONDS,
    Way,
    answers,
    arriving,
    bridge,
    call,
    crossing,
    lines,
    modern,
    piped,
    sent,
    served,
    until,
    whole,
)
from tests.support.live_gateway import free_port

pytestmark = pytest.mark.anyio


@BOTH
async def test_the_server_looks_like_one_of_the_agents_era(way: Way, tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "legacy", tmp_path) as (up, _):
            found = (await whole(up, modern("server/discover"))).result
            assert found["supportedVersions"] == ["2026-07-28"]
            assert found["instructions"] == "Ask."
            assert (found["ttlMs"], found["cacheScope"]) == (0, "private")
            assert found["_meta"][f"{META}serverInfo"]["name"] == "legacy"
            assert {"tools", "resources"} <= found["capabilities"].keys()
            listed = (await whole(up, modern("tools/list", rpc_id="two"))).result
            assert listed["resultType"] == "complete"
            assert (listed["ttlMs"], listed["cacheScope"]) == (0, "private")
            assert "greet" in [tool["name"] for tool in listed["tools"]]
            read = await whole(up, modern("resources/read", {"uri": "memo://today"}))
            assert read.result["contents"][0]["text"] == "a memo"
            missing = await whole(up, modern("resources/read", {"uri": "memo://never"}))
            assert missing.last["error"]["code"] != -32002
            gone = await whole(up, modern("ping"))
            assert (gone.status, gone.last["error"]["code"]) == (404, -32601)


@BOTH
@pytest.mark.parametrize("tool", ["greet", "compose", "whereabouts"])
async def test_a_question_of_the_server_is_answered_by_the_retry(
    way: Way, tool: str, tmp_path: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "legacy", tmp_path) as (up, file):
            asked = (await call(up, tool, declared=EVERYTHING)).result
            assert asked["resultType"] == "input_required"
            assert len(asked["inputRequests"]) == 1
            assert lines(file) == [("began", tool, "k")]
            done = await call(up, tool, rpc_id=2, declared=EVERYTHING, extra=answers(asked))
            assert (done.last["id"], done.text) == (2, SAID[tool])
            assert lines(file) == [("began", tool, "k"), ("did", tool, "k")]


async def test_a_state_is_good_for_one_retry_of_its_own_call(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing("http", "legacy", tmp_path) as (up, file):
            asked = (await call(up, "greet", declared=EVERYTHING)).result
            more = answers(asked)
            state = more["requestState"]
            wrong: dict[str, dict[str, Any]] = {
                "changed": {"extra": {**more, "requestState": f"{state[:-2]}AA"}},
                "made up": {"extra": {**more, "requestState": "AAAA"}},
                "other arguments": {"key": "other", "extra": more},
                "another tool": {"tool": "compose", "extra": more},
                "another grant": {"grant": "h", "extra": more},
            }
            for why, given in wrong.items():
                tool = str(given.pop("tool", "greet"))
                refused = await call(up, tool, rpc_id=2, declared=EVERYTHING, **given)
                assert refused.last["error"]["code"] == -32602, why
                assert refused.status == 400
            done = await call(up, "greet", rpc_id=3, declared=EVERYTHING, extra=more)
            assert done.text == SAID["greet"]
            again = await call(up, "greet", rpc_id=4, declared=EVERYTHING, extra=more)
            assert again.last["error"]["code"] == -32602
            assert lines(file) == [("began", "greet", "k"), ("did", "greet", "k")]


async def test_a_retry_without_the_answer_is_asked_again(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing("http", "legacy", tmp_path) as (up, file):
            asked = (await call(up, "greet", declared=EVERYTHING)).result
            nothing = {"requestState": asked["requestState"], "inputResponses": {"other": {}}}
            again = (await call(up, "greet", rpc_id=2, declared=EVERYTHING, extra=nothing)).result
            assert again["inputRequests"] == asked["inputRequests"]
            assert again["requestState"] != asked["requestState"]
            done = await call(up, "greet", rpc_id=3, declared=EVERYTHING, extra=answers(again))
            assert done.text == SAID["greet"]
            assert len(lines(file)) == 2


@BOTH
async def test_a_call_whose_question_nobody_answers_is_cancelled(way: Way, tmp_path: Path) -> None:
    file = tmp_path / "it.jsonl"
    with anyio.fail_after(SECONDS):
        async with AsyncExitStack() as stack:
            if way == "stdio":
                up = await stack.enter_async_context(piped("legacy", file, patience=2))
            else:
                url = stack.enter_context(served("legacy", file))
                up = await stack.enter_async_context(bridge(url, patience=1))
            asked = (await call(up, "greet", declared=EVERYTHING)).result
            await until(lambda: ("cancelled", "greet", "k") in lines(file))
            late = await call(up, "greet", rpc_id=2, declared=EVERYTHING, extra=answers(asked))
            assert late.last["error"]["code"] == -32602
            assert ("did", "greet", "k") not in lines(file)


async def test_a_client_that_offers_nothing_is_asked_nothing(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing("http", "legacy", tmp_path) as (up, _):
            done = await call(up, "greet")
            assert done.result["resultType"] == "complete"
            assert done.result["isError"] is True


@BOTH
async def test_two_grants_are_asked_their_own_questions(way: Way, tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "legacy", tmp_path) as (up, _):
            first, second = await asyncio.gather(
                call(up, "greet", "first", grant="a", declared=EVERYTHING),
                call(up, "greet", "second", grant="b", declared=EVERYTHING),
            )
            for seen, key in ((first, "first"), (second, "second")):
                (question,) = seen.result["inputRequests"].values()
                assert question["params"]["message"] == f"Who is {key}?"
            swapped = {**answers(first.result), "requestState": second.result["requestState"]}
            refused = await call(
                up, "greet", "first", grant="a", declared=EVERYTHING, extra=swapped
            )
            assert refused.last["error"]["code"] == -32602


async def test_calls_of_one_grant_at_once_keep_their_questions_apart(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing("http", "legacy", tmp_path) as (up, _):
            keys = [f"key{number}" for number in range(8)]
            seen = await asyncio.gather(
                *(call(up, "greet", key, rpc_id=1, declared=EVERYTHING) for key in keys)
            )
            for key, each in zip(keys, seen, strict=True):
                (question,) = each.result["inputRequests"].values()
                assert question["params"]["message"] == f"Who is {key}?"
            done = await asyncio.gather(
                *(
                    call(up, "greet", key, declared=EVERYTHING, extra=answers(each.result))
                    for key, each in zip(keys, seen, strict=True)
                )
            )
            assert {each.text for each in done} == {SAID["greet"]}


@BOTH
async def test_a_question_that_names_no_request_goes_to_a_waiting_call_of_the_only_agent(
    way: Way, tmp_path: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "legacy", tmp_path) as (up, _):
            first = (await call(up, "greet", "first", declared=EVERYTHING)).result
            second = (await call(up, "whereabouts", rpc_id=2, declared=EVERYTHING)).result
            assert [each["method"] for each in second["inputRequests"].values()] == ["roots/list"]
            done = await call(
                up, "whereabouts", rpc_id=3, declared=EVERYTHING, extra=answers(second)
            )
            assert done.text == SAID["whereabouts"]
            done = await call(
                up, "greet", "first", rpc_id=4, declared=EVERYTHING, extra=answers(first)
            )
            assert done.text == SAID["greet"]


@BOTH
async def test_a_question_that_may_be_for_one_of_two_agents_of_a_grant_is_refused(
    way: Way, tmp_path: Path
) -> None:
    def program(name: str) -> dict[str, Any]:
        return {f"{META}clientInfo": {"name": name, "version": "1"}}

    with anyio.fail_after(SECONDS):
        async with crossing(way, "legacy", tmp_path) as (up, _):
            one, two = program("one"), program("two")
            waiting = (await call(up, "greet", declared=EVERYTHING, meta=one)).result
            done = await call(up, "whereabouts", rpc_id=2, declared=EVERYTHING, meta=two)
            assert done.result["isError"] is True
            done = await call(
                up, "greet", rpc_id=3, declared=EVERYTHING, meta=one, extra=answers(waiting)
            )
            assert done.text == SAID["greet"]


@BOTH
async def test_one_session_serves_a_grant_until_the_server_is_started_anew(
    way: Way, tmp_path: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "legacy", tmp_path) as (up, file):
            for number in range(3):
                assert (await call(up, "plain", str(number))).text == f"plain {number}"
            pids = {json.loads(line)[3] for line in file.read_text("utf-8").splitlines()}
            assert len(pids) == 1


async def test_a_server_that_was_started_anew_is_opened_anew(tmp_path: Path) -> None:
    file, port = tmp_path / "it.jsonl", free_port()
    with anyio.fail_after(SECONDS):
        async with bridge(f"http://127.0.0.1:{port}/mcp") as up:
            for key in ("before", "after"):
                with served("legacy", file, port=port):
                    try:
                        seen = await call(up, "plain", key)
                    except OutcomeUnknown:  # a connection kept alive to the one that is gone
                        seen = await call(up, "plain", key)
                    assert seen.text == f"plain {key}"
            assert [key for _, _, key in lines(file)] == ["before", "after"]


async def test_what_an_agent_no_longer_reads_is_cancelled(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing("http", "legacy", tmp_path) as (up, file):
            request = modern(
                "tools/call",
                {"name": "slow", "arguments": {"key": "k"}},
                meta={"progressToken": "mine"},
            )
            answer = await up.send(request)
            note = await anext(arriving(answer))
            assert note["params"]["progressToken"] == "mine"
            await answer.aclose()
            await until(lambda: ("cancelled", "slow", "k") in lines(file))


@BOTH
async def test_what_changes_on_the_server_is_heard_by_who_listens(way: Way, tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing(way, "legacy", tmp_path) as (up, file):
            found = (await whole(up, modern("server/discover"))).result
            assert found["capabilities"]["tools"]["listChanged"] is True
            wanted = {
                "toolsListChanged": True,
                "promptsListChanged": True,
                "resourceSubscriptions": ["memo://today"],
            }
            stream = await up.send(
                modern("subscriptions/listen", {"notifications": wanted}, rpc_id="mine")
            )
            heard = arriving(stream)
            first = await anext(heard)
            assert first["method"] == "notifications/subscriptions/acknowledged"
            granted = {"toolsListChanged": True, "resourceSubscriptions": ["memo://today"]}
            assert first["params"]["notifications"] == granted
            await call(up, "change", rpc_id=2)
            seen = [await anext(heard), await anext(heard)]
            assert {each["method"] for each in seen} == {
                "notifications/tools/list_changed",
                "notifications/resources/updated",
            }
            for each in (first, *seen):
                assert each["params"]["_meta"][f"{META}subscriptionId"] == "mine"
            await stream.aclose()
            await until(lambda: ("did", "unsubscribe", "memo://today") in lines(file))


async def test_an_address_to_open_first_is_a_question_and_then_the_call_is_made(
    tmp_path: Path,
) -> None:
    declared: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}}
    with anyio.fail_after(SECONDS):
        async with crossing("http", "legacy", tmp_path) as (up, file):
            asked = (await call(up, "visit", declared=declared)).result
            (question,) = asked["inputRequests"].values()
            assert question["params"]["url"] == "https://example.com/sign-in"
            assert "elicitationId" not in question["params"]
            assert lines(file) == []
            again = answers(asked)
            other = await call(up, "visit", "other", rpc_id=2, declared=declared, extra=again)
            assert other.last["error"]["code"] == -32602
            done = await call(up, "visit", rpc_id=3, declared=declared, extra=again)
            assert done.text == "visited k"
            unable = await call(up, "visit", "other", rpc_id=4, declared={"elicitation": {}})
            assert unable.last["error"]["code"] == -32603


async def test_calls_that_wait_for_answers_are_bounded(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with crossing("http", "legacy", tmp_path) as (up, file):
            seen = await asyncio.gather(
                *(
                    call(up, "greet", str(number), rpc_id=number, declared=EVERYTHING)
                    for number in range(MOST_PARKED_EACH)
                )
            )
            assert {each.result["resultType"] for each in seen} == {"input_required"}
            with pytest.raises(OutcomeUnknown):
                await call(up, "greet", "one more", declared=EVERYTHING)
            await until(lambda: ("cancelled", "greet", "one more") in lines(file))
            other = await call(up, "greet", "elsewhere", grant="h", declared=EVERYTHING)
            assert other.result["resultType"] == "input_required"


async def test_a_session_nobody_uses_is_ended_on_the_server_too(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS), served("legacy", tmp_path / "it.jsonl") as url:
        async with pooled_session() as client:
            upstream = HttpUpstream("it", url, headers={}, timeout=30, client=client)
            pool = SessionPool(upstream, max_result=LIMIT, idle=3.0)
            line = await pool.line("g", {}, {})
            session = line.session
            assert await pool.line("g", {}, {}) is line
            assert await pool.line("h", {}, {}) is not line
            gone = sent({"jsonrpc": "2.0", "id": 1, "method": "ping"}, session=session)

            async def status() -> int:
                answer = await upstream.send(gone)
                await answer.aclose()
                return answer.status

            while await status() != 404:  # noqa: ASYNC110 - the server alone knows
                await asyncio.sleep(0.1)
            assert await pool.line("g", {}, {}) is not line
            await pool.aclose()
