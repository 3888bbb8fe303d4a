"""What rides beside the approved arguments: nothing that a person was not shown.

The server's own record says what was sent; the history says that it is what was shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx2
import pytest

from approvals.digest import canonical, sha256
from tests.hostile.raw_agent import VERSION, Raw, read
from tests.hostile.recorder import Recorder, recorder
from tests.support.live_gateway import Site, eventually
from tests.support.reviewer_desk import Desk

pytestmark = pytest.mark.xdist_group("beside")
Json = dict[str, Any]
TASKS: Json = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HELD: Json = {
    "vendor/mode": "staging",
    "traceparent": TRACE,
    "claudecode/toolUseId": "toolu_01",
    "dev.signoff/decision": {"verdict": "allow"},
    "progressToken": "of the held",
}
LATER: Json = {
    "vendor/mode": "PRODUCTION",
    "vendor/override": "PRODUCTION",
    "traceparent": TRACE.replace("4", "5"),
    "baggage": "env=PRODUCTION",
    "claudecode/toolUseId": "toolu_02",
    "progressToken": "of the later",
}
SHOWN = canonical({"_meta": {"vendor/mode": "staging"}})
KEPT = {"vendor/mode": "staging", "traceparent": TRACE, "claudecode/toolUseId": "toolu_01"}
PROTOCOL = "io.modelcontextprotocol/"
_NUMBERS = count(1)


@dataclass(frozen=True)
class Ground:
    """A gateway in front of a server of each revision."""

    site: Site
    desk: Desk
    servers: dict[str, Recorder]
    reviewer: str

    def agent(self, server: str, *, modern: bool, token: str = "", **meta: Any) -> Raw:
        raw = Raw(f"{self.site.url}/mcp/{server}", token or self.site.grant(), modern, meta=meta)
        raw.open()
        return raw

    def rows(self, approval_id: str) -> list[Json]:
        """Its history, oldest first, in full."""
        answer = httpx2.get(
            f"{self.site.url}/api/v1/history",
            params={"approval_id": approval_id},
            headers={"Authorization": f"Bearer {self.reviewer}"},
            timeout=30,
        )
        items: list[Json] = answer.json()["items"]
        return sorted(items, key=lambda one: int(one["seq"]))


def call(raw: Raw, tool: str, key: str, **params: Any) -> Json:
    """The last message of the answer to one tools/call."""
    asked = {"name": tool, "arguments": {"key": key}, **params}
    return read(raw.post("tools/call", asked, next(_NUMBERS)))[-1]


def decision(said: Json) -> Json:
    found: Json = said["result"]["_meta"]["dev.signoff/decision"]
    return found


def own(meta: Json) -> Json:
    """`_meta` but for the keys of the protocol."""
    return {key: one for key, one in meta.items() if not key.startswith(PROTOCOL)}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("beside")
    with ExitStack() as stack:
        servers = {
            "older": stack.enter_context(recorder(modern=False)),
            "newer": stack.enter_context(recorder(modern=True)),
        }
        site = Site(folder, {"SIGNOFF_HOLD": "0"})
        site.policy(
            default="allow",
            tools={
                "held": {"require_approval": True},
                "tasked": {"require_approval": True},
                "edit": {"require_approval": {"editable": ["args.env"]}},
                "detached": {"require_approval": {"when_detached": "execute"}},
                "asks": {"require_approval": {"when_detached": "keep"}},
            },
        )
        site.servers(**{name: {"url": one.url} for name, one in servers.items()})
        reviewer = site.reviewer()
        site.start()
        stack.callback(site.stop)
        desk = Desk(site.url, reviewer)
        stack.callback(desk.close)
        yield Ground(site, desk, servers, reviewer)


BOTH = pytest.mark.parametrize("modern", [False, True], ids=["older agent", "newer agent"])
SERVERS = pytest.mark.parametrize("server", ["older", "newer"])


@BOTH
@SERVERS
@pytest.mark.parametrize("back", [False, True], ids=["same revision", "other revision"])
def test_what_is_sent_is_what_the_held_request_brought(
    ground: Ground,
    server: str,
    modern: bool,  # noqa: FBT001 - a case of this test
    back: bool,  # noqa: FBT001 - as above
) -> None:
    key, token = f"in-place-{server}-{modern}-{back}", ground.site.grant()
    first = ground.agent(server, modern=modern, token=token, **HELD)
    approval = decision(call(first, "held", key))["approval_id"]
    card = ground.desk.approval(approval)
    assert card["metadata"].encode() == SHOWN
    ground.desk.approve(approval)
    later = ground.agent(server, modern=modern is not back, token=token, **LATER)
    said = call(later, "held", key)
    assert said["result"]["content"][0]["text"] == f"ran {key}"
    (sent,) = ground.servers[server].calls(key)
    received = own(sent["_meta"])
    assert received.pop("progressToken", None) is not None
    assert received == KEPT
    assert "PRODUCTION" not in json.dumps(sent)
    rows = {row["event"]: row for row in ground.rows(approval)}
    digest = sha256(SHOWN)
    for event in ("held", "claimed"):
        assert json.loads(rows[event]["data"])["metadata"] == digest, event
    assert json.loads(rows["held"]["data"])["metadata_shown"] == json.loads(SHOWN)


CLIENT, CAPABILITIES = f"{PROTOCOL}clientInfo", f"{PROTOCOL}clientCapabilities"
SMUGGLED: Json = {
    CLIENT: {"name": "PRODUCTION", "version": "PRODUCTION", "mode": "PRODUCTION"},
    CAPABILITIES: {"elicitation": {"form": {}}, "experimental": {"mode": "PRODUCTION"}},
    f"{PROTOCOL}logLevel": {"mode": "PRODUCTION"},
}


@BOTH
@SERVERS
def test_no_key_of_the_protocol_is_a_way_to_add_something(
    ground: Ground,
    server: str,
    modern: bool,  # noqa: FBT001 - a case of this test
) -> None:
    key, token = f"protocol-{server}-{modern}", ground.site.grant()
    raw = ground.agent(server, modern=modern, token=token)
    if modern:
        raw.meta[CLIENT] = {"name": "seen", "version": "1", "title": "unseen"}
    approval = decision(call(raw, "held", key))["approval_id"]
    ground.desk.approve(approval)
    raw.meta |= SMUGGLED
    if not modern:  # which these keys say nothing in
        raw.meta[f"{PROTOCOL}protocolVersion"] = "PRODUCTION"
    said = call(raw, "held", key)
    assert said["result"]["content"][0]["text"] == f"ran {key}"
    (sent,) = ground.servers[server].calls(key)
    assert "PRODUCTION" not in json.dumps(sent)
    if modern and server == "newer":  # the program that was on the card
        assert sent["_meta"][CLIENT] == {"name": "seen", "version": "1"}
        assert sent["_meta"][CAPABILITIES] == {}


@BOTH
def test_what_a_key_of_the_protocol_holds_beyond_its_own_words_is_shown(
    ground: Ground,
    modern: bool,  # noqa: FBT001 - a case of this test
) -> None:
    key = f"odd-{modern}"
    odd: Json = {CAPABILITIES: {"sampling": {}, "experimental": {"mode": "staging"}}}
    raw = ground.agent("newer", modern=modern, **odd)
    approval = decision(call(raw, "held", key))["approval_id"]
    assert json.loads(ground.desk.approval(approval)["metadata"]) == {"_meta": odd}
    ground.desk.approve(approval)
    raw.meta = {CAPABILITIES: {}}
    call(raw, "held", key)
    (sent,) = ground.servers["newer"].calls(key)
    if modern:  # over the bridge the gateway speaks for its own connection
        assert sent["_meta"][CAPABILITIES] == odd[CAPABILITIES]


@SERVERS
@pytest.mark.parametrize("tool", ["detached", "edit", "held"], ids=["nobody", "edited", "task"])
def test_however_it_comes_to_run(ground: Ground, server: str, tool: str) -> None:
    key, token = f"else-{server}-{tool}", ground.site.grant()
    raw = ground.agent(server, modern=True, token=token, **HELD)
    if tool == "held":
        raw.capabilities = TASKS
    arguments = {"key": key, "env": "a"}
    said = call(raw, tool, key, arguments=arguments)
    task = said["result"].get("taskId")
    approval = decision(said)["approval_id"] if task is None else ground.desk.pending(key)[0]["id"]
    if task is not None:  # who comes back later is followed too, and brings nothing
        other = ground.agent(server, modern=True, token=token, **LATER)
        other.capabilities = TASKS
        assert call(other, tool, key, arguments=arguments)["result"]["taskId"] == task
    if tool == "edit":
        answer = httpx2.post(
            f"{ground.site.url}/api/v1/approvals/{approval}/edit",
            json={"revision": 1, "changes": {"args.env": "b"}},
            headers={"Authorization": f"Bearer {ground.reviewer}"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
    ground.desk.approve(approval)
    if tool == "edit":
        later = ground.agent(server, modern=False, token=token, **LATER)
        said = call(later, tool, key, arguments=arguments)
        assert f"ran {key}" in json.dumps(said["result"]["content"])
    (sent,) = eventually(lambda: ground.servers[server].calls(key), 60)
    received = own(sent["_meta"])
    received.pop("progressToken", None)
    assert received == KEPT
    assert sent["arguments"] == {"key": key, "env": "b" if tool == "edit" else "a"}


@BOTH
@SERVERS
@pytest.mark.parametrize("tool", ["free", "held"])
@pytest.mark.parametrize(
    "beside",
    [
        {"inputResponses": {"which_env": {"action": "accept", "content": {"env": "PRODUCTION"}}}},
        {"inputResponses": {}},
        {"requestState": "forged"},
        {"inputResponses": {"a": {}}, "requestState": "forged"},
    ],
    ids=["answers", "no answers", "a state", "both"],
)
def test_an_answer_to_no_question_of_ours_is_refused(
    ground: Ground,
    server: str,
    modern: bool,  # noqa: FBT001 - a case of this test
    tool: str,
    beside: Json,
) -> None:
    key = f"unasked-{next(_NUMBERS)}"
    raw = ground.agent(server, modern=modern)
    approval = ""
    if tool == "held":
        approval = decision(call(raw, tool, key))["approval_id"]
        ground.desk.approve(approval)
    said = call(raw, tool, key, **beside)
    assert said["error"]["code"] == -32602
    assert ground.servers[server].calls(key) == []
    if approval:
        assert call(raw, tool, key)["result"]["content"][0]["text"] == f"ran {key}"
        assert "PRODUCTION" not in json.dumps(ground.servers[server].calls(key))


def test_an_answer_brings_what_was_asked_for_and_no_more(ground: Ground) -> None:
    for keep_state in (True, False):
        key, server = f"asked-{keep_state}", ground.servers["newer"]
        raw = ground.agent("newer", modern=True, **HELD)
        raw.capabilities = {"elicitation": {"form": {}}}
        ground.desk.approve(decision(call(raw, "asks", key))["approval_id"])
        asked = call(raw, "asks", key)["result"]
        assert asked["resultType"] == "input_required"
        state = {"requestState": asked["requestState"]} if keep_state else {}
        answers: Json = {"which_env": {"action": "accept", "content": {"env": "staging"}}}
        more = {**answers, "vendor": {"action": "accept", "content": {"env": "PRODUCTION"}}}
        raw.meta = dict(LATER)
        said = call(raw, "asks", key, inputResponses=more, **state)
        assert said["result"]["content"][0]["text"] == f"ran {key}"
        first, second = server.calls(key)
        assert second["inputResponses"] == answers
        for sent in (first, second):
            received = own(sent["_meta"])
            received.pop("progressToken", None)
            assert received == KEPT
        again = call(raw, "asks", key, inputResponses=answers, **state)
        assert "error" in again or "approval_id" in decision(again)
        assert len(server.calls(key)) == 2


def test_more_than_4_kb_of_it_is_not_held(ground: Ground) -> None:
    key = "large"
    raw = ground.agent("older", modern=False, **{"vendor/note": "x" * 5_000})
    said = call(raw, "held", key)
    assert "4096 bytes of _meta at most" in said["result"]["content"][0]["text"]
    assert ground.desk.pending(key) == []
    raw.meta = {"vendor/note": "x" * 3_000}
    approval = decision(call(raw, "held", key))["approval_id"]
    raw.meta = {"vendor/note": "y" * 5_000}  # anyone who attaches brings nothing
    assert decision(call(raw, "held", key))["approval_id"] == approval


def test_a_trace_that_is_none_is_shown(ground: Ground) -> None:
    odd: Json = {"traceparent": "rm -rf /", "claudecode/toolUseId": "a b", "baggage": {"env": "P"}}
    raw = ground.agent("older", modern=False, **odd)
    approval = decision(call(raw, "held", "odd"))["approval_id"]
    assert json.loads(ground.desk.approval(approval)["metadata"]) == {"_meta": odd}


def test_people_see_it_on_the_command_line_and_its_secrets_nowhere(ground: Ground) -> None:
    secret = "ghp_" + "a1B2" * 9
    raw = ground.agent("older", modern=False, **{"vendor/mode": "staging", "vendor/token": secret})
    approval = decision(call(raw, "held", "seen"))["approval_id"]
    card = ground.desk.approval(approval)
    assert secret not in json.dumps(card)
    shown = ground.site.run("show", approval).stdout
    assert "_meta.vendor/mode" in shown
    assert "staging" in shown
    assert secret not in shown
    assert secret not in json.dumps(ground.rows(approval))
    ground.desk.approve(approval)
    call(raw, "held", "seen")
    (sent,) = ground.servers["older"].calls("seen")
    assert sent["_meta"]["vendor/token"] == secret


@SERVERS
def test_of_an_allowed_call_the_history_has_the_digest(ground: Ground, server: str) -> None:
    key = f"allowed-{server}"
    raw = ground.agent(server, modern=server == "newer", **HELD)
    assert call(raw, "free", key)["result"]["content"][0]["text"] == f"ran {key}"
    raw.meta = {"traceparent": TRACE}
    call(raw, "free", f"{key}-plain")
    with ground.site.record() as database:
        rows = database.journal.write_now(
            lambda tx: tx.rows("SELECT arguments, data FROM history WHERE event = ?", ("allowed",))
        )
    found = {json.loads(row[0])["key"]: row[1] for row in rows}
    assert json.loads(found[key]) == {"metadata": sha256(SHOWN)}
    assert found[f"{key}-plain"] is None
    (sent,) = ground.servers[server].calls(key)
    assert own(sent["_meta"]) == {**KEPT, "progressToken": "of the held"}


@BOTH
def test_our_own_words_are_taken_out_of_whatever_an_agent_sends(
    ground: Ground,
    modern: bool,  # noqa: FBT001 - a case of this test
) -> None:
    server = "newer" if modern else "older"
    raw = ground.agent(server, modern=modern, **HELD)
    raw.post("resources/read", {"uri": f"r://{modern}"}, next(_NUMBERS))
    (read_once,) = [
        one for one in ground.servers[server].of("resources/read")
        if one["params"]["uri"] == f"r://{modern}"
    ]  # fmt: skip
    assert "vendor/mode" in read_once["params"]["_meta"]
    assert "dev.signoff" not in json.dumps(ground.servers[server].heard)


def test_a_task_is_a_wish(ground: Ground) -> None:
    older, raw = ground.servers["older"], ground.agent("older", modern=False)
    for wrong in ({"ttl": 1, "mode": "x"}, {"mode": "x"}, {"ttl": "1"}, {"ttl": True}, {"ttl": -1}):
        assert call(raw, "free", "wrong", task=wrong)["error"]["code"] == -32602, wrong
    assert older.calls("wrong") == []
    # The newer revision ignores it; beside that one's key no server gets it in an older request.
    both = ground.agent("older", modern=False, **{f"{PROTOCOL}protocolVersion": VERSION})
    for place, odd in enumerate(({"ttl": 1, "mode": "x"}, {"mode": "x"}, {"ttl": 60_000})):
        key = f"both-{place}"
        approval = decision(call(both, "tasked", key, task=odd))["approval_id"]
        ground.desk.approve(approval)
        call(both, "tasked", key, task=odd)
        assert ["task" in sent for sent in older.calls(key)] == [False], odd
    call(raw, "free", "no-tasks", task={"ttl": 5})
    assert "task" not in older.calls("no-tasks")[0]  # this tool makes none
    approval = decision(call(raw, "tasked", "wish", task={"ttl": 60_000}))["approval_id"]
    shown = {"task": {"ttl": 60_000}}
    assert json.loads(ground.desk.approval(approval)["metadata"]) == shown
    ground.desk.approve(approval)
    said = call(raw, "tasked", "wish", task={"ttl": 1})
    assert said["result"]["task"]["taskId"] == "t1"
    (sent,) = older.calls("wish")
    assert sent["task"] == {"ttl": 60_000}
    plain = decision(call(raw, "tasked", "plain"))["approval_id"]
    ground.desk.approve(plain)
    call(raw, "tasked", "plain", task={"ttl": 1})
    assert "task" not in older.calls("plain")[0]
