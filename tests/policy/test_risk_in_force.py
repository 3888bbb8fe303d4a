"""The risk of a held call: the larger of the tool's class and the rule's, unless a rule sets it."""

from __future__ import annotations

import ast
import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from approvals.model import RISKS, Risk, Terms
from gateway.policy.document import PolicyInvalid, check, load
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import judge
from gateway.policy.terms import at_risk, cover, strictest
from gateway.policy.verdict import Hold
from tests.policy.asking import call


def held(*rules: Any, **more: Any) -> Terms:
    """The terms of a call that falls under all of these rules."""
    entry = {"approve_if": [{"conditions": [], **rule} for rule in rules]}
    document = {"version": "1", "default": "deny", "tools": {"t": entry}, **more}
    policy = load(json.dumps(document).encode())
    verdict = judge(policy, call("t"), tool=ToolFacts(), grant=GrantFacts(), args={})
    assert isinstance(verdict, Hold)
    return verdict.terms


@pytest.mark.parametrize(("stated", "tool"), list(product(RISKS, RISKS)))
def test_the_larger_of_class_and_rule_counts(stated: Risk, tool: Risk) -> None:
    terms = at_risk(held({"risk": stated}), tool)
    assert terms.risk == max(stated, tool, key=RISKS.index)
    assert terms.tool_risk == tool


@pytest.mark.parametrize(("wanted", "tool"), list(product(RISKS, RISKS)))
def test_a_rule_that_sets_the_risk_lowers_and_raises_it(wanted: Risk, tool: Risk) -> None:
    assert at_risk(held({"risk": {"set": wanted}}), tool).risk == wanted


@pytest.mark.parametrize("tool", RISKS)
def test_a_rule_that_says_nothing_leaves_the_class(tool: Risk) -> None:
    assert at_risk(held({}), tool).risk == tool


def test_without_class_and_rule_the_risk_is_medium() -> None:
    assert at_risk(held({}), None).risk == "medium"
    assert at_risk(held({"risk": "low"}), None).risk == "low"


@pytest.mark.parametrize("other", [{}, {"risk": "low"}, {"risk": "high"}])
def test_setting_lowers_nothing_while_another_rule_applies_that_does_not(other: Any) -> None:
    terms = at_risk(held({"risk": {"set": "low"}}, other), "critical")
    assert terms.risk == "critical"
    assert at_risk(held({"risk": {"set": "low"}}, {"risk": {"set": "medium"}}), "high").risk == (
        "medium"
    )


def test_the_defaults_raise_and_never_set() -> None:
    assert at_risk(held({}, approval={"risk": "high"}), "low").risk == "high"
    document = {"version": "1", "default": "deny", "approval": {"risk": {"set": "low"}}}
    problems = check(json.dumps(document).encode())
    assert [one.pointer for one in problems if one.severity == "error"] == ["/approval/risk"]


@pytest.mark.parametrize("wrong", [{}, {"set": "tiny"}, {"set": None}, {"set": "low", "x": 1}, []])
def test_other_shapes_are_refused_with_the_place(wrong: Any) -> None:
    entry = {"approve_if": [{"conditions": [], "risk": wrong}]}
    document = {"version": "1", "default": "deny", "tools": {"t": entry}}
    with pytest.raises(PolicyInvalid) as caught:
        load(json.dumps(document).encode())
    assert all("/risk" in problem.pointer for problem in caught.value.problems)


def test_an_approval_under_a_lower_risk_does_not_cover_a_higher_one() -> None:
    low, high = at_risk(held({"risk": {"set": "low"}}), "high"), at_risk(held({}), "high")
    assert cover(high, low)
    assert not cover(low, high)
    assert cover(Terms(), at_risk(Terms(), "medium"))  # opened before classes counted
    merged = strictest([low, high])
    assert merged is not None
    assert (merged.risk, merged.risk_set) == ("high", False)


def test_the_normal_form_keeps_how_it_was_written() -> None:
    entry = {"require_approval": {"risk": {"set": "low"}}}
    document = {"version": "1", "default": "deny", "tools": {"t": entry}}
    policy = load(json.dumps(document).encode())
    assert policy.normal["tools"]["t"] == entry
    plain = {
        "version": "1",
        "default": "deny",
        "tools": {"t": {"require_approval": {"risk": "low"}}},
    }
    assert load(json.dumps(plain).encode()).hash != policy.hash


def test_nobody_reads_the_risk_of_a_held_call_but_by_the_one_property() -> None:
    """`approval.terms.risk` may be None, and is not what the card says: `approval.risk` is."""
    read = [
        f"{path}:{node.lineno}"
        for folder in ("approvals", "gateway", "web")
        for path in sorted(Path(folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("risk", "risk_set", "tool_risk")
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "terms"
        and path != Path("approvals/model.py")
    ]
    # An edit is judged again under the class that the call was opened with.
    assert [one.partition(":")[0] for one in read] == ["gateway/enforcement/guard.py"]
