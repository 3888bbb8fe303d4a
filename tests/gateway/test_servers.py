"""servers.json as people have it: what is read, what is refused, what is never shown."""

import json
from typing import Any

import pytest

from gateway.servers import CommandServer, ServerProblem, Servers, UrlServer, load_servers

ENVIRON = {"HOME": "/home/ann", "PWD": "/project", "TOKEN": "s3cret", "EMPTY": ""}


def load(entry: Any, name: str = "it") -> Servers:
    return load_servers(json.dumps({"mcpServers": {name: entry}}).encode(), ENVIRON)


def command(entry: dict[str, Any]) -> CommandServer:
    servers = load({"command": "run", **entry})
    assert servers.problems == ()
    server = servers.servers["it"]
    assert isinstance(server, CommandServer)
    return server


def url(entry: dict[str, Any]) -> UrlServer:
    servers = load(entry)
    assert servers.problems == ()
    server = servers.servers["it"]
    assert isinstance(server, UrlServer)
    return server


def problem(entry: Any, name: str = "it") -> str:
    servers = load(entry, name)
    assert servers.servers == {}
    (only,) = servers.problems
    assert only.server == name
    return only.text


ENTRY = '"git": {"command": "uvx", "args": ["mcp-server-git"]}'


@pytest.mark.parametrize(
    "text",
    [
        f'{{"mcpServers": {{{ENTRY}}}}}',
        f'{{"servers": {{{ENTRY}}}, "inputs": []}}',
        f"{{{ENTRY}}}",
        f'\ufeff{{"mcpServers": {{{ENTRY}}}}}',
        f'// VS Code\n{{"servers": {{\n/* mine */ {ENTRY},\n}},}}',
    ],
)
def test_every_hosts_file_is_read_as_it_is(text: str) -> None:
    servers = load_servers(text.encode(), {})
    assert servers.problems == ()
    assert servers.servers == {
        "git": CommandServer(
            name="git",
            command="uvx",
            args=("mcp-server-git",),
            written=("uvx", "mcp-server-git"),
        )
    }


def test_a_command_with_everything() -> None:
    entry = {
        "type": "stdio",
        "args": ["--key", "${TOKEN}"],
        "env": {"KEY": "Bearer ${env:TOKEN}", "PORT": 8080, "NOT": None},
        "cwd": "${workspaceFolder}/sub",
        "timeout": 60,
        "shared": True,
        "policy": "strict",
        "trust_annotations": True,
        "autoApprove": ["x"],
    }
    assert command(entry) == CommandServer(
        name="it",
        command="run",
        args=("--key", "s3cret"),
        env={"KEY": "Bearer s3cret", "PORT": "8080"},
        cwd="/project/sub",
        timeout=60.0,
        shared=True,
        policy="strict",
        trust_annotations=True,
        written=("run", "--key", "${TOKEN}"),
    )


def test_a_url_with_everything() -> None:
    entry = {
        "type": "http",
        "url": "https://${MCP_HOST:-mcp.example.com}/mcp?key=${TOKEN}",
        "headers": {"Authorization": "Bearer ${TOKEN}"},
        "timeout": 600_000,
    }
    assert url(entry) == UrlServer(
        name="it",
        url="https://mcp.example.com/mcp?key=s3cret",
        headers={"Authorization": "Bearer s3cret"},
        timeout=600.0,
        written="https://${MCP_HOST:-mcp.example.com}/mcp?key=${TOKEN}",
    )


def test_the_streamable_address_wins_where_a_host_has_two() -> None:
    entry = {"url": "https://a.example/sse", "httpUrl": "https://a.example/mcp"}
    assert url(entry).url == "https://a.example/mcp"


@pytest.mark.parametrize(
    ("written", "expanded"),
    [
        ("${TOKEN}", "s3cret"),
        ("a${TOKEN}b${env:TOKEN}", "as3cretbs3cret"),
        ("${userHome}/x", "/home/ann/x"),
        ("${NO:-}", ""),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY}", ""),
        ("${NO:-a:-b}", "a:-b"),
        ("$TOKEN $${TOKEN} {TOKEN}", "$TOKEN $s3cret {TOKEN}"),
    ],
)
def test_variables_are_put_in(written: str, expanded: str) -> None:
    assert command({"args": [written]}).args == (expanded,)


def test_braces_do_not_nest() -> None:
    assert "environment variable x" in problem({"command": "run", "args": ["${NO:-${x}"]})


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    text = b'{"mcpServers": {"it": {"command": "run", "args": ["${A}"]}}}'
    server = load_servers(text, {"A": "${B}", "B": "no"}).servers["it"]
    assert isinstance(server, CommandServer)
    assert server.args == ("${B}",)


def test_an_unset_variable_costs_its_server_only_and_all_are_told() -> None:
    text = json.dumps(
        {
            "mcpServers": {
                "good": {"command": "run"},
                "bad": {"command": "run", "args": ["${ONE}"], "env": {"K": "${env:TWO}"}},
                "off": {"command": "run", "args": ["${THREE}"], "disabled": True},
                "also-off": {"url": "nonsense", "enabled": False},
            }
        }
    ).encode()
    servers = load_servers(text, {})
    assert list(servers.servers) == ["good"]
    assert servers.disabled == ("off", "also-off")
    assert servers.problems == (
        ServerProblem("bad", '"args[0]" needs the environment variable ONE, which is not set'),
        ServerProblem("bad", '"env.K" needs the environment variable TWO, which is not set'),
    )
    assert str(servers.problems[0]).startswith('bad: "args[0]"')


