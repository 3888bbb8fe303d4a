"""Rules that people wrote, and calls that once slipped through them: a real client, a real server.

What stops a call is the rule, not the schema: the server of these tests takes anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.conftest import Scene
from tests.support.live_gateway import Site, witness
from tests.support.reviewer_desk import at_work

pytestmark = pytest.mark.xdist_group("closing")


def when(path: str, op: str, value: Any) -> list[dict[str, Any]]:
    return [{"path": path, "op": op, "value": value}]


TOOLS: dict[str, Any] = {
    "free": {  # more than three recipients; never by force
        "approve_if": [{"conditions": when("args.to[3]", "exists", True), "hold": "0s"}],
        "deny_if": [{"conditions": when("args.opts.force", "exists", True)}],
    },
    "held": {  # only staging is free; not on the list
        "approve_if": [
            {"conditions": when("args.env", "neq", "staging"), "hold": "0s"},
            {"conditions": when("args.command", "not_in", ["git status"]), "hold": "0s"},
        ]
    },
    "limited": {  # only our own addresses, every one of them
        "require": [{"conditions": when("args.to[*]", "ends_with", "@example.com")}]
    },
    "slow": {  # outside the project a person is asked
        "approve_if": [
            {"conditions": when("args.path", "not_regex", "^/srv/project/"), "hold": "0s"},
            {"conditions": when("args.path", "contains", ".."), "hold": "0s"},
        ]
    },
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("closing")
    with witness(folder) as server:
        site = Site(folder)
        site.policy(tools=TOOLS)
        site.servers(witness={"url": server.url})
        with at_work(site) as desk:
            yield Scene(site, server, desk)


CALLS: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("free", {"to": ["a@x", "b@x"]}, True),
    ("free", {}, True),
    ("free", {"to": ["a@x", "b@x", "c@x", "d@x"]}, False),
    ("free", {"to": "a@x, b@x, c@x, d@x"}, False),
    ("free", {"to": {"3": "d@x"}}, False),
    ("free", {"opts": {}}, True),
    ("free", {"opts": {"force": False}}, False),
    ("free", {"opts": '{"force":true}'}, False),
    ("free", {"opts": [{"force": True}]}, False),
    ("held", {"env": "staging", "command": "git status"}, True),
    ("held", {"env": "prod", "command": "git status"}, False),
    ("held", {"command": "git status"}, False),
    ("held", {"env": None, "command": "git status"}, False),
    ("held", {"env": "staging"}, False),
    ("limited", {"to": ["a@example.com", "b@example.com"]}, True),
    ("limited", {"to": ["a@example.com", "evil@other.org"]}, False),
    ("limited", {"to": []}, False),
    ("limited", {"to": "a@example.com"}, False),
    ("limited", {}, False),
    ("slow", {"path": "/srv/project/a.txt"}, True),
    ("slow", {"path": "/srv/project/../../etc/passwd"}, False),
    ("slow", {"path": "/etc/passwd"}, False),
    ("slow", {"path": ["/srv/project/a.txt"]}, False),
    ("slow", {}, False),
)


@pytest.mark.parametrize("client", ["py2-legacy", "py2-modern"])
def test_what_slipped_through_is_stopped_and_what_was_meant_passes(
    scene: Scene, key: str, client: str
) -> None:
    with scene.agent(client) as agent:
        for number, (tool, arguments, passes) in enumerate(CALLS):
            own = f"{key} {number}"
            answer = agent.call(tool, key=own, seconds=0, **arguments)
            assert (not answer.refused, scene.ran(own)) == (passes, int(passes)), (tool, arguments)
