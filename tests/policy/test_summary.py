"""`summary`: read, checked, inherited, compared, and kept with the held call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.policy.closing import openings
from gateway.policy.diff import diff
from gateway.policy.document import check, load
from gateway.policy.judge import terms_for
from gateway.policy.terms import strictest
from gateway.policy.unread import unread_arguments
from gateway.policy.verdict import Hold
from tests.policy.asking import ask, one, policy

PAY = "Pay {args.amount|money:minor} to {args.to}"


def held(rules: Any, **more: Any) -> str:
    verdict = ask(rules, **more)
    assert isinstance(verdict, Hold)
    return verdict.terms.summary


def problems(summary: Any, where: str = "rule") -> list[tuple[str, str, str]]:
    entry = {"summary": summary, "require_approval": True}
    if where == "rule":
        entry = {"require_approval": {"summary": summary}}
    document = {"version": "1", "default": "deny", "tools": {"t": entry}}
    found = check(json.dumps(document).encode())
    return [(one.severity, one.pointer, f"{one.what} {one.write}") for one in found]


def test_a_rule_that_holds_says_how_its_calls_read() -> None:
    assert held(one(require_approval={"summary": PAY})) == PAY
    assert held(one(approve_if=[{"conditions": [], "summary": PAY}])) == PAY
    assert held(one(require_approval=True)) == ""


def test_a_tool_says_it_for_all_its_rules_and_a_rule_knows_better() -> None:
    rules = one(summary=PAY, require_approval=True)
    assert held(rules) == PAY
    own = one(summary=PAY, require_approval={"summary": "Refund {args.to}"})
    assert held(own) == "Refund {args.to}"
    every = one(summary=PAY)
    every["all_tools"] = {"require_approval": True}
    assert held(every) == PAY
    assert terms_for(policy(rules), "s", "t").summary == PAY


def test_of_several_the_most_specific_entry_counts() -> None:
    rules = {
        "version": "1",
        "default": "deny",
        "tools": {
            "*": {"summary": "Any {args.to}", "require_approval": True},
            "t": {"summary": PAY},
        },
    }
    assert held(rules) == PAY
    first = one(
        approve_if=[{"conditions": [], "quorum": 2}, {"conditions": [], "summary": "Two {args.to}"}]
    )
    assert held(first) == "Two {args.to}"


def test_it_asks_for_nothing_more() -> None:
    plain, said = (
        load(json.dumps({"version": "1", "default": "deny", **rules}).encode()).root.exact["t"]
        for rules in (one(require_approval=True), one(require_approval={"summary": PAY}))
    )
    both = strictest([plain.holds[0].terms, said.holds[0].terms])
    assert both == said.holds[0].terms


@pytest.mark.parametrize("where", ["rule", "tool"])
@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ("Pay {args.amount|cash}", '"cash" is no format. Write one of: money, date, bytes, count.'),
        ("Pay {args.amount|money:cents}", "says no unit of money. Write money:minor,"),
        ("Pay {args.amount|money:minor:XXQ}", "says no unit of money. Write money:minor,"),
        ("Pay {args.amount|date:iso}", "`date` takes nothing behind it. Write {args.amount|date}."),
        ("Pay {arg.amount}", 'begins with none of args. Did you mean "args.amount"?'),
        ("Pay {tool.risk}", '"tool.risk" begins with none of args.'),
        ("Pay {}", "begins with none of args."),
        ("Pay {args}", "names no single value."),
        ("Pay {args.to[*]}", "leads to several values. Write {args.to}"),
        ("Pay {args.amount", "a brace without its other half. Write each value as {args.NAME}"),
        ("Pay args.amount}", "a brace without its other half."),
        ("Pay {{args.amount}}", "a brace without its other half."),
        ("Pay\nnow {args.amount}", "a line break, a tab or a character that no one sees."),
        ("Pay \u202e{args.amount}", "a line break, a tab or a character that no one sees."),
        ("Pay " + "x" * 60 + "{args.a}", "64 characters of its own words. At most 50"),
        ("{args.a}" * 6, "6 values. At most 5"),
        ("Pay {args." + "a" * 300 + "}", "characters. At most 300."),
        ("  ", "must be a text, it is empty."),
        (7, "must be a text, not 7."),
    ],
)
def test_a_bad_one_is_refused_with_its_place_and_what_to_write(
    summary: Any, said: str, where: str
) -> None:
    found = problems(summary, where)
    pointer = "/tools/t/require_approval/summary" if where == "rule" else "/tools/t/summary"
    assert [(one[0], one[1]) for one in found] == [("error", pointer)]
    assert said in found[0][2]


def test_what_is_suspicious_is_warned_of() -> None:
    (nothing,) = problems("Somebody pays")
    assert nothing[:2] == ("warning", "/tools/t/require_approval/summary")
    assert "Every call reads the same" in nothing[2]
    (unit,) = problems("Pay {args.amount|money}")
    assert unit[0] == "warning"
    assert "does not say which unit" in unit[2]
    assert problems(PAY) == []
    denied = {"version": "1", "default": "deny", "tools": {"t": {"action": "deny", "summary": PAY}}}
    (behind,) = check(json.dumps(denied).encode())
    assert (behind.severity, behind.pointer) == ("warning", "/tools/t/summary")


def test_arguments_that_the_tool_does_not_have_are_warned_of() -> None:
    rules = policy(one(summary=PAY, require_approval={"summary": "To {args.whom}"}))
    schema = {"type": "object", "properties": {"amount": {}, "too": {}}}
    found = {(one.pointer, one.what) for one in unread_arguments(rules, {"s": {"t": schema}})}
    said = "The pinned definition has no argument"
    assert found == {
        ("/tools/t/summary", f"{said} `to`."),
        ("/tools/t/require_approval/summary", f"{said} `whom`."),
    }


def test_it_belongs_to_no_default_of_all_approvals() -> None:
    document = {"version": "1", "default": "deny", "approval": {"summary": PAY}}
    (found,) = check(json.dumps(document).encode())
    assert (found.severity, found.pointer) == ("error", "/approval/summary")


def test_the_normal_form_loads_again_and_differences_are_told() -> None:
    before = policy(one(require_approval=True))
    after = policy(one(summary=PAY, require_approval={"summary": "Refund {args.to}"}))
    again = load(json.dumps({"default": "deny", **after.normal}).encode())
    assert again.hash == after.hash
    assert [str(change) for change in diff(before, after)] == [
        "t: removed: needs approval always",
        "t: added: needs approval always [summary Refund {args.to}]",
        f't: added: its held calls read "{PAY}"',
    ]


def test_another_sentence_waits_to_be_confirmed() -> None:
    """It is what people decide by: a file that agents may write must not put it in their mouth."""
    before = policy(one(summary=PAY, require_approval=True))
    after = policy(one(summary="Pay nothing to {args.to}", require_approval=True))
    assert openings(before, after) != ()
    assert openings(before, before) == ()
