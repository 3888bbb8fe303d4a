"""`policy import FILE`: the YAML of the open-source Go proxy family; never laxer than it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.policy.document import load
from gateway.policy.importing import BadYaml, import_rules
from gateway.policy.rules import Policy
from gateway.policy.verdict import Allow, Hold
from tests.policy.asking import ask, rule, when, word

PAYMENTS = """
version: "1"
description: "Payments"
default: deny
hide:
  - list_webhooks
approvals:
  default_timeout: 10m
tools:
  create_charge:
    rules:
      - name: "max single charge"
        conditions:
          - path: "args.amount"
            op: "lte"
            value: 50000
        on_deny: "Single charge cannot exceed $500.00"
      - name: "daily spend cap"
        conditions:
          - path: "state.create_charge.daily_spend"
            op: "lt"
            value: 1000000
        on_deny: "Daily cap"
        state:
          counter: "daily_spend"
          window: "day"
          increment_from: "args.amount"
      - name: "allowed currencies"
        conditions:
          - {path: args.currency, op: in, value: [usd, eur]}
  create_refund:
    rules:
      - name: "daily-limit"
        rate_limit: "10/day"
      - name: "large"
        action: require_approval
        conditions:
          - {path: args.amount, op: gt, value: 10000}
        approval_timeout: "30m"
  delete_customer:
    rules:
      - name: "block"
        action: "deny"
        on_deny: "Customer deletion is not permitted"
  list_customers:
    rules: []
  "*":
    rules:
      - name: "global"
        conditions:
          - {path: state._global.calls, op: lte, value: 60}
        state: {counter: calls, window: minute}
