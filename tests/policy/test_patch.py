"""A part of policy.json's text is put in or taken out; everything around it stays as written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.drafting import drafted, standing, usable
from gateway.policy.text_patch import put, without
from tests.policy.asking import when

KEYS = st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
LAYOUTS = st.sampled_from(
    [{"indent": 2}, {"indent": "\t"}, {}, {"separators": (",", ":")}, {"ensure_ascii": False}]
)
WRITTEN = """{
  "version": "1",
  "default":   "deny",

  "tools": {
    "a": {"require_approval": true},   "b": {},
    "c": {
      "limits": []
    }
  },
  "hide": ["x"]
}
"""


@given(OBJECTS, LAYOUTS, st.lists(KEYS, min_size=1, max_size=3), VALUES)
@settings(max_examples=400, deadline=None)
def test_what_is_put_in_is_there_and_nothing_else_changed(
    document: dict[str, Any], layout: dict[str, Any], place: list[str], value: Any
) -> None:
    expected = json.loads(json.dumps(document))
    at = expected
    for key in place[:-1]:
        at = at.setdefault(key, {})
        if not isinstance(at, dict):
            with pytest.raises(KeyError):
                put(json.dumps(document, **layout), place, value)
            return
    at[place[-1]] = value
    text = put(json.dumps(document, **layout), place, value)
    assert json.loads(text) == expected
    assert list(json.loads(text)) == list(expected)


@given(OBJECTS, LAYOUTS)
@settings(max_examples=200, deadline=None)
def test_what_is_taken_out_is_gone_and_nothing_else(
    document: dict[str, Any], layout: dict[str, Any]
) -> None:
    text = json.dumps(document, **layout)
    for key in document:
        rest = {name: value for name, value in document.items() if name != key}
        assert json.loads(without(text, [key])) == rest
    assert without(text, ["not", "there"]) == text


def test_lines_around_a_change_stay_byte_for_byte() -> None:
    changed = put(WRITTEN, ("tools", "b"), {"deny_if": [{"conditions": []}]})
    assert changed == WRITTEN.replace('"b": {}', '"b": {"deny_if": [{"conditions": []}]}')
    added = put(WRITTEN, ("tools", "d"), {})
    assert added == WRITTEN.replace("    }\n  },", '    },\n    "d": {}\n  },')
    gone = without(WRITTEN, ("tools", "a"))
    assert gone == WRITTEN.replace('"a": {"require_approval": true},   ', "")


def test_hiding_moves_a_tool_from_its_rules_to_the_list_and_back() -> None:
    hidden = drafted(WRITTEN, "", "b", "hide")
    assert json.loads(hidden)["hide"] == ["x", "b"]
    assert "b" not in json.loads(hidden)["tools"]
    policy = usable(hidden.encode())
    assert policy is not None
    assert standing(policy, hidden, "", "b").choice == "hide"
    shown = json.loads(drafted(hidden, "", "b", {}))
    assert shown == json.loads(WRITTEN) | {"tools": shown["tools"]}
    assert shown["tools"]["b"] == {}


def test_a_server_without_a_section_gets_one() -> None:
    text = drafted(WRITTEN, "billing", "pay", {"require_approval": True})
    assert json.loads(text)["servers"] == {
        "billing": {"tools": {"pay": {"require_approval": True}}}
    }
    assert drafted(text, "billing", "pay", {"require_approval": True}) == text


def test_an_older_spelling_is_read_in_the_present_one() -> None:
    text = (
        '{"version": "1", "default": "deny", "tools": {"t": {"action": "require_approval", '
        '"reason": "Why", "approval_timeout": "5m", "rate_limit": "5/hour", "description": "d"}}}'
    )
    policy = usable(text.encode())
    assert policy is not None
    found = standing(policy, text, "", "t")
    assert found.older
    assert found.choice == {
        "description": "d",
        "require_approval": {"reason": "Why", "expires": "5m"},
        "limits": [{"counter": "t_rate", "window": "hour", "max": 5, "scope": "grant"}],
    }


def test_a_pattern_that_hides_a_tool_is_named() -> None:
    text = '{"version": "1", "default": "deny", "hide": ["debug_*"], "tools": {"debug_x": {}}}'
    policy = usable(text.encode())
    assert policy is not None
    assert standing(policy, text, "", "debug_x").hidden_by == "debug_*"


def test_a_form_that_writes_true_for_one_changes_the_text() -> None:
    rule: dict[str, Any] = {"deny_if": [{"conditions": when("args.a", "eq", 1)}]}
    text = json.dumps({"version": "1", "default": "deny", "tools": {"t": rule}})
    wanted: dict[str, Any] = {"deny_if": [{"conditions": when("args.a", "eq", True)}]}
    assert json.dumps(json.loads(drafted(text, "", "t", wanted))["tools"]["t"]) == json.dumps(
        wanted
    )
