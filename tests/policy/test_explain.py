"""`policy explain`: every rule tried, in the order of judgement, with the values that decided."""

from __future__ import annotations

from gateway.policy.explain import explain
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.verdict import Deny, Hold
from tests.policy.asking import call, one, trace, when

CHARGE = one(
    deny_if=[{"conditions": when("args.currency", "neq", "usd"), "on_deny": "USD only."}],
    require=[{"conditions": when("args.reason", "exists", True), "on_deny": "Say why."}],
    approve_if=[
        {"conditions": [*when("args.amount", "gt", 500), *when("args.to", "eq", "x")]},
    ],
    limits=[
        {
            "counter": "spend",
            "window": "day",
            "max": 1000,
            "scope": "grant",
            "increment_from": "args.amount",
        }
    ],
    effect="charge:{args.id}",
)


def test_every_rule_is_tried_and_told_with_its_values() -> None:
    told = trace(
        CHARGE, args={"currency": "usd", "reason": "r", "amount": 700, "to": "x", "id": "7"}
    )
    assert isinstance(told.verdict, Hold)
    assert [(step.rule, step.outcome) for step in told.steps] == [
        ("/tools/t/deny_if/0", "passes"),
        ("/tools/t/require/0", "passes"),
        ("/tools/t/limits/0", "takes"),
        ("/tools/t/effect", "passes"),
        ("/tools/t/approve_if/0", "holds"),
    ]
    assert told.steps[0].conditions == ('false: currency "usd" is not != "usd"',)
    assert told.steps[1].conditions == ("true: reason is present",)
    assert told.steps[2].text == "takes 700 of 1000 per day"
    assert told.steps[4].conditions == ("true: amount 700 > 500", 'true: to "x" = "x"')
    assert told.entries == ("/tools/t",)
    assert [charge.amount for charge in told.charges] == [700]


def test_it_does_not_stop_at_the_first_denial() -> None:
    told = trace(CHARGE, args={"currency": "eur", "amount": -1})
    assert isinstance(told.verdict, Deny)
    assert told.verdict.ruling.rule == "/tools/t/deny_if/0"
    assert [(step.rule, step.outcome) for step in told.steps] == [
        ("/tools/t/deny_if/0", "denies"),
        ("/tools/t/require/0", "denies"),
        ("/tools/t/limits/0", "denies"),
        ("/tools/t/effect", "denies"),
        ("/tools/t/approve_if/0", "passes"),
    ]
    assert told.steps[4].conditions == (
        "false: amount -1 is not > 500",
        'not tried: to = "x"',
    )


def test_gates_before_the_rules_are_told() -> None:
    assert [step.rule for step in trace({"hide": ["t"]}).steps] == ["(hidden)", "(default deny)"]
    held = trace({"default": "require_approval"}).steps[0]
    assert (held.rule, held.outcome) == ("(default require_approval)", "holds")
    assert trace({"default": "allow"}, tool="a b").steps[0].rule == "(tool name)"
    denied = trace(one(action="deny", reason="No.")).steps[0]
    assert (denied.rule, denied.kind, denied.text) == ("/tools/t", "deny", "No.")


def test_no_policy_is_told() -> None:
    told = explain(None, call("t"), tool=ToolFacts(), grant=GrantFacts(), args={})
    assert [step.rule for step in told.steps] == ["(no policy)"]
