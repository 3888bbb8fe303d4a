"""`signoff connect NAME` as the command a host starts: MCP on its stdin and stdout."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import anyio
import pytest
from mcp.types import ElicitResult

from tests.connect.conftest import Mode, Start
from tests.support.in_place import approved_in_place, in_thread, text
from tests.support.live_gateway import SIGNOFF
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("front")]


async def test_a_host_lists_and_calls_as_over_http(start: Start, mode: Mode, key: str) -> None:
    async with start.host(mode, "connect", "w") as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "secret" not in names
        assert {"free", "held", "signoff_await_approval"} <= set(names)
        assert text(await client.call_tool("free", {"key": key})) == f"free {key}"
        denied = await client.call_tool("denied", {"key": key})
        assert text(denied) == "Policy violation: Not for agents. (rule /tools/denied)"
    assert start.ran(key) == 1


async def test_all_servers_by_one_command(start: Start, mode: Mode, key: str) -> None:
    async with start.host(mode, "connect", "all") as client:
        assert text(await client.call_tool("w__free", {"key": key})) == f"free {key}"
        said = await client.call_tool("reference__test_simple_text", {})
        assert text(said) == "This is a simple text response for testing."


async def test_a_held_call_shows_progress_and_returns_in_place(
    start: Start, mode: Mode, key: str
) -> None:
    async with start.host(mode, "connect", "w") as client:
        answer, notes = await approved_in_place(client, start.desk, "held", key)
    assert text(answer) == f"held {key}"
    assert notes[0].startswith("Waiting for approval ")
    assert start.ran(key) == 1


async def test_the_host_is_started_again_and_its_repeat_gets_the_approval(
    start: Start, mode: Mode, key: str
) -> None:
    arguments = {"key": key, "kind": "brief"}
    async with start.host(mode, "connect", "w") as client:
        let_go = await client.call_tool("held", arguments)
        assert text(let_go).startswith("Not executed yet")
    (row,) = start.desk.pending(key)
    start.desk.approve(row["id"])
    async with start.host(mode, "connect", "w") as client:
        assert text(await client.call_tool("held", arguments)) == f"held {key}"
    assert (start.ran(key), start.desk.opened(key)) == (1, 1)


async def test_a_host_that_gives_up_leaves_the_approval_pending(
    start: Start, mode: Mode, key: str
) -> None:
    async with start.host(mode, "connect", "w") as client:
        with pytest.raises(Exception, match=r"(?i)timed out"):
            await client.call_tool("held", {"key": key}, read_timeout_seconds=1)
        (row,) = start.desk.pending(key)
        left = await in_thread(start.desk.left, row["id"])
        assert (left["state"], start.ran(key)) == ("pending", 0)


async def test_the_gateway_may_be_restarted_under_a_host(
    start: Start, mode: Mode, key: str
) -> None:
    async with start.host(mode, "connect", "w") as client:
        assert text(await client.call_tool("free", {"key": key})) == f"free {key}"
        await in_thread(start.site.stop)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(in_thread, start.site.start)
            assert text(await client.call_tool("free", {"key": key})) == f"free {key}"
    assert start.ran(key) == 2


async def test_a_servers_question_reaches_the_host(start: Start) -> None:
    async def elicit(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"username": "u", "email": "e"})

    async with start.host("legacy", "connect", "reference", elicitation_callback=elicit) as client:
        said = await client.call_tool("test_elicitation", {"message": "m"})
    assert "action=accept" in text(said)


@pytest.mark.parametrize("name", ["reference", "all"])
async def test_a_stream_the_server_closes_early_is_come_back_to(start: Start, name: str) -> None:
    tool = "test_reconnection" if name == "reference" else "reference__test_reconnection"
    async with start.host("legacy", "connect", name) as client:
        said = await client.call_tool(tool, {})
    assert text(said) == "Reconnection test completed"


async def test_an_argument_that_travels_as_a_header_too_is_sent_as_one(start: Start) -> None:
    async with start.host("auto", "connect", "reference") as client:
        await client.list_tools()
        said = await client.call_tool("test_header_param", {"region": "europe"})
    assert not said.is_error


async def test_a_given_token_decides_what_may_be_used(start: Start) -> None:
    token = start.site.grant("given", ("reference",))
    given = {"SIGNOFF_TOKEN": token, "SIGNOFF_URL": start.site.url}
    async with start.host("auto", "connect", "all", environ=given) as client:
        names = {tool.name.partition("__")[0] for tool in (await client.list_tools()).tools}
    assert names == {"reference", "signoff_await_approval"}


def conversation(start: Start, *lines: Any, command: tuple[str, ...]) -> list[dict[str, Any]]:
    """What comes back for these lines, to the end of the command."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    done = subprocess.run(
        [str(SIGNOFF), *command],
        cwd=start.site.folder,
        env=start.site.environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_no_message_is_answered_and_ends_nothing(start: Start) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    good = {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": meta}}
    twice = '{"jsonrpc":"2.0","id":8,"method":"tools/list","method":"tools/call"}'
    said = conversation(start, "{", [good], twice, good, command=("connect", "w"))
    assert [one["id"] for one in said] == [None, None, 8, 7]
    assert "same key twice" in said[2]["error"]["message"]
    assert said[3]["result"]["tools"]


def test_a_gateway_that_does_not_run_is_said_to_a_host_that_stays(start: Start) -> None:
    done = subprocess.run(
        [str(SIGNOFF), "connect", "nobody"],
        cwd=start.site.folder,
        env=start.site.environment(),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 6
    assert "There is no server nobody; there are: w, reference, all." in done.stderr
