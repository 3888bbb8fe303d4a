"""The JSON Schema and the loader agree, as far as a schema can say it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest

from gateway.policy import vocabulary
from gateway.policy.document import check
from gateway.policy.schema import schema
from tests.policy.asking import one, when

VALIDATOR = jsonschema.Draft202012Validator(schema())
LIMIT = {"counter": "c", "window": "minute", "max": 60, "scope": "grant"}

GOOD: list[Any] = [
    {},
    {"$schema": "x", "description": "d", "hide": ["a*"], "redact": ["args.a[0].b[*]"]},
    {"reviewers": {"g": ["a"]}, "approval": {"reviewers": ["g"], "expires": "1h30m", "hold": 0}},
    {"reviewers": {"g": {"members": ["a"], "channel": "#x", "description": "d"}, "h": ["g"]}},
    {"reviewers": {"g": {"members": ["a"]}}, "approval": {"web_only": True}},
    one(),
    one(action="deny", reason="x"),
    one(rate_limit="5/hour"),
    one(rate_limit={"max": 5, "window": 60}),
    one(require_approval={"reason": "r", "quorum": 2, "editable": ["args.a"]}),
    one(action="require_approval", conditions=when("args.a", "gt", 1), approval_timeout=60),
    one(limits=[LIMIT, {**LIMIT, "counter": "d", "window": 90, "increment_from": "args.a[0]"}]),
    one(deny_if=[{"conditions": when("args.a", "in", ["x", 1, True]), "on_deny": "x"}]),
    one(require=[{"conditions": when("tool.annotations.readOnlyHint", "exists", False)}]),
    one(approve_if=[{"conditions": when("session.calls", "gte", 0.5), "risk": "high"}]),
    {
        "servers": {
            "s": {"default": "allow", "limits": [LIMIT], "tools": {"t": {"effect": "x:{args.a}"}}}
        }
    },
    {"all_tools": {"deny_if": [{"conditions": when("args.a", "regex", "x")}]}},
    one(effect="x:{args.a}", effect_for="90d", effect_again="ask"),
    one(effect="x:{args.a}", effect_for=1, effect_again="refuse"),
]
BAD: list[Any] = [
    {"version": "2"},
    {"version": 1},
    {"default": "denny"},
    {"tool": {}},
    {"hide": "x"},
    {"hide": ["a b"]},
    {"redact": ["a"]},
    {"reviewers": {"g": []}},
    {"reviewers": {"g": {"channel": "#x"}}},
    {"reviewers": {"g": {"members": []}}},
    {"reviewers": {"g": {"members": ["a"], "channel": ""}}},
    {"reviewers": {"g": {"members": ["a"], "chanel": "#x"}}},
    {"approval": {"web_only": "yes"}},
    {"approval": {"quorum": 0}},
    {"approval": {"expires": "soon"}},
    {"approval": {"reason": "x"}},
    {"tools": {"a b": {}}},
    {"tools": {"t": []}},
    {"servers": {"s": {"redact": [5]}}},
    {"servers": {"s": {"approval": {}}}},
    {"servers": {" ": {}}},
    one(action="block"),
    one(effect="x:{args.a}", effect_for="for ever"),
    one(effect="x:{args.a}", effect_again=True),
    one(rate_limit="5 per hour"),
    one(rate_limit={"max": 5}),
    one(require_approval="yes"),
    one(require_approval={"who": "x"}),
    one(limits=[{**LIMIT, "max": "5"}]),
    one(limits=[{**LIMIT, "window": "week"}]),
    one(limits=[{**LIMIT, "scope": "me"}]),
    one(limits=[{**LIMIT, "increment_from": "args.a[*]"}]),
    one(limits=[{"counter": "c"}]),
    one(deny_if=[{"on_deny": "x"}]),
    one(require=[{"conditions": []}]),
    one(deny_if=[{"conditions": when("args.a", "eqals", 1)}]),
    one(deny_if=[{"conditions": when("args.a", "gt", "1")}]),
    one(deny_if=[{"conditions": when("args.a", "gt", True)}]),
    one(deny_if=[{"conditions": when("args.a", "in", [])}]),
    one(deny_if=[{"conditions": when("args.a", "in", [None])}]),
    one(deny_if=[{"conditions": when("args.a", "eq", None)}]),
    one(deny_if=[{"conditions": when("args.a", "exists", 1)}]),
    one(deny_if=[{"conditions": when("arg.a", "eq", 1)}]),
    one(deny_if=[{"conditions": when("args", "eq", 1)}]),
    one(approve_if=[{"conditions": [], "when_detached": "drop"}]),
    one(approve_if=[{"conditions": [], "undo": "soon"}]),
    one(approve_if=[{"conditions": [], "on_deny": "x"}]),
    one(description=5),
    one(rules=[]),
]


def full(document: Any) -> Any:
    return {"version": "1", "default": "deny", **document}


def errors(document: Any) -> list[str]:
    return [
        problem.pointer
        for problem in check(json.dumps(document).encode())
        if problem.severity == "error"
    ]


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("document", GOOD, ids=str)
def test_what_the_loader_accepts_the_schema_accepts(document: Any) -> None:
    assert errors(full(document)) == []
    assert list(VALIDATOR.iter_errors(full(document))) == []


@pytest.mark.parametrize("document", BAD, ids=str)
def test_what_the_schema_refuses_the_loader_refuses(document: Any) -> None:
    assert not VALIDATOR.is_valid(full(document))
    assert errors(full(document)) != []


def test_version_and_default_are_required() -> None:
    lacking: list[Any] = [{"version": "1"}, {"default": "deny"}, [], None]
    for document in lacking:
        assert not VALIDATOR.is_valid(document)
        assert errors(document) != []


def test_the_example_policy_is_valid() -> None:
    text = (Path(__file__).parents[2] / "policy.json").read_text(encoding="utf-8")
    assert list(VALIDATOR.iter_errors(json.loads(text))) == []


def test_schema_and_loader_know_the_same_keys() -> None:
    parts = schema()["$defs"]
    assert set(schema()["properties"]) == set(vocabulary.POLICY)
    assert set(parts["server"]["properties"]) == set(vocabulary.SERVER)
    assert set(parts["tool"]["properties"]) == set(vocabulary.TOOL)
    assert set(parts["all_tools"]["properties"]) == set(vocabulary.ALL_TOOLS)
    assert set(parts["deny_rule"]["properties"]) == set(vocabulary.DENY_RULE)
    assert set(parts["hold_rule"]["properties"]) == set(vocabulary.HOLD_RULE)
    assert set(parts["limit"]["properties"]) == set(vocabulary.LIMIT)
    assert set(parts["condition"]["properties"]) == set(vocabulary.CONDITION)


def test_every_key_has_a_description() -> None:
    def keys(part: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(part, dict):
            for name, value in part.get("properties", {}).items():
                yield name, value
            for value in part.values():
                yield from keys(value)
        elif isinstance(part, list):
            for value in part:
                yield from keys(value)

    silent = {
        name
        for name, value in keys(schema())
        if not any(word in value for word in ("description", "$ref", "enum", "const"))
        and name not in ("$schema", "conditions", "op", "value", "max", "limits")
    }
    assert silent == set()
