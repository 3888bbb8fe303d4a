"""Servers that die, flood, fall silent or print nonsense; and that none of them is left over."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.relay.upstreams.process_slot import Restarts, after_death
from gateway.relay.upstreams.stdio import Limits, StdioUpstream
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown, Request
from tests.support.patience import PATIENCE

RAW = str(Path(__file__).parent / "children" / "raw.py")
MODERN = "2026-07-28"
AT_ONCE = Limits(first_delay=0.0)


@asynccontextmanager
async def child(
    *args: str, limits: Limits = AT_ONCE, shared: bool = False, **more: Any
) -> AsyncIterator[StdioUpstream]:
    up = StdioUpstream("it", sys.executable, [RAW, *args], shared=shared, limits=limits, **more)
    try:
        with anyio.fail_after(PATIENCE):
            yield up
    finally:
        with anyio.fail_after(PATIENCE):
            await up.aclose()


def call(
    method: str,
    params: dict[str, Any] | None = None,
    *,
    session: str = "",
    protocol: str = MODERN,
    grant: str = "g",
) -> Request:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    data = json.dumps(body).encode()
    protocol = "2025-11-25" if session else protocol
    return Request(method="POST", body=data, grant=grant, protocol=protocol, session=session)


async def text(up: StdioUpstream, request: Request) -> bytes:
    answer = await up.send(request)
    return b"".join([chunk async for chunk in answer.body()])


async def result(up: StdioUpstream, request: Request) -> Any:
    body = await text(up, request)
    if body.startswith(b":"):  # it took long enough to become a stream
        body = body.partition(b"data: ")[2]
    return json.loads(body)["result"]


def dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A zombie is dead too; its adoptive parent has not looked yet.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


async def gone(pid: int) -> None:
    with anyio.fail_after(PATIENCE):
        while not dead(pid):  # noqa: ASYNC110  # a process of others has no event
            await anyio.sleep(0.01)


async def test_dying_in_a_call_leaves_its_outcome_unknown_and_the_next_call_works() -> None:
    async with child() as up:
        first = (await result(up, call("echo")))["pid"]
        with pytest.raises(OutcomeUnknown):
            await up.send(call("die"))
        assert (await result(up, call("echo")))["pid"] != first


_LONG = "9" * 5_000  # more digits than Python makes a number of
ODD: dict[str, dict[str, Any]] = {
    "an id": {"id": _LONG},
    "a progress token": {
        "method": "notifications/progress",
        "params": {"progressToken": _LONG, "progress": 1},
    },
    "a subscription": {
        "method": "notifications/message",
        "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": _LONG}},
    },
}


@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_message_takes_no_other_along(odd: str) -> None:
    async with child() as up:
        assert b'"result":{}' in await text(up, call("odd", {"first": [ODD[odd]]}))


async def test_an_error_without_a_code_is_an_answer() -> None:
    async with child() as up:
        said = json.loads(await text(up, call("bad code")))
        assert said["error"] == {"code": [], "message": "no"}


async def test_dying_in_a_stream_is_told_by_its_body() -> None:
    async with child(limits=Limits(silence=0.05)) as up:
        answer = await up.send(call("never"))
        stream = answer.body()
        assert await anext(stream) == b": ping\n\n"
        with pytest.raises(OutcomeUnknown):
            await up.send(call("die"))
        with pytest.raises(OutcomeUnknown):
            [chunk async for chunk in stream]


async def test_a_session_survives_its_process() -> None:
    async with child() as up:
        opening = await up.send(call("initialize", {"hello": 1}, protocol=""))
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await up.send(
            Request(
                method="POST",
                body=json.dumps(note).encode(),
                grant="g",
                protocol="2025-11-25",
                session=opening.session,
            )
        )
        with pytest.raises(OutcomeUnknown):
            await up.send(call("die", session=opening.session))
        got = await result(up, call("echo", session=opening.session))
        assert got["seen"] == ["initialize", note, "echo"]


async def test_a_crash_is_followed_by_a_pause_that_certainly_sends_nothing() -> None:
    async with child(limits=Limits(first_delay=60.0)) as up:
        with pytest.raises(OutcomeUnknown):
            await up.send(call("die"))
        with pytest.raises(NotSent, match="backing off"):
            await up.send(call("echo"))
        assert (await result(up, call("echo", grant="other")))["pid"]


def test_pauses_double_to_half_a_minute_and_begin_anew_after_a_minute_of_health() -> None:
    restarts, pauses = Restarts(), []
    for _ in range(8):
        restarts = after_death(restarts, lived=1.0, now=100.0, first=0.5)
        pauses.append(restarts.until - 100.0)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert after_death(restarts, lived=60.0, now=0.0, first=0.5) == Restarts(1, 0.5)


async def test_what_cannot_be_started_was_not_sent() -> None:
    up = StdioUpstream("it", "/nowhere/server", ["s3cret"], {"KEY": "s3cret"})
    with pytest.raises(NotSent) as raised:
        await up.send(call("echo"))
    assert "s3cret" not in repr(raised.value)
    await up.aclose()
    with pytest.raises(NotSent, match="stopped"):
        await up.send(call("echo"))


async def test_a_server_that_ends_at_once_says_nothing_certain() -> None:
    async with child("dead") as up:
        with pytest.raises((OutcomeUnknown, NotSent)):
            await up.send(call("echo"))


async def test_lines_that_are_no_messages_are_passed_over() -> None:
    async with child() as up:
        assert (await result(up, call("garbage")))["got"]["method"] == "garbage"


async def test_an_answer_over_the_limit_costs_the_process_not_the_gateway() -> None:
    async with child(limits=Limits(line=100_000, first_delay=60.0)) as up:
        small = await result(up, call("big", {"size": 50_000}))
        assert len(small["text"]) == 50_000
        with pytest.raises(OutcomeUnknown, match="too large"):
            await up.send(call("big", {"size": 5_000_000}))
        await gone(small["pid"])
        assert (await result(up, call("echo")))["pid"] != small["pid"]


async def test_a_large_answer_passes_whole() -> None:
    async with child() as up:
        assert len((await result(up, call("big", {"size": 12_000_000})))["text"]) == 12_000_000


async def test_a_flood_is_bounded_and_the_answer_still_arrives() -> None:
    async with child(limits=Limits(line=100_000)) as up:
        note = "notifications/message"
        answer = await up.send(call("echo", {"say": [note] * 200, "size": 10_000}))
        with anyio.fail_after(PATIENCE):  # a reader so slow that everything came before it looked
            await result(up, call("echo", grant="other"))
        stream = b"".join([chunk async for chunk in answer.body()])
        assert stream.count(b"event: message") < 200
        assert b'"result"' in stream.rpartition(b"data: ")[2]


async def test_a_server_that_never_answers_is_given_up_and_told() -> None:
    async with child(limits=Limits(answer=1.0)) as up:
        with pytest.raises(OutcomeUnknown, match="in time"):
            await up.send(call("never"))
        seen: list[Any] = []
        while not seen:  # on a busy machine an echo too may be late
            with suppress(OutcomeUnknown):
                seen = (await result(up, call("echo")))["seen"]
        told = [each for each in seen if isinstance(each, dict)]
        assert told[0]["method"] == "notifications/cancelled"
        assert told[0]["params"]["requestId"] == 1


async def test_an_opening_without_answer_is_given_up() -> None:
    up = StdioUpstream("it", "sleep", ["300"], limits=Limits(start=0.2))
    with pytest.raises(OutcomeUnknown, match="initialize"):
        await up.send(call("initialize", protocol=""))
    with anyio.fail_after(PATIENCE):
        await up.aclose()


async def test_closing_stops_the_whole_tree_even_a_stubborn_one() -> None:
    async with child("stubborn") as up:
        got = await result(up, call("spawn"))
    await gone(got["pid"])
    await gone(got["child"])


async def test_a_server_that_exits_in_time_leaves_no_child_behind() -> None:
    async with child() as up:
        got = await result(up, call("spawn"))
    await gone(got["pid"])
    await gone(got["child"])


async def test_closing_while_starting_leaves_nothing() -> None:
    async with child() as up, anyio.create_task_group() as group:

        async def use() -> None:
            with pytest.raises((NotSent, OutcomeUnknown)):
                await up.send(call("never"))

        group.start_soon(use)
        await anyio.lowlevel.checkpoint()
        await up.aclose()


async def test_a_killed_gateway_takes_its_servers_along() -> None:
    gateway = """
