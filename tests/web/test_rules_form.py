"""A tool's rules as a form: what was written comes back, and each problem stands at its field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.document import check
from gateway.policy.drafting import drafted
from web.views.rule_form import Builder, Control, builder, kind_of
from web.views.rule_form_reader import choice_of, scalar, typed

ENTRIES: tuple[Any, ...] = (
    None,
    "hide",
    {},
    {"limits": [{"counter": "c", "window": "minute", "max": 60, "scope": "grant"}]},
    {"limits": [{"counter": "c", "window": 90, "max": 2.5, "scope": "global",
                 "increment_from": "args.amount", "description": "why"}], "description": "kept"},
    {"deny_if": [{"conditions": []}]},
    {"deny_if": [{"conditions": [], "on_deny": "No."}], "redact": ["args.a", "args.b[0]"]},
    {"require_approval": True},
    {"require_approval": {"reason": "123", "reviewers": ["ops", "slack:T1/U2"], "quorum": 2,
                          "expires": 90, "hold": "50s", "use_within": "15m", "undo": "5s",
                          "risk": "high",
                          "when_detached": "keep", "editable": ["args.a"], "not_owner": True,
                          "deny_memory": "0s", "allow_duplicates": False, "channel": "#x",
                          "web_only": True, "summary": "Pay {args.a|money:minor}, in full",
                          "description": "kept"}},
    {"summary": "Pay {args.a}", "require_approval": {"summary": "5 of {args.b}"}},
    {"description": "first", "effect": "pay:{args.id}", "effect_for": 3600, "effect_again": "ask",
     "require": [
        {"conditions": [{"path": "args.reason", "op": "exists", "value": True}], "on_deny": "Why?"},
    ]},
    {"approve_if": [
        {"conditions": [{"path": "args.a", "op": "gt", "value": 5},
                        {"path": "args.b", "op": "in", "value": ["x", "50", 3, True, "a, b"]}],
         "reason": "r", "quorum": 3},
        {"conditions": []},
    ], "deny_if": [
        {"conditions": [{"path": "args.c", "op": "regex", "value": '^\\s*"drop '}]},
        {"conditions": [{"path": "args.d", "op": "eq", "value": "true"}], "description": "k"},
        {"conditions": [{"path": "args.e", "op": "neq", "value": ""}]},
    ], "require_approval": True},
    {"require": [
        {"conditions": [{"path": "args.to[*]", "op": "ends_with", "value": "5", "match": "any"},
                        {"path": "args.p", "op": "starts_with", "value": "true"},
                        {"path": "args.q", "op": "not_regex", "value": '"x"'},
                        {"path": "args.r", "op": "not_contains", "value": 5}]},
    ], "approve_if": [
        {"conditions": [{"path": "args.to[*]", "op": "neq", "value": "a", "match": "every"}],
         "risk": {"set": "low"}},
    ], "require_approval": {"risk": "critical"}},
)  # fmt: skip


def as_sent(form: Builder) -> dict[str, str]:
    """What a browser sends for this form."""
    sent = {"choice": form.kind, "tool": "t"}

    def add(controls: tuple[Control, ...]) -> None:
        sent.update({one.name: one.value for one in controls})

    rules = [rule for part in form.parts for rule in part.rules]
    for rule in (*rules, form.hold):
        if rule is not form.hold:
            sent[f"{rule.at}/keep"] = rule.keep
        if rule.always and rule is not form.hold:
            sent[f"{rule.at}/always"] = "1"
        for row in rule.conditions:
            add(row)
        add((*rule.controls, *rule.more))
    for limit in form.limits:
        sent[f"{limit.at}/keep"] = limit.keep
        add(limit.controls)
    if form.every:
        sent["every"] = "1"
    add((form.told, form.redact, form.effect, *form.once))
    return sent


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry)[:40])
def test_a_form_sent_back_untouched_says_the_same(entry: Any) -> None:
    back = choice_of(as_sent(builder(entry, (), "/tools/t")), entry)
    assert json.dumps(back) == json.dumps(entry)  # in the same order, too


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (None, "default"), ("hide", "hide"), ({}, "allow"), ({"require_approval": False}, "allow"),
        ({"deny_if": [{"conditions": []}]}, "deny"), ({"require_approval": {}}, "hold"),
        ({"deny_if": [{"conditions": []}], "require_approval": True}, "custom"),
        ({"approve_if": [{"conditions": []}]}, "custom"),
    ],
)  # fmt: skip
def test_the_choice_that_says_the_same_is_marked(entry: Any, kind: str) -> None:
    assert kind_of(entry) == kind


@given(st.text(max_size=30) | st.integers() | st.booleans() | st.floats(allow_nan=False))
@settings(max_examples=300, deadline=None)
def test_a_value_that_is_shown_is_read_back_as_itself(value: Any) -> None:
    if value in (float("inf"), float("-inf")):
        return
    back = scalar(typed(value))
    assert (type(back), back) == (type(value), value)


@pytest.mark.parametrize("written", ["NaN", "Infinity", "1e999", "[1]", "{}", "null", "[" * 9999])
def test_what_is_no_plain_value_is_a_text(written: str) -> None:
    assert scalar(written) == written


def test_a_rule_without_conditions_is_no_rule_that_always_holds() -> None:
    form = as_sent(builder({}, (), "/tools/t", "custom"))
    form |= {"/deny_if/0/on_deny": "Too much."}
    choice = choice_of(form, {})
    assert choice == {"deny_if": [{"on_deny": "Too much."}]}
    problems = checked(choice)
    assert any("no `conditions`" in one.what for one in problems)


def checked(choice: Any) -> Any:
    text = drafted('{"version": "1", "default": "deny", "tools": {}}', "", "t", choice)
    return check(text.encode())


def controls(form: Builder) -> Mapping[str, Control]:
    rules = [rule for part in form.parts for rule in part.rules]
    rows = [one for rule in rules for row in rule.conditions for one in row]
    terms = [one for rule in (*rules, form.hold) for one in (*rule.controls, *rule.more)]
    limits = [one for limit in form.limits for one in limit.controls]
    found = [*rows, *terms, *limits, form.told, form.redact, form.effect, *form.once]
    return {one.name: one for one in found}


def test_every_problem_stands_beside_the_field_it_is_about() -> None:
    wrong: dict[str, Any] = {
        "redact": ["password"],
        "effect": "refund:{args.id",
        "effect_for": "for ever",
        "effect_again": "maybe",
        "deny_if": [{"conditions": [{"path": "amount", "op": "gt", "value": "much"}]}],
        "approve_if": [
            {"conditions": [{"path": "args.a", "op": "regex", "value": "("}], "quorum": "x",
             "expires": "soon", "reviewers": ["nobody-of-this-name!"], "editable": ["a"],
             "summary": "Pay {args.a"}
        ],
        "limits": [{"counter": "c", "window": "week", "max": "many", "scope": "grant"}],
    }  # fmt: skip
    form = builder(wrong, checked(wrong), "/tools/t", "custom")
    marked = {name for name, one in controls(form).items() if one.problems}
    assert marked >= {
        "/redact", "/effect", "/effect_for", "/effect_again",
        "/deny_if/0/conditions/0/path", "/deny_if/0/conditions/0/value",
        "/approve_if/0/conditions/0/value", "/approve_if/0/quorum", "/approve_if/0/expires",
        "/approve_if/0/editable", "/approve_if/0/summary", "/limits/0/window", "/limits/0/max",
    }  # fmt: skip
    everything = {(one.pointer, one.what) for one in checked(wrong)}
    shown = {(p.pointer, p.what) for one in controls(form).values() for p in one.problems}
    rules = [rule for part in form.parts for rule in part.rules]
    shown |= {(p.pointer, p.what) for rule in (*rules, form.hold) for p in rule.problems}
    shown |= {(p.pointer, p.what) for limit in form.limits for p in limit.problems}
    shown |= {(p.pointer, p.what) for p in form.problems}
    assert everything == shown


def test_a_new_limit_needs_no_name() -> None:
    form = as_sent(builder({}, (), "/tools/t"))
    form |= {"/limits/0/max": "3"}
    assert choice_of(form, {}) == {
        "limits": [{"counter": "t_minute", "window": "minute", "max": 3, "scope": "grant"}]
    }
