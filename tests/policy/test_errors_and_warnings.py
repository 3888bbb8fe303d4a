"""Every one at once, with its place, what is wrong and what to write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.policy import vocabulary
from gateway.policy.document import PolicyInvalid, check, load
from gateway.settings import Settings
from tests.policy.asking import Document, found, one, policy, problems, when


def pointers(text: bytes) -> list[str]:
    return [problem.pointer for problem in check(text)]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"{}x",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"version": "1", "default": NaN}',
        b'{"a": 1e400}',
        b'{"a": 01}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a": "\\ud800"}',
        b'{"version": "1", "default": "deny", "description": "\\ud800"}',
        b'{"version": "1", "default": "deny", "description": "a\\u0000"}',
        b'{"version": "1", "default": "deny", "tools": {"a\\u0000": {}}}',
    ],
)
def test_what_is_no_policy_at_all_is_one_clear_error(text: bytes) -> None:
    assert check(text)
    with pytest.raises(PolicyInvalid):
        load(text)


def test_every_error_is_listed_at_once() -> None:
    text = json.dumps(
        {
            "version": 1,
            "defualt": "deny",
            "hide": ["a b"],
            "tools": {
                "t": {
                    "deny_if": [{"conditions": when("arg.x", "eqals", 1)}],
                    "limits": [{"counter": "c", "window": "week", "max": "5", "scope": "grant"}],
                },
                "bad name": {},
            },
        }
    ).encode()
    assert set(pointers(text)) == {
        "/version",
        "/defualt",
        "/default",
        "/hide/0",
        "/tools/t/deny_if/0/conditions/0/path",
        "/tools/t/deny_if/0/conditions/0/op",
        "/tools/t/limits/0/window",
        "/tools/t/limits/0/max",
        "/tools/bad name",
    }
    assert all(problem.what and problem.write for problem in check(text))
    with pytest.raises(PolicyInvalid) as caught:
        load(text)
    assert {problem.pointer for problem in caught.value.problems} == set(pointers(text))


@pytest.mark.parametrize(
    ("document", "pointer", "advice"),
    [
        ({"tool": {}}, "/tool", '"tools"'),
        ({"default": "denny"}, "/default", '"deny"'),
        (one(denyif=[]), "/tools/t/denyif", '"deny_if"'),
        (one(deny_if=[{"condition": []}]), "/tools/t/deny_if/0/condition", '"conditions"'),
        (
            one(deny_if=[{"conditions": when("args.a", ">", 1)}]),
            "/tools/t/deny_if/0/conditions/0/op",
            '"gt"',
        ),
        (
            one(deny_if=[{"conditions": when("state.t.n", "gt", 1)}]),
            "/tools/t/deny_if/0/conditions/0/path",
            "limits",
        ),
        (
            one(deny_if=[{"conditions": when("args.a", "eq", None)}]),
            "/tools/t/deny_if/0/conditions/0/value",
            "exists",
        ),
        ({"all_tools": {"effect": "x"}}, "/all_tools/effect", "Write one of"),
    ],
)
def test_unknown_words_come_with_what_was_probably_meant(
    document: Document, pointer: str, advice: str
) -> None:
    assert advice in found(document)[pointer]


def test_duplicate_keys_are_errors_wherever_they_are() -> None:
    text = b"""{"version": "1", "default": "deny", "default": "allow",
      "tools": {"t": {"a/b~": 1, "deny_if": [{"conditions": [], "conditions": []}]}, "t": {}}}"""
    assert "/default" in pointers(text)
    assert "/tools/t" in pointers(text)
    nested = b"""{"version": "1", "default": "deny",
      "tools": {"t": {"deny_if": [{"conditions": [], "conditions": []}]}}}"""
    assert pointers(nested) == ["/tools/t/deny_if/0/conditions"]


def test_pointers_are_escaped_as_rfc_6901_says() -> None:
    assert list(found({"servers": {"a/b~c": {"x": 1}}})) == ["/servers/a~1b~0c/x"]


@pytest.mark.parametrize(
    ("op", "value"),
    [
        ("gt", "5"),
        ("gt", True),
        ("gt", [5]),
        ("in", "usd"),
        ("in", []),
        ("in", [["usd"]]),
        ("in", [None]),
        ("exists", "true"),
        ("exists", 1),
        ("regex", 5),
        ("regex", "(a"),
        ("regex", "(?=a)"),
        ("regex", r"(a)\1"),
        ("regex", "a" * 2000),
        ("regex", "(((a{1000}){1000}){1000})"),
        ("eq", None),
        ("eq", []),
        ("contains", {}),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error(op: str, value: Any) -> None:
    document = one(deny_if=[{"conditions": when("args.a", op, value)}])
    assert any(
        pointer.startswith("/tools/t/deny_if/0/conditions/0/value") for pointer in found(document)
    )


@pytest.mark.parametrize(
    "path",
    [
        "",
        "args",
        "args.",
        "args..a",
        "args.a[",
        "args.a[x]",
        "args.a[-1]",
        "args[a]",
        "amount",
        "tool",
        "tool.name",
        "tool.annotations",
        "tool.annotations.a.b",
        "tool.risk.x",
        "grant.id",
        "session",
        "args.a b",
        5,
        None,
        "args" + ".a" * 40,
    ],
)
def test_a_path_that_leads_nowhere_is_an_error(path: Any) -> None:
    document = one(deny_if=[{"conditions": when(path, "exists", True)}])
    assert list(found(document)) == ["/tools/t/deny_if/0/conditions/0/path"]


@pytest.mark.parametrize(
    "entry",
    [
        {"deny_if": [{"on_deny": "x"}]},
        {"deny_if": {}},
        {"deny_if": [5]},
        {"require": [{"conditions": []}]},
        {"deny_if": [{"conditions": [{"path": "args.a", "op": "exists"}]}]},
        {"deny_if": [{"conditions": "x"}]},
        {"deny_if": [{"conditions": [], "on_deny": ""}]},
        {"deny_if": [{"conditions": [], "on_deny": "x" * 1001}]},
        {"redact": ["password"]},
        {"effect": ""},
        {"effect": "x:{args.a"},
        {"effect": "x:{args.a[*]}"},
        {"effect": "x:{tool.risk}"},
        {"description": 5},
        [],
        None,
        True,
    ],
)
def test_a_malformed_entry_is_an_error(entry: Any) -> None:
    assert found({"tools": {"t": entry}})


def test_numbers_that_lose_digits_are_errors() -> None:
    text = b"""{"version": "1", "default": "deny", "tools": {"t": {"deny_if": [{"conditions":
      [{"path": "args.a", "op": "gt", "value": 0.1234567890123456789}]}]}}}"""
    assert "/tools/t/deny_if/0/conditions/0/value" in pointers(text)


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (one(deny_if=[{"conditions": []}], limits=[]), None),
        (one(deny_if=[{"conditions": []}], require_approval=True), "/tools/t/require_approval"),
        (one(deny_if=[{"conditions": []}, {"conditions": []}]), "/tools/t/deny_if/1"),
        (one(action="deny", deny_if=[{"conditions": []}]), "/tools/t/deny_if/0"),
        ({"hide": ["t"], **one()}, "/tools/t"),
        ({"hide": ["*"], **one()}, "/tools/t"),
        ({"hide": ["t"], "servers": {"s": one()}}, "/servers/s/tools/t"),
        ({"tools": {"*": {}}}, "/tools/*"),
        (
            one(limits=[{"counter": "c", "window": "day", "max": 0, "scope": "grant"}]),
            "/tools/t/limits/0/max",
        ),
        (
            one(require=[{"conditions": [{**when("args.l[*]", "eq", 1)[0], "match": "any"}]}]),
            "/tools/t/require/0/conditions/0",
        ),
        (
            one(deny_if=[{"conditions": when("tool.risk", "eq", "hihg")}]),
            "/tools/t/deny_if/0/conditions/0",
        ),
        (one(effect="same"), "/tools/t/effect"),
        ({"hide": ["a", "a"]}, "/hide/1"),
    ],
)
def test_what_is_suspicious_is_warned_of(document: Document, pointer: str | None) -> None:
    assert found(document) == {}
    warnings = list(found(document, "warning"))
    assert warnings == ([] if pointer is None else [pointer])
    assert len(policy(document).warnings) == len(warnings)


@pytest.mark.parametrize(
    "conditions",
    [
        [*when("args.a", "gt", 5), *when("args.a", "lt", 3)],
        [*when("args.a", "gt", 5), *when("args.a", "lte", 5)],
        [*when("args.a", "gte", 5), *when("args.a", "lt", 5)],
        [*when("args.a", "eq", 5), *when("args.a", "eq", 6)],
        [*when("args.a", "eq", 5), *when("args.a", "gt", 6)],
        [*when("args.a", "in", ["x", "y"]), *when("args.a", "not_in", ["x", "y"])],
        [*when("args.a", "eq", "x"), *when("args.a", "regex", "^y")],
        [*when("args.a", "exists", False), *when("args.a", "eq", 1)],
        [*when("args.a", "exists", False), *when("args.a", "exists", True)],
    ],
)
def test_rules_that_can_never_match_are_warned_of(conditions: Any) -> None:
    for key in ("deny_if", "approve_if", "require"):
        assert f"/tools/t/{key}/0" in found(one(**{key: [{"conditions": conditions}]}), "warning")


@pytest.mark.parametrize(
    "conditions",
    [
        [*when("args.a", "gt", 5), *when("args.a", "lt", 7)],
        [*when("args.a", "gte", 5), *when("args.a", "lte", 5)],
        [*when("args.a[*]", "eq", 5), *when("args.a[*]", "eq", 6)],
        [*when("args.a", "eq", 5), *when("args.b", "eq", 6)],
        [*when("args.a", "neq", 5), *when("args.a", "neq", 6)],
    ],
)
def test_rules_that_can_match_are_not_warned_of(conditions: Any) -> None:
    assert found(one(deny_if=[{"conditions": conditions}]), "warning") == {}


UPPER = {"conditions": when("args.amount", "lte", 500)}


@pytest.mark.parametrize(
    ("entry", "warned"),
    [
        ({"require": [UPPER]}, ["/tools/t/require/0/conditions/0"]),
        (
            {"deny_if": [{"conditions": when("args.n", "gt", 5)}]},
            ["/tools/t/deny_if/0/conditions/0"],
        ),
        ({"require": [UPPER, {"conditions": when("args.amount", "gte", 0)}]}, []),
        ({"require": [UPPER], "deny_if": [{"conditions": when("args.amount", "lt", 0)}]}, []),
        ({"require": [{"conditions": [*UPPER["conditions"], *when("args.amount", "gt", 0)]}]}, []),
        ({"require": [{"conditions": when("args.amount", "gte", 0)}]}, []),
        ({"deny_if": [{"conditions": when("tool.annotations.n", "gt", 100)}]}, []),
        (
            {
                "require": [UPPER],
                "limits": [
                    {
                        "counter": "c",
                        "window": "day",
                        "max": 5,
                        "scope": "grant",
                        "increment_from": "args.amount",
                    }
                ],
            },
            [],
        ),
    ],
)
def test_a_numeric_bound_on_one_side_only_is_warned_of(entry: Document, warned: list[str]) -> None:
    assert list(found(one(**entry), "warning")) == warned


def test_the_example_of_the_design_loads() -> None:
    document = {
        "$schema": "policy.schema.json",
        "description": "…",
        "hide": ["delete_account"],
        "reviewers": {
            "ops": ["alice", "slack:T024/U07", "oidc:bob@example.com", "slack-group:T024/S01"]
        },
        "approval": {
            "reviewers": ["ops"],
            "quorum": 1,
            "expires": "30m",
            "hold": "50s",
            "when_detached": "keep",
        },
        "redact": ["args.password", "args.card.number"],
        "all_tools": {"limits": [], "deny_if": [], "require": [], "approve_if": []},
        "tools": {
            "list_customers": {},
            "close_session": {
                "limits": [
                    {
                        "counter": "close_session_rate",
                        "window": "minute",
                        "max": 60,
                        "scope": "grant",
                    }
                ]
            },
            "export_model": {"require_approval": True},
            "create_charge": {
                "require": [
                    {"conditions": when("args.reason", "exists", True), "on_deny": "Say why."}
                ],
                "deny_if": [
                    {
                        "conditions": when("args.currency", "not_in", ["usd", "eur"]),
                        "on_deny": "Only USD and EUR.",
                    }
                ],
                "approve_if": [
                    {
                        "conditions": when("args.amount", "gt", 50000),
                        "reason": "Charges over $500 need a person.",
                        "reviewers": ["ops"],
                        "quorum": 2,
                        "expires": "1h",
                        "editable": ["args.amount"],
                        "risk": "high",
                    }
                ],
                "limits": [
                    {
                        "counter": "daily_spend",
                        "window": "day",
                        "max": 1000000,
                        "scope": "grant",
                        "increment_from": "args.amount",
                    }
                ],
            },
            "delete_*": {"action": "deny", "reason": "Deleting is not for agents."},
        },
        "servers": {
            "live2d": {"default": "deny", "tools": {"full_pipeline": {"require_approval": True}}}
        },
    }
    assert problems(document) == ()


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        (one(require_approval={"hold": "10s", "undo": "5s"}), []),
        (one(require_approval={"undo": "25s"}), []),
        (one(require_approval={"undo": 0, "hold": 0}), []),
        (one(require_approval={"hold": "10s", "undo": "6s"}), ["/tools/t/require_approval/undo"]),
        (one(require_approval={"undo": "26s"}), ["/tools/t/require_approval/undo"]),
        (one(require_approval={"hold": 0, "undo": 1}), ["/tools/t/require_approval/undo"]),
        (one(require_approval={"undo": "-1s"}), ["/tools/t/require_approval/undo"]),
        (one(require_approval={"undo": "soon"}), ["/tools/t/require_approval/undo"]),
        (one(require_approval={"undo": True}), ["/tools/t/require_approval/undo"]),
        (one(require_approval={"undo": "1h"}), ["/tools/t/require_approval/undo"]),
        ({"approval": {"undo": "30s"}}, ["/approval/undo"]),
        (
            {"approval": {"undo": "20s"}, **one(approve_if=[{"conditions": [], "hold": "30s"}])},
            ["/tools/t/approve_if/0/undo"],
        ),
        ({"approval": {"undo": "20s"}, **one(require_approval=True)}, []),
    ],
)
def test_undo_is_at_most_half_of_the_time_the_call_waits(
    document: Document, wrong: list[str]
) -> None:
    assert [one.pointer for one in problems(document)] == wrong


def test_what_undo_is_measured_by_is_the_gateways_own_hold() -> None:
    assert Settings.model_fields["hold"].default == vocabulary.HOLD_UNSAID