import asyncio, os, sys
from gateway.relay.upstreams.stdio import StdioUpstream
from gateway.relay.upstreams.upstream import Request
async def main():
    up = StdioUpstream("it", sys.executable, [sys.argv[1]])
    body = b'{"jsonrpc":"2.0","id":1,"method":"echo"}'
    answer = await up.send(Request(method="POST", body=body, grant="g", protocol="2026-07-28"))
    sys.stdout.write([c async for c in answer.body()][0].decode())
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    with anyio.fail_after(PATIENCE):
        killed = await anyio.run_process(
            [sys.executable, "-c", gateway, RAW], check=False, env=os.environ
        )
    assert killed.returncode == -9
    await gone(json.loads(killed.stdout)["result"]["pid"])


async def test_callers_who_come_together_share_one_start() -> None:
    async with child() as up:
        pids = set()

        async def use() -> None:
            pids.add((await result(up, call("echo")))["pid"])

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(use)
        assert len(pids) == 1


async def test_idle_processes_are_stopped_and_their_sessions_end() -> None:
    async with child(limits=Limits(idle=0.5)) as up:
        pid = 0
        while not pid:  # on a busy machine it may have been idle before it was asked
            opening = await up.send(call("initialize", protocol=""))
            asked = await up.send(call("echo", session=opening.session))
            if asked.status == 200:
                pid = json.loads(b"".join([chunk async for chunk in asked.body()]))["result"]["pid"]
        await gone(pid)
        assert (await up.send(call("echo", session=opening.session))).status == 404


