"""`policy check` on rules that let more through than they seem to, and on what nothing reads."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.policy.problems import PolicyProblem
from gateway.policy.unread import unread_arguments, unread_servers
from tests.policy.asking import ask, found, one, policy, when, word

AT = "/tools/t/{}/0/conditions/{}"


def warned(**entry: Any) -> dict[str, str]:
    assert found(one(**entry)) == {}
    return found(one(**entry), "warning")


def rules(*conditions: Any) -> list[Any]:
    return [{"conditions": [each for one in conditions for each in one]}]


@pytest.mark.parametrize("key", ["deny_if", "approve_if"])
@pytest.mark.parametrize(
    ("op", "value"),
    [("neq", "staging"), ("not_in", ["a"]), ("not_regex", "^a"), ("not_contains", "a")],
)
def test_exists_beside_a_negative_operator_is_said_to_let_absence_through(
    key: str, op: str, value: Any
) -> None:
    entry = {key: rules(when("args.env", op, value), when("args.env", "exists", True))}
    said = warned(**entry)
    assert list(said) == [AT.format(key, 1)]
    assert "call without `args.env`" in said[AT.format(key, 1)]
    assert word(ask(one(**entry), args={})) == "allow"  # it does what the warning says
    following = {key: rules(when("args.env", op, value))}
    assert warned(**following) == {}
    assert word(ask(one(**following), args={})) != "allow"


def test_exists_elsewhere_is_no_doubt() -> None:
    both = rules(when("args.env", "neq", "x"), when("args.env", "exists", True))
    assert warned(require=both) == {}
    assert warned(deny_if=rules(when("args.a", "neq", "x"), when("args.b", "exists", True))) == {}
    assert warned(deny_if=rules(when("args.a", "neq", 1), when("args.a", "exists", False))) == {}


@pytest.mark.parametrize(
    ("path", "pattern", "passes"),
    [
        ("args.to", "@example.com$", "a@examplexcom"),
        ("args.to[*]", r"^[^@]+@mail.example\.org$", "a@mailxexample.org"),
        ("args.url", "^https://api.example.com/", "https://apixexample.com/"),
        ("args.url", r"^https://([a-z]+\.)?example.com(/|$)", "https://examplexcom"),
        ("args.host", "^db.internal$", "dbxinternal"),
        ("args.q", "example.com", "examplexcom"),
    ],
)
def test_a_bare_dot_in_a_host_is_warned_of(path: str, pattern: str, passes: str) -> None:
    said = warned(require=rules(when(path, "regex", pattern)))
    place = AT.format("require", 0)
    assert "is any character" in said[place]
    value: Any = [passes] if "[*]" in path else passes
    name = path.removeprefix("args.").removesuffix("[*]")
    assert word(ask(one(require=rules(when(path, "regex", pattern))), args={name: value})) == (
        "allow"
    )


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("args.to", r"@example\.com$"),
        ("args.url", r"^https://[a-z.]+\.example\.com/"),
        ("args.text", "^.*report.*$"),
        ("args.text", "v1.2"),
        ("args.command", r"^git (status|log)$"),
        ("args.n", "^a.b$"),
    ],
)
def test_other_dots_are_not(path: str, pattern: str) -> None:
    assert "is any character" not in str(warned(require=rules(when(path, "regex", pattern))))


FOLDER = when("args.path", "regex", "^/srv/project/")


@pytest.mark.parametrize(
    "entry",
    [
        {"require": rules(FOLDER)},
        {"require": rules(when("args.path", "starts_with", "/srv/project/"))},
        {"approve_if": rules(when("args.path", "not_regex", "^/srv/project/"))},
        {"deny_if": rules(when("args.path", "not_regex", r"^/srv/project/[a-z]*"))},
        {"require": rules(when("args.path", "regex", r"^C:\\work\\"))},
        {"require": rules(when("args.url", "starts_with", "https://example.com/public/"))},
    ],
)
def test_a_folder_that_dots_lead_out_of_is_warned_of(entry: Any) -> None:
    said = warned(**entry)
    assert len(said) == 1
    (text,) = said.values()
    assert "`..` leads out of" in text


@pytest.mark.parametrize(
    "entry",
    [
        {"require": rules(FOLDER), "deny_if": rules(when("args.path", "contains", ".."))},
        {"require": rules(FOLDER), "approve_if": rules(when("args.path", "regex", r"\.\."))},
        {"require": rules(FOLDER, when("args.path", "not_contains", ".."))},
        {"require": rules(when("args.path", "regex", r"^/srv/project/[a-z0-9_]+$"))},
        {"require": rules(FOLDER), "require_approval": True},
        {"require": rules(when("args.name", "starts_with", "report-"))},
        {"deny_if": rules(when("args.path", "regex", "^/etc/"))},
    ],
)
def test_a_folder_that_is_covered_is_not(entry: Any) -> None:
    assert "leads out of" not in str(warned(**entry))


def test_the_advice_on_dots_can_be_followed() -> None:
    more = {"deny_if": rules(when("args.path", "contains", ".."))}
    entry = {"require": rules(FOLDER), **more}
    assert word(ask(one(**entry), args={"path": "/srv/project/../../etc/passwd"})) == "deny"
    assert word(ask(one(**entry), args={"path": "/srv/project/a.txt"})) == "allow"
    everywhere = {"all_tools": more, **one(require=rules(FOLDER))}
    assert found(everywhere, "warning") == {}


@pytest.mark.parametrize("path", ["client.name", "session.calls"])
@pytest.mark.parametrize("key", ["deny_if", "require", "approve_if"])
def test_facts_that_the_agent_chooses_are_warned_of(path: str, key: str) -> None:
    value: Any = 5 if path == "session.calls" else "x"
    assert list(warned(**{key: rules(when(path, "eq", value))})) == [AT.format(key, 0)]
    assert warned(**{key: rules(when("grant.label", "eq", "x"))}) == {}


def test_a_group_nobody_names_is_warned_of() -> None:
    document = {"reviewers": {"ops": ["alice"], "old": ["bob"]}, "approval": {"reviewers": ["ops"]}}
    assert list(found(document, "warning")) == ["/reviewers/old"]
    inside = {"reviewers": {"ops": ["alice"]}, **one(require_approval={"reviewers": ["ops"]})}
    assert found(inside, "warning") == {}


SCHEMAS = {
    "mail": {
        "t": {
            "type": "object",
            "properties": {
                "to": {"type": "array", "items": {"type": "string"}},
                "meta": {"type": "object", "properties": {"id": {"type": "string"}}},
                "free": {"type": "object"},
                "odd": {"anyOf": [{"type": "object"}, {"type": "string"}]},
            },
        },
        "u": {"type": "object", "properties": {"only_here": {}}},
    }
}


def unread(document: Any) -> dict[str, str]:
    listed: list[PolicyProblem] = list(unread_arguments(policy(document), SCHEMAS))
    assert all(problem.severity == "warning" for problem in listed)
    return {problem.pointer: f"{problem.what} {problem.write}" for problem in listed}


@pytest.mark.parametrize(
    "path", ["args.to[*]", "args.to[0]", "args.meta.id", "args.free.any.thing", "args.odd.x"]
)
def test_arguments_of_the_pinned_schema_are_known(path: str) -> None:
    assert unread(one(deny_if=rules(when(path, "eq", "x")))) == {}


@pytest.mark.parametrize("path", ["args.too[*]", "args.meta.idd", "args.recipient"])
def test_an_argument_the_pinned_schema_does_not_have_is_warned_of(path: str) -> None:
    entry = one(deny_if=rules(when(path, "eq", "x")), redact=["args.pin"], effect="x:{args.key}")
    said = unread(entry)
    assert list(said) == [AT.format("deny_if", 0), "/tools/t/redact/0", "/tools/t/effect"]
    assert (
        'Did you mean "to"?'
        in unread(one(deny_if=rules(when("args.too", "eq", "x"))))[AT.format("deny_if", 0)]
    )


def test_a_glob_is_asked_of_every_tool_it_means() -> None:
    assert unread({"tools": {"*": {"deny_if": rules(when("args.only_here", "eq", 1))}}}) == {}
    assert unread({"all_tools": {"deny_if": rules(when("args.nowhere", "eq", 1))}})


def test_a_tool_its_server_does_not_list_is_warned_of() -> None:
    assert list(unread({"servers": {"mail": {"tools": {"tt": {}}}}})) == ["/servers/mail/tools/tt"]
    assert unread({"servers": {"mail": {"tools": {"t": {}, "z*": {}}}}}) == {}
    assert unread({"tools": {"elsewhere": {}}}) == {}  # of a server that has not listed yet


def test_a_section_of_a_server_that_is_nowhere_is_warned_of() -> None:
    document = policy({"servers": {"mail": {}, "mial": {}}})
    (problem,) = unread_servers(document, {"mail"})
    assert (problem.pointer, "mail" in problem.write) == ("/servers/mial", True)
