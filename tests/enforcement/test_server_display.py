"""What is confirmed of a server is what is shown, and every difference is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.enforcement.server_display import differences, digest, shown
from gateway.servers import Server, load_servers

RUN: dict[str, Any] = {"command": "npx", "args": ["srv"]}
CALL: dict[str, Any] = {"url": "https://h/mcp"}
TOKEN = "ghp_" + "a1B2" * 8


def one(entry: dict[str, Any]) -> Server:
    text = json.dumps({"mcpServers": {"x": entry}}).encode()
    return load_servers(text, {}).servers["x"]


def said(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [str(change) for change in differences(one(old).stated, one(new))]


@pytest.mark.parametrize(
    "name", ["PATH", "LD_PRELOAD", "NODE_OPTIONS", "PYTHONPATH", "DYLD_INSERT_LIBRARIES", "FOO"]
)
def test_the_value_of_a_variable_that_decides_what_is_loaded_is_shown(name: str) -> None:
    old = {**RUN, "env": {name: "/usr/lib/x"}}
    new = {**RUN, "env": {name: "/opt/evil"}}
    assert f"{name}=/opt/evil" in shown(one(new))
    assert digest(one(old)) != digest(one(new))
    assert said(old, new) == [f"variable {name}: was /usr/lib/x; is /opt/evil"]


def test_a_loaders_variable_is_shown_though_it_looks_like_a_secret() -> None:
    assert TOKEN in shown(one({**RUN, "env": {"LD_PRELOAD": TOKEN}}))


@pytest.mark.parametrize(("key", "entry"), [("env", RUN), ("headers", CALL)])
def test_a_secret_is_hidden_and_its_change_is_said(key: str, entry: dict[str, Any]) -> None:
    other = TOKEN[::-1]
    old = {**entry, key: {"API_KEY": TOKEN, "Mode": "a"}}
    new = {**entry, key: {"API_KEY": other, "Mode": "b"}}
    assert TOKEN not in shown(one(old))
    assert "Mode=b" in shown(one(new))
    what = {"env": "variable", "headers": "header"}[key]
    hidden = "(hidden, 36 characters)"
    assert said(old, new) == [
        f"{what} API_KEY: was {hidden}; is another one {hidden}",
        f"{what} Mode: was a; is b",
    ]


def test_what_came_and_what_went_is_said() -> None:
    old = {**RUN, "env": {"A": "1"}, "cwd": "/srv"}
    new = {"command": "npx", "args": ["srv", "a b"], "env": {"B": 2}, "shared": True}
    assert said(old, new) == [
        'command: was npx srv; is npx srv "a b"',
        "variable A: was 1; is not there",
        "variable B: was not there; is 2",
        "folder: was /srv; is not there",
        "one process for all agents: was not there; is true",
    ]
    assert said(RUN, CALL) == [
        "command: was npx srv; is not there",
        "URL: was not there; is https://h/mcp",
    ]


def test_one_process_for_all_agents_is_confirmed_and_entries_without_it_stay_confirmed() -> None:
    assert digest(one({**RUN, "shared": True})) != digest(one(RUN))
    assert "one process for all agents" in shown(one({**RUN, "shared": True}))
    assert digest(one({**RUN, "shared": False})) == digest(one(RUN))
    earlier = "1f0da64741b6b001d1341fe8978a4c4ab6e1713d887417511fe9a3287f8bfab8"
    assert digest(one(RUN)) == earlier  # as the release before wrote it


def test_values_cannot_be_taken_for_other_names() -> None:
    faked = shown(one({**RUN, "env": {"A": "1, PATH=/usr/bin"}}))
    assert '"1, PATH=/usr/bin"' in faked


def test_every_key_that_is_confirmed_is_shown() -> None:
    entry = {**RUN, "env": {"A": "1"}, "cwd": "/c", "policy": "p.json", "trust_annotations": True}
    before = shown(one(entry))
    for part in ("A=1", "in /c", "p.json", "its annotations are believed"):
        assert part in before
    assert differences("", one(entry)) == ()