"""


def imported(text: str) -> tuple[dict[str, Any], tuple[str, ...], Policy]:
    document, notes = import_rules(text)
    return document, notes, load(json.dumps(document).encode())


def entry(rules: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    document, notes, _ = imported(f"version: '1'\ndefault: deny\ntools:\n  t:\n    rules:\n{rules}")
    return document["tools"]["t"], notes


def test_a_whole_file_is_imported_with_its_meaning() -> None:
    document, _, policy = imported(PAYMENTS)
    assert document["default"] == "deny"
    assert document["hide"] == ["list_webhooks"]
    charge = {"amount": 5, "currency": "usd"}
    verdict = ask(policy, "create_charge", charge)
    assert isinstance(verdict, Allow)
    assert {(c.limit.counter, int(c.limit.max), int(c.amount)) for c in verdict.charges} == {
        ("create_charge_daily_spend", 999999, 5),
        ("all_tools_calls", 60, 1),
    }
    over = ask(policy, "create_charge", {**charge, "amount": 60000})
    assert over.ruling.reason == "Single charge cannot exceed $500.00"
    assert word(ask(policy, "create_charge", {**charge, "currency": "gbp"})) == "deny"
    assert word(ask(policy, "create_charge", {})) == "deny"
    held = ask(policy, "create_refund", {"amount": 20000})
    assert isinstance(held, Hold)
    assert held.terms.expires == 1800
    assert word(ask(policy, "create_refund", {"amount": 10})) == "allow"
    gone = ask(policy, "delete_customer")
    assert gone.ruling.reason == "Customer deletion is not permitted"
    assert word(ask(policy, "list_customers")) == "allow"
    assert rule(ask(policy, "other")) == "(default deny)"
    assert rule(ask(policy, "list_webhooks")) == "(hidden)"


def test_allow_conditions_become_require() -> None:
    rules, _ = entry(
        "      - {name: n, action: evaluate, on_deny: No., "
        "conditions: [{path: args.a, op: eq, value: main}]}"
    )
    assert rules == {
        "require": [
            {"description": "n", "on_deny": "No.", "conditions": when("args.a", "eq", "main")}
        ]
    }


def test_rate_limit_shorthand_becomes_a_limit() -> None:
    rules, _ = entry("      - {name: n, rate_limit: 5/hour}")
    assert rules["limits"] == [
        {"description": "n", "counter": "t_rate_hour", "window": "hour", "max": 5, "scope": "grant"}
    ]


def test_a_missing_default_is_allow_as_it_was_and_is_noted() -> None:
    document, notes, _ = imported("version: '1'\ntools: {}")
    assert document["default"] == "allow"
    assert any(note.startswith("default") for note in notes)


def test_a_fixed_increment_divides_the_maximum() -> None:
    rules, notes = entry(
        "      - name: n\n"
        "        conditions: [{path: state.t.c, op: lte, value: 10}]\n"
        "        state: {counter: c, window: day, increment: 3}"
    )
    assert rules["limits"][0]["max"] == 3
    assert any("counted 3" in note for note in notes)


@pytest.mark.parametrize(
    "rules",
    [
        "      - {name: n, spend: {per_call: 0.5}}",
        "      - {name: n, idempotency_window: 5m, rate_limit: 5/hour}",
        "      - {name: n, action: ask_mum}",
        "      - {name: n, rate_limit: 5/week}",
        "      - {name: n, rate_limit: -5/hour}",
        "      - {name: n, conditions: [{path: state.other.c, op: lte, value: 5}]}",
        (
            "      - name: n\n"
            "        conditions: [{path: state.t.c, op: gt, value: 5}]\n"
            "        state: {counter: c, window: day}"
        ),
        "      - just text",
    ],
)
def test_a_rule_without_counterpart_holds_for_a_person_and_is_noted(rules: str) -> None:
    document, notes = entry(rules)
    assert any(one["conditions"] == [] for one in document["approve_if"])
    assert any("by hand" in note for note in notes)


def test_what_the_loader_does_not_like_is_among_the_notes() -> None:
    _, notes = import_rules(
        "version: '1'\ntools: {t: {rules: [{conditions: [{path: args.a, op: regex, value: '('}]}]}}"
    )
    assert any(note.startswith("error /tools/t/require/0/conditions/0/value") for note in notes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "- a",
        "tools: []",
        "tools: {t: [",
        "a: &x 1\nb: *x",
        "tools: {a: 1, a: 2}",
        "x: .inf",
        "tools: {t: {rules: [{value: .nan}]}}",
        "? [a]\n: b",
        "\x00",
        "--- a\n--- b",
        "a: " + "[" * 200,
        "!!python/object/apply:os.system ['x']",
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(BadYaml):
        import_rules(text)


def test_dates_and_tags_stay_text() -> None:
    document, _ = import_rules(
        "version: '1'\n"
        "tools: {t: {rules: [{conditions: [{path: args.d, op: eq, value: 2026-01-02}]}]}}"
    )
    assert document["tools"]["t"]["require"][0]["conditions"][0]["value"] == "2026-01-02"


def test_an_import_says_that_its_counters_are_kept_for_each_grant() -> None:
    _, notes, _ = imported(
        "version: '1'\ntools:\n  t:\n    rules:\n      - name: r\n        rate_limit: 5/minute"
    )
    assert any("each grant" in note for note in notes)
    _, none, _ = imported("version: '1'\ndefault: deny\ntools: {}")
    assert not any("each grant" in note for note in none)


def test_the_sources_meaning_of_lists_and_absence_is_written_and_said() -> None:
    rules, notes = entry(
        """
      - name: inside
        conditions: [{path: "args.to[*]", op: regex, value: '@in\\.example$'}]
      - name: unless staging
        action: require_approval
        conditions: [{path: args.env, op: neq, value: staging}]
      - name: never
        action: deny
        conditions: [{path: args.region, op: not_in, value: [eu]}, {path: args.region, op: exists,
          value: true}]
"""
    )
    assert rules["require"][0]["conditions"] == [
        {"path": "args.to[*]", "op": "regex", "value": r"@in\.example$", "match": "any"}
    ]
    assert rules["approve_if"][0]["conditions"] == [
        {"path": "args.env", "op": "neq", "value": "staging"},
        {"path": "args.env", "op": "exists", "value": True},
    ]
    assert len(rules["deny_if"][0]["conditions"]) == 2  # it stood there already
    said = "\n".join(notes)
    assert 'one element of "args.to[*]" is enough, as in the source' in said
    assert 'a call without "args.env" passes, as in the source' in said
    assert 'a call without "args.region"' not in said
    judged = {"tools": {"t": rules}}
    assert word(ask(judged, args={"to": ["a@in.example", "b@out.example"]})) == "allow"
    assert word(ask(judged, args={"to": ["a@in.example"], "env": "prod"})) == "hold"