def test_secrets_are_in_no_repr_and_no_problem() -> None:
    servers = load_servers(
        json.dumps(
            {
                "mcpServers": {
                    "a": {"command": "run", "args": ["${TOKEN}"], "env": {"K": "${TOKEN}"}},
                    "b": {"url": "https://h/${TOKEN}", "headers": {"A": "${TOKEN}"}},
                    "c": {"url": "${TOKEN}", "headers": {"A": "${TOKEN}\n"}, "cwd": 1},
                    "d": {"command": "run", "env": {"A=B": "${TOKEN}"}, "args": ["${TOKEN}\0"]},
                }
            }
        ).encode(),
        ENVIRON,
    )
    assert list(servers.servers) == ["a", "b"]
    assert {each.server for each in servers.problems} == {"c", "d"}
    assert "s3cret" not in repr(servers)


@pytest.mark.parametrize(
    ("name", "better"),
    [("my server", "my-server"), ("a.b/c", "a-b-c"), ("é", "my-server"), ("x" * 65, "x" * 64)],
)
def test_a_name_that_cannot_stand_in_an_address_is_told_a_better_one(
    name: str, better: str
) -> None:
    assert f'write "{better}"' in problem({"command": "run"}, name)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ([], '"command" or "url"'),
        ({}, 'either "command" or "url"'),
        ({"command": "a", "url": "https://a"}, 'either "command" or "url"'),
        ({"command": 1}, '"command" must be text'),
        ({"command": ""}, "is empty"),
        ({"command": "a", "args": "b"}, "list of texts"),
        ({"command": "a", "args": [1]}, "list of texts"),
        ({"command": "a", "env": ["x"]}, "object of texts"),
        ({"command": "a", "env": {"X": True}}, '"env.X" must be text'),
        ({"command": "a", "type": "http"}, '"stdio"'),
        ({"command": "a", "timeout": 0}, "number of seconds"),
        ({"command": "a", "timeout": True}, "number of seconds"),
        ({"command": "a", "shared": "yes"}, "true or false"),
        ({"command": "a", "protocol": "2025"}, '"protocol" must be "auto"'),
        ({"command": "a", "policy": {}}, '"policy" must be text'),
        ({"command": "a", "args": ["${input:key}"]}, "write ${VARIABLE}"),
        ({"url": "ftp://a/b"}, "https://host/mcp"),
        ({"url": "https://"}, "https://host/mcp"),
        ({"url": "https://[a"}, "https://host/mcp"),
        ({"url": "https://a/sse", "type": "sse"}, "Streamable HTTP"),
        ({"url": "https://a", "shared": True}, "for commands"),
        ({"url": "https://a", "headers": {"A b": "c"}}, "no header can take"),
        ({"url": "https://a", "headers": {"A": "b\r\nX: y"}}, "no header can take"),
        (
            {"url": "https://u:pw@a/mcp", "headers": {"authorization": "Bearer t"}},
            "there is an Authorization header too",
        ),
        ({"url": "https://a", "headers": {"X-A": "1", "x-a": "2"}}, '"x-a" is written twice'),
        ({"url": "https://a", "headers": {"Content-Length": "5"}}, "leave it out"),
        ({"url": "https://a", "headers": {"transfer-encoding": "chunked"}}, "leave it out"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_write(entry: Any, told: str) -> None:
    assert told in problem(entry)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "must be an object"),
        (b"\xff", "UTF-8"),
        (b'{"mcpServers": []}', "mcpServers must be an object"),
        (b'{"x": {"y": 1}}', "has no servers"),
        (b'{"x": 1}', "has no servers"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_none_is_told_as_a_whole(text: bytes, told: str) -> None:
    servers = load_servers(text, {})
    assert servers.servers == {}
    (only,) = servers.problems
    assert only.server == ""
    assert told in only.text


def test_a_name_that_stands_twice_is_told() -> None:
    text = b'{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}'
    servers = load_servers(text, {})
    assert "twice" in servers.problems[0].text


def test_an_empty_file_has_no_servers_and_no_problem() -> None:
    for text in (b"{}", b'{"mcpServers": {}}'):
        assert load_servers(text, {}) == Servers(servers={})


@pytest.mark.parametrize(
    ("written", "seconds"), [(0.5, 0.5), (3600, 3600.0), (5000, 5.0), (60_000, 60.0)]
)
def test_a_timeout_is_seconds_up_to_an_hour_and_milliseconds_above(
    written: float, seconds: float
) -> None:
    assert command({"timeout": written}).timeout == seconds


@pytest.mark.parametrize("protocol", ["auto", "legacy", "modern"])
def test_the_revisions_a_server_speaks_may_be_written_down(protocol: str) -> None:
    assert command({"protocol": protocol}).protocol == protocol
    assert url({"url": "https://host/mcp", "protocol": protocol}).protocol == protocol
    assert command({}).protocol == "auto"
