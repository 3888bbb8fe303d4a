"""`/mcp`: every server of a grant behind one URL, with the same rules as at the servers' own."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CreateMessageResult,
    ElicitResult,
    PromptReference,
    TextContent,
)

from tests.aggregate.conftest import LONG, House, Mode
from tests.support.in_place import approved_in_place, in_thread, text
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("together")]


async def test_every_servers_tools_are_listed_under_its_name_and_hidden_ones_are_not(
    house: House, mode: Mode
) -> None:
    async with house.client(mode, servers=("*",)) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
    assert {"w__free", "reference__test_simple_text", "pipe__test_simple_text"} <= set(listed)
    assert not [name for name in listed if "secret" in name or "missing_capability" in name]
    assert listed.count("signoff_await_approval") == 1
    assert len(listed) == len(set(listed))
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in listed)


async def test_a_server_that_is_down_is_said_to_be_missing(house: House, mode: Mode) -> None:
    async with house.client(mode) as client:
        found = await client.list_tools()
    assert (found.meta or {})["dev.signoff/missing"] == ["down"]


async def test_a_name_too_long_for_some_models_is_shortened_and_still_called(
    house: House, mode: Mode, key: str
) -> None:
    async with house.client(mode) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        short = [name for name in listed if name.startswith(LONG[:50])]
        assert len(short) == len([name for name in listed if name.startswith("w__")])
        assert text(await client.call_tool(short[0], {"key": key})) == f"free {key}"
    assert house.ran(key) == 1


async def test_an_allowed_call_gets_its_servers_own_result(
    house: House, mode: Mode, key: str
) -> None:
    async with house.client(mode, servers=("*",)) as client:
        answer = await client.call_tool("w__free", {"key": key})
        assert text(answer) == f"free {key}"
        assert answer.structured_content == {"arguments": {"key": key}}
        for server in ("reference", "pipe"):
            said = await client.call_tool(f"{server}__test_simple_text", {})
            assert text(said) == "This is a simple text response for testing."
    assert house.ran(key) == 1


@pytest.mark.parametrize(("tool", "rule"), [("denied", "/tools/denied"), ("secret", "(hidden)")])
async def test_what_policy_denies_is_denied_here_too(
    house: House, mode: Mode, key: str, tool: str, rule: str
) -> None:
    async with house.client(mode) as client:
        answer = await client.call_tool(f"w__{tool}", {"key": key})
    assert answer.is_error
    assert text(answer).endswith(f"(rule {rule})")
    assert house.ran(key) == 0


async def test_a_limit_counts_over_both_urls(house: House, mode: Mode, key: str) -> None:
    token = house.site.grant("both")
    async with house.client(mode, token=token) as client:
        first = await client.call_tool("w__limited", {"key": key})
    async with house.client(mode, token=token, path="/mcp/w") as client:
        second = await client.call_tool("limited", {"key": key})
    assert (first.is_error, second.is_error) == (False, True)
    assert "Rate limit reached: few" in text(second)


async def test_a_held_call_waits_runs_once_and_may_be_awaited(
    house: House, mode: Mode, key: str
) -> None:
    async with house.client(mode) as client:
        answer, notes = await approved_in_place(client, house.desk, "w__held", key)
    assert text(answer) == f"held {key}"
    assert notes[0].startswith("Waiting for approval ")
    assert house.ran(key) == 1


async def test_an_approval_asked_for_at_a_servers_own_url_is_awaited_here(
    house: House, mode: Mode, key: str
) -> None:
    token = house.site.grant("both")
    async with house.client(mode, token=token, path="/mcp/w") as client:
        let_go = await client.call_tool("held", {"key": key, "kind": "brief"})
    handle = {"approval_id": (let_go.meta or {})["dev.signoff/decision"]["approval_id"]}
    await in_thread(house.desk.approve, handle["approval_id"])
    async with house.client(mode, token=token) as client:
        assert text(await client.call_tool("signoff_await_approval", handle)) == f"held {key}"
    assert house.ran(key) == 1


async def test_a_tool_of_no_server_is_unknown(house: House, mode: Mode) -> None:
    async with house.client(mode) as client:
        for name in ("free", "nobody__free", "w__"):
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool(name, {"key": "x"})


async def test_a_call_to_a_server_that_is_down_is_not_sent(house: House, mode: Mode) -> None:
    async with house.client(mode) as client:
        answer = await client.call_tool("down__anything", {})
    assert answer.is_error
    assert "Not executed" in text(answer)


async def test_a_grant_for_some_servers_sees_only_these(house: House, mode: Mode) -> None:
    token = house.site.grant("few", ("w",))
    async with house.client(mode, token=token) as client:
        listed = await client.list_tools()
        assert (listed.meta or {}).get("dev.signoff/missing") is None
        names = {tool.name for tool in listed.tools}
        assert {name.partition("__")[0] for name in names} == {"w", "signoff_await_approval"}
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("reference__test_simple_text", {})


async def test_prompts_carry_their_servers_name_and_resources_keep_their_uris(
    house: House, mode: Mode
) -> None:
    async with house.client(mode, servers=("*",)) as client:
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert {"reference__test_simple_prompt", "pipe__test_simple_prompt"} <= prompts
        got = await client.get_prompt(
            "pipe__test_prompt_with_arguments", {"arg1": "a", "arg2": "b"}
        )
        assert "arg1='a', arg2='b'" in str(got.messages[0].content)
        uris = [str(one.uri) for one in (await client.list_resources()).resources]
        assert uris.count("test://static-text") == 1
        templates = (await client.list_resource_templates()).resource_templates
        assert [one.uri_template for one in templates] == ["test://template/{id}/data"]
        whole = await client.read_resource("test://static-text")
        assert "static text resource" in str(whole.contents[0])
        with pytest.raises(MCPError, match="several servers here claim it"):
            await client.read_resource("test://template/7/data")
        with pytest.raises(MCPError, match="no server here lists it"):
            await client.read_resource("other://thing")
        ref = PromptReference(type="ref/prompt", name="reference__test_prompt_with_arguments")
        completed = await client.complete(ref, {"name": "arg1", "value": "te"})
        assert completed.completion.values == ["test", "testing"]


async def test_a_fresh_client_reads_a_resource_nobody_listed_yet(house: House, mode: Mode) -> None:
    async with house.client(mode, servers=("reference",)) as client:
        filled = await client.read_resource("test://template/7/data")
        assert "Data for ID: 7" in str(filled.contents[0])
        assert (await client.read_resource("test://static-text")).contents


@pytest.mark.parametrize("server", ["reference", "pipe"])
async def test_a_servers_questions_reach_the_agent_and_its_answers_the_server(
    house: House, server: str
) -> None:
    asked: list[str] = []

    async def elicit(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"username": "u", "email": "e"})

    async def sample(context: Any, params: Any) -> CreateMessageResult:
        content = TextContent(type="text", text="sampled")
        return CreateMessageResult(role="assistant", content=content, model="m")

    callbacks: dict[str, Any] = {"elicitation_callback": elicit, "sampling_callback": sample}
    async with house.client("legacy", servers=(server,), **callbacks) as client:
        await client.list_tools()
        said = await client.call_tool(f"{server}__test_elicitation", {"message": server})
        assert 'action=accept, content={"username": "u", "email": "e"}' in text(said)
        said = await client.call_tool(f"{server}__test_sampling", {"prompt": "p"})
        assert text(said) == "LLM response: sampled"
    assert asked == [server]


@pytest.mark.parametrize("server", ["reference", "pipe"])
async def test_input_that_a_modern_server_wants_is_asked_for(house: House, server: str) -> None:
    async def elicit(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ann"})

    async with house.client("auto", servers=(server,), elicitation_callback=elicit) as client:
        said = await client.call_tool(f"{server}__test_input_required_result_elicitation", {})
    assert "Ann" in text(said)


async def test_a_change_of_one_servers_tools_is_heard(house: House) -> None:
    async with house.client("auto") as client, client.listen(tools_list_changed=True) as heard:
        await client.call_tool("reference__test_trigger_tool_change", {})
        with anyio.fail_after(PATIENCE):
            async for event in heard:
                assert "tools" in type(event).__name__.lower()
                break


TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


@pytest.mark.parametrize("watched", [False, True])
def test_a_held_call_becomes_a_task_where_the_agent_takes_one(
    house: House, key: str, *, watched: bool
) -> None:
    token = house.site.grant("tasks", ("w",))
    call = {"name": "w__held", "arguments": {"key": key}}
    made = house.raw(token, "tools/call", call, capabilities=TASKS, named="w__held")
    assert made["resultType"] == "task"
    task = made["taskId"]
    (row,) = house.desk.pending(key)
    house.desk.approve(row["id"])
    if watched:
        wanted = {"notifications": {"taskIds": [task]}}
        told = house.listened(token, wanted, capabilities=TASKS, until="completed")
        assert told[0]["method"] == "notifications/subscriptions/acknowledged"
        assert told[0]["params"]["notifications"] == {"taskIds": [task]}
        result = told[-1]["params"]["result"]
    else:
        asked: dict[str, Any] = {"capabilities": TASKS, "named": task}
        result = eventually(
            lambda: house.raw(token, "tasks/get", {"taskId": task}, **asked).get("result")
        )
    assert result["content"][0]["text"] == f"held {key}"
    assert house.ran(key) == 1


async def test_a_legacy_session_outlives_the_gateway(house: House, key: str) -> None:
    async with house.client("legacy", servers=("*",)) as client:
        assert text(await client.call_tool("w__free", {"key": key})) == f"free {key}"
        assert not (await client.call_tool("pipe__test_simple_text", {})).is_error
        await in_thread(house.site.stop)
        await in_thread(house.site.start)
        assert text(await client.call_tool("w__free", {"key": key})) == f"free {key}"
        assert not (await client.call_tool("pipe__test_simple_text", {})).is_error
    assert house.ran(key) == 2
