"""`policy diff A B`: what changes per tool, in words."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.policy.diff import diff
from gateway.policy.rules import Policy
from tests.policy.asking import one, policy, when

LIMIT = {"counter": "c", "window": "minute", "max": 60, "scope": "grant"}
OVER = {"conditions": when("args.amount", "gt", 500)}


def changes(old: Any, new: Any) -> list[str]:
    return [str(change) for change in diff(policy(old), policy(new))]


def test_equal_policies_have_no_changes_whatever_their_spelling() -> None:
    assert (
        changes(one(action="deny", reason="x"), one(deny_if=[{"conditions": [], "on_deny": "x"}]))
        == []
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({}, {"default": "allow"}, "tools listed nowhere: deny -> allow"),
        ({}, {"hide": ["x"]}, "x: is hidden now"),
        ({"hide": ["x"]}, {}, "x: is no longer hidden"),
        ({}, one(), "t: is listed now: allowed"),
        (one(), {}, "t: is no longer listed (was: allowed)"),
        (one(), one(require_approval=True), "t: added: needs approval always"),
        (
            one(),
            one(approve_if=[{**OVER, "quorum": 2}]),
            "t: added: needs approval if amount > 500 [quorum 2]",
        ),
        (
            one(deny_if=[{**OVER, "on_deny": "No."}]),
            one(),
            't: removed: denied if amount > 500 ("No.")',
        ),
        (
            one(),
            one(limits=[LIMIT]),
            "t: added: at most 60 per minute calls per grant (counter c)",
        ),
        ({}, {"reviewers": {"g": ["a", "b"]}}, "the reviewer group g: unset -> a, b"),
        (
            {"reviewers": {"g": ["a"]}},
            {"reviewers": {"g": {"members": ["a"], "channel": "#x"}}},
            "the reviewer group g: a -> a (in #x)",
        ),
        (
            {"approval": {"web_only": True}},
            {},
            "the approval default web_only: true -> unset",
        ),
        ({}, {"approval": {"expires": "5m"}}, "the approval default expires: unset -> 5m"),
        ({}, {"servers": {"s": one()}}, "s/t: is listed now: allowed"),
        ({}, {"redact": ["args.a"]}, "redacted: none -> args.a"),
        (
            {},
            {"all_tools": {"deny_if": [OVER]}},
            "every tool: added: denied if amount > 500",
        ),
    ],
)
def test_a_change_is_told_in_words(old: Any, new: Any, words: str) -> None:
    assert changes(old, new) == [words]


def test_a_changed_limit_is_the_old_one_and_the_new_one() -> None:
    assert changes(one(limits=[LIMIT]), one(limits=[{**LIMIT, "max": 30}])) == [
        "t: removed: at most 60 per minute calls per grant (counter c)",
        "t: added: at most 30 per minute calls per grant (counter c)",
    ]


def test_a_changed_order_of_rules_is_told() -> None:
    first, second = {"conditions": when("args.a", "eq", 1)}, {"conditions": when("args.b", "eq", 1)}
    assert changes(one(deny_if=[first, second]), one(deny_if=[second, first])) == [
        "t: the order of its rules changed"
    ]


def test_a_risk_that_is_set_is_said_as_such() -> None:
    old = policy(one(require_approval={"risk": "low"}))
    new = policy(one(require_approval={"risk": {"set": "low"}}))
    said = [str(change) for change in diff(old, new)]
    assert "t: added: needs approval always [risk set to low]" in said
    assert "t: removed: needs approval always [risk low]" in said


def test_which_elements_count_is_said() -> None:
    def rules(**more: str) -> Policy:
        return policy(one(require=[{"conditions": [{**when("args.to[*]", "eq", 1)[0], **more}]}]))

    assert diff(rules(), rules(match="every")) == ()
    said = [change.words for change in diff(rules(), rules(match="any"))]
    assert said == ["removed: denied unless every to[*] = 1", "added: denied unless any to[*] = 1"]


def test_values_that_differ_beyond_what_is_shown_are_no_other_order() -> None:
    long = "x" * 80
    old, new = (one(deny_if=[{"conditions": when("args.a", "eq", long + end)}]) for end in "ab")
    assert changes(old, new) == [
        "t: values changed that are too long to be shown here: see the file"
    ]
