"""A freeze stops every method towards a server, at its own URL and at the URL of all servers, and
says so. Openings and lists stay, so that a host does not take the server for broken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hostile.impostor import impostor
from tests.hostile.raw_agent import Raw, read
from tests.support.live_gateway import Site, Witness, eventually, witness

pytestmark = pytest.mark.xdist_group("frozen")
Json = dict[str, Any]
_COMPLETED = {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": ""}}
CALL = ("tools/call", {"name": "free", "arguments": {"key": "k"}})
BOTH: tuple[tuple[str, Json], ...] = (
    CALL,
    ("resources/read", {"uri": "evil://r"}),
    ("prompts/get", {"name": "p"}),
    ("completion/complete", _COMPLETED),
)
OLDER: tuple[tuple[str, Json], ...] = (
    ("resources/subscribe", {"uri": "evil://r"}),
    ("resources/unsubscribe", {"uri": "evil://r"}),
    ("logging/setLevel", {"level": "debug"}),
    ("tasks/list", {}),
    *((f"tasks/{what}", {"taskId": "t"}) for what in ("get", "result", "cancel")),
)
NEWER: tuple[tuple[str, Json], ...] = (
    ("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["evil://r"]}}),
    *((f"tasks/{what}", {"taskId": "t", "inputResponses": {}}) for what in ("get", "update")),
    ("tasks/cancel", {"taskId": "t"}),
)
TASKS: Json = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Witness]]:
    folder = tmp_path_factory.mktemp("frozen")
    with witness(folder) as remembering, impostor(modern=False) as url:
        site = Site(folder, {"SIGNOFF_HOLD": "0"})
        site.policy(default="allow")
        site.servers(w={"url": remembering.url}, evil={"url": url})
        site.start()
        try:
            yield site, remembering
        finally:
            site.stop()


@pytest.mark.parametrize("kind", ["everything", "server", "grant"])
@pytest.mark.parametrize("modern", [False, True], ids=["older agent", "newer agent"])
def test_while_frozen_no_method_reaches_the_server_and_the_agent_is_told(
    ground: tuple[Site, Witness],
    kind: str,
    modern: bool,  # noqa: FBT001 - a case of this test
) -> None:
    site, remembering = ground
    label = f"agent-{kind}-{modern}"
    raw = Raw(f"{site.url}/mcp/w", site.grant(label, ("w",)), modern, capabilities=TASKS)
    raw.open()
    assert "result" in read(raw.post(*CALL, 1))[-1]
    name = {"everything": (), "server": ("w",), "grant": (label,)}[kind]
    site.run("freeze", kind, *name)
    try:
        eventually(lambda: _stopped(read(raw.post(*CALL, 2))[-1]))
        before = len(remembering.methods())
        for number, (method, params) in enumerate((*BOTH, *(NEWER if modern else OLDER)), 3):
            said = read(raw.post(method, params, number))[-1]
            assert said["id"] == number
            assert _stopped(said), (method, said)
        assert remembering.methods()[before:] == []
        for number, method in enumerate(("tools/list", "resources/list", "prompts/list"), 20):
            raw.post(method, {}, number)  # whatever the server says to it, it is asked
        assert len(remembering.methods()) > before
    finally:
        site.run("thaw", kind, *name)
    eventually(lambda: not _stopped(read(raw.post(*CALL, 30))[-1]))
    before = len(remembering.methods())
    raw.post("resources/read", {"uri": "evil://r"}, 31)
    assert "resources/read" in remembering.methods()[before:]


@pytest.mark.parametrize("modern", [False, True], ids=["older agent", "newer agent"])
def test_at_the_url_of_all_servers_too(
    ground: tuple[Site, Witness],
    modern: bool,  # noqa: FBT001 - a case of this test
) -> None:
    site, _ = ground
    raw = Raw(f"{site.url}/mcp", site.grant(f"all-{modern}"), modern)
    raw.open()
    asked: list[tuple[str, Json]] = [
        ("resources/read", {"uri": "evil://r"}),
        ("prompts/get", {"name": "evil__p"}),
        ("completion/complete", {**_COMPLETED, "ref": {"type": "ref/prompt", "name": "evil__p"}}),
        ("tools/call", {"name": "evil__weather", "arguments": {}}),
    ]
    if not modern:
        asked += [("resources/subscribe", {"uri": "evil://r"})]
    # The gateway may still have to hear that the test before let everything go on.
    eventually(lambda: not _stopped(read(raw.post(*asked[0], 9))[-1]))
    for number, (method, params) in enumerate(asked, 1):
        assert "result" in read(raw.post(method, params, number))[-1], method
    site.run("freeze", "server", "evil")
    try:
        eventually(lambda: _stopped(read(raw.post(*asked[0], 20))[-1]))
        for number, (method, params) in enumerate(asked, 30):
            assert _stopped(read(raw.post(method, params, number))[-1]), method
        other: Json = {"name": "w__free", "arguments": {"key": "k"}}
        assert not _stopped(read(raw.post("tools/call", other, 50))[-1])
    finally:
        site.run("thaw", "server", "evil")
    site.run("freeze", "everything")
    try:
        if not modern:
            level = ("logging/setLevel", {"level": "debug"})
            eventually(lambda: _stopped(read(raw.post(*level, 60))[-1]))
    finally:
        site.run("thaw", "everything")


def _stopped(said: Json) -> bool:
    """Whether this is the gateway's own word that it was stopped."""
    if "error" in said:
        decision = (said["error"].get("data") or {}).get("dev.signoff/decision", {})
        assert not decision or "stopped" in said["error"]["message"]
    else:
        decision = (said["result"].get("_meta") or {}).get("dev.signoff/decision", {})
        assert not decision or "stopped" in json.dumps(said["result"]["content"])
    return bool(decision.get("rule") == "(frozen)")
