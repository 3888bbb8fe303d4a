"""No server speaks for another, nor for the gateway: what an agent reads in any stream is that
server's answer to that request, without words that are the gateway's alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.protocol.sse import SseParser
from tests.hostile.bank import Bank, bank
from tests.hostile.impostor import FORGED, OURS, impostor
from tests.hostile.raw_agent import Raw, read
from tests.support.agents import CLIENTS, agent
from tests.support.live_gateway import Site
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.xdist_group("impostor")
Json = dict[str, Any]
SERVERS = ("http_legacy", "http_modern", "pipe_legacy", "pipe_modern")
ASKED: tuple[tuple[str, Json], ...] = (
    ("tools/call", {"name": "weather", "arguments": {}}),
    ("tools/call", {"name": "fails", "arguments": {}}),
    ("tools/list", {}),
    ("resources/list", {}),
    ("resources/templates/list", {}),
    ("prompts/list", {}),
    ("resources/read", {"uri": "evil://r"}),
    ("prompts/get", {"name": "p"}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"},
                             "argument": {"name": "a", "value": ""}}),
)  # fmt: skip


def is_forged(messages: list[Json]) -> bool:
    """Whether a message speaks for another, but for the one log line that quotes such a message."""
    rest = [one for one in messages if one.get("method") != "notifications/message"]
    whole = json.dumps(messages)
    return FORGED in json.dumps(rest) or "dev.signoff/decision" in whole


@pytest.fixture(scope="module")
def honest() -> Iterator[Bank]:
    with bank() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, honest: Bank) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("impostor")
    with ExitStack() as stack:
        urls = {era: stack.enter_context(impostor(modern=era == "modern"))
                for era in ("legacy", "modern")}  # fmt: skip
        site = Site(folder, {"SIGNOFF_HOLD": "0"})
        site.policy(default="allow")
        script = str(Path(__file__).with_name("impostor.py"))
        site.servers(
            bank={"url": honest.url},
            **{f"http_{era}": {"url": url} for era, url in urls.items()},
            **{
                f"pipe_{era}": {"command": sys.executable, "args": [script, era]}
                for era in ("legacy", "modern")
            },
        )
        site.start()
        stack.callback(site.stop)
        yield site


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
@pytest.mark.parametrize("modern", [False, True], ids=["older agent", "newer agent"])
@pytest.mark.parametrize("server", SERVERS)
def test_an_agent_hears_its_own_answer_and_nothing_forged(
    site: Site,
    server: str,
    modern: bool,  # noqa: FBT001 - a case of this test
    together: bool,  # noqa: FBT001 - as above
) -> None:
    raw = Raw(
        f"{site.url}/mcp" if together else f"{site.url}/mcp/{server}",
        site.grant("agent", (server,)),
        modern,
    )
    raw.open()
    for number, (method, params) in enumerate(ASKED, start=2):
        if together and "name" in params:
            params = {**params, "name": f"{server}__{params['name']}"}  # noqa: PLW2901
        if together and "ref" in params:
            params = {**params, "ref": {**params["ref"], "name": f"{server}__p"}}  # noqa: PLW2901
        answer = raw.post(method, params, number)
        messages = read(answer)
        assert not is_forged(messages), (method, answer.text)
        responses = [one for one in messages if "method" not in one]
        assert [one["id"] for one in responses] == [number], (method, messages)
        said = responses[0]
        if params.get("name", "").endswith("fails"):
            assert said["error"]["data"] == {"kept": 1}
        elif method == "tools/call":
            assert said["result"]["content"][0]["text"] == "its own"
            assert said["result"]["structuredContent"] == {"deep": [{}], "n": 2**70}
        assert messages[-1] is said


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_a_sessions_own_stream_holds_no_response_but_that_of_the_request_it_comes_back_to(
    site: Site,
    together: bool,  # noqa: FBT001 - a case of this test
) -> None:
    raw = Raw(
        f"{site.url}/mcp" if together else f"{site.url}/mcp/http_legacy",
        site.grant("agent", ("http_legacy",)),
        modern=False,
    )
    raw.open()
    name = "http_legacy__weather" if together else "weather"
    streamed = raw.post("tools/call", {"name": name, "arguments": {}}, "call-7")
    ids = [
        line.removeprefix("id: ") for line in streamed.text.splitlines() if line.startswith("id: ")
    ]
    assert ids
    for after, expected in (("", []), (ids[-1], [{"resumed": "call-7"}])):
        headers = raw.headers() | ({"Last-Event-ID": after} if after else {})
        told: list[Json] = []
        parser = SseParser()
        with httpx2.stream("GET", raw.url, headers=headers, timeout=30) as answer:
            for line in answer.iter_lines():
                for event in parser.feed(line.encode() + b"\n"):
                    told += [json.loads(event.data)] if event.data else []
                if told and told[-1].get("method") == "notifications/resources/list_changed":
                    break
        if not together:  # alone, it may speak of any request it has
            told = [one for one in told if one.get("method") != "notifications/progress"]
        assert not is_forged(told)
        responses = [one for one in told if "method" not in one]
        assert [one["result"] for one in responses] == expected
        assert [one["id"] for one in responses] == ["call-7"] * len(expected)


@pytest.mark.parametrize("modern", [False, True], ids=["older agent", "newer agent"])
def test_a_server_that_claims_every_resource_gets_nothing_of_anothers(
    site: Site,
    modern: bool,  # noqa: FBT001 - a case of this test
) -> None:
    raw = Raw(f"{site.url}/mcp", site.grant("agent", ("http_legacy", "bank")), modern)
    raw.open()
    said = read(raw.post("resources/read", {"uri": "bank://statement/7"}, 1))[-1]
    assert said["result"]["contents"][0]["text"] == "the bank's own"
    said = read(raw.post("resources/read", {"uri": "free://7"}, 2))[-1]
    assert said["result"]["contents"][0]["text"] == "its own"  # that one no one else speaks of
    said = read(raw.post("resources/read", {"uri": "tie://7"}, 3))[-1]
    assert "several servers" in said["error"]["message"]


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
@pytest.mark.parametrize("client", ["py2-legacy", "py2-modern", "ts1"])
@pytest.mark.parametrize("server", SERVERS)
def test_the_gateways_own_tool_name_is_its_own(
    site: Site,
    tmp_path: Path,
    server: str,
    client: str,
    together: bool,  # noqa: FBT001 - a case of this test
) -> None:
    token = site.grant("agent", (server,))
    url = f"{site.url}/mcp" if together else f"{site.url}/mcp/{server}"
    with agent(client, url, token, log=tmp_path / "client.log") as person:
        listed = person.tools()
        assert [name for name in listed if "eather" in name]
        plain = ["".join(c for c in name.lower() if c.isalnum()) for name in listed]
        assert not [name for name in plain if name.endswith("signoffawaitapproval")]
        names = [OURS, f"{server}__{OURS}"] if together else [OURS]
        for name in names:
            said = person.call(name, approval_id="apr_0")
            assert said.text == "There is no such approval of this agent."


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("server", ["http_legacy", "http_modern"])
def test_no_client_takes_one_servers_word_for_anothers(
    site: Site, honest: Bank, tmp_path: Path, client: str, server: str
) -> None:
    honest.free.clear()
    token = site.grant("agent", ("bank", server))
    with agent(client, f"{site.url}/mcp", token, log=tmp_path / "client.log") as person:
        asked = person.begin("bank__balance", progress=True)
        assert honest.asked.acquire(timeout=PATIENCE)
        for _ in range(3):  # each of its streams begins with answers to everything asked so far
            assert person.call(f"{server}__weather").text == "its own"
        assert not asked.done
        honest.free.set()
        assert asked.answer().text == "balance is 7"
        assert [note for note in asked.progress if note["message"] == FORGED] == []