async def test_the_oldest_idle_process_makes_room_and_busy_ones_stay() -> None:
    async with child(limits=Limits(processes=2, silence=0.05)) as up:
        first = await result(up, call("echo", grant="one"))
        held = [await up.send(call("never", grant=each)) for each in ("two", "three")]
        await gone(first["pid"])
        assert (await up.send(call("echo", grant="four"))).status == 503
        assert (await up.send(call("initialize", protocol=""))).status == 503
        await held[0].aclose()
        assert (await up.send(call("echo", grant="four"))).status == 200


async def test_a_shared_process_has_a_bounded_number_of_sessions() -> None:
    async with child(shared=True, limits=Limits(sessions=2)) as up:
        ids = [(await up.send(call("initialize", protocol=""))).session for _ in range(3)]
        status = [(await up.send(call("echo", session=each))).status for each in ids]
        assert status == [404, 200, 200]


async def test_a_server_gets_no_environment_but_the_default_and_its_own() -> None:
    up = StdioUpstream("it", sys.executable, [RAW], {"OWN": "1"})
    env = (await result(up, call("echo")))["env"]
    await up.aclose()
    allowed = {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "OWN", "LC_CTYPE"}
    assert set(env) <= allowed
    assert env["OWN"] == "1"


async def test_stderr_goes_to_the_log_and_not_to_agents(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as errlog:
        async with child("loud", errlog=errlog) as up:
            stream = await text(up, call("echo"))
        assert b"secret of the log" not in stream
        assert (tmp_path / "log").read_text() == "secret of the log\n"
