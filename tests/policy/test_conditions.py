"""Conditions: paths, operators, three values, and what each kind of rule makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.policy.conditions import NEGATIVE, OPERATORS, Condition, compare, words
from gateway.policy.facts import ToolFacts
from gateway.policy.paths import MAX_ELEMENTS
from gateway.policy.pattern import MAX_TEXT, matches, overlap
from tests.policy.asking import ask, one, policy, rule, when, word

TRUE, FALSE, UNFIT = ("deny", "allow"), ("allow", "deny"), ("deny", "deny")
"""What deny_if and require say of a condition that is true, false or unfit."""
SOME = ("deny", "deny")
"""What they say when one element of a list meets it and another does not."""


def verdicts(path: str, op: str, value: Any, args: Any) -> tuple[str, str]:
    conditions = when(path, op, value)
    return (
        word(ask(one(deny_if=[{"conditions": conditions}]), args=args)),
        word(ask(one(require=[{"conditions": conditions}]), args=args)),
    )


@pytest.mark.parametrize(
    ("op", "value", "actual", "expected"),
    [
        ("eq", 50, 50, TRUE),
        ("eq", 50, 50.0, TRUE),
        ("eq", 50, 51, FALSE),
        ("eq", "a", "a", TRUE),
        ("eq", "a", "A", FALSE),
        ("eq", True, True, TRUE),
        ("eq", True, 1, UNFIT),
        ("eq", 1, True, UNFIT),
        ("eq", 50, [50], UNFIT),
        ("eq", 50, "50", UNFIT),
        ("eq", "50", 50, UNFIT),
        ("eq", "a", {}, UNFIT),
        ("neq", 50, 51, TRUE),
        ("neq", 50, 50, FALSE),
        ("neq", 50, "50", UNFIT),
        ("lt", 100, 99, TRUE),
        ("lt", 100, 100, FALSE),
        ("lte", 100, 100, TRUE),
        ("lte", 100, 100.5, FALSE),
        ("lte", 100, "50", UNFIT),
        ("lte", 100, [50], UNFIT),
        ("lte", 100, True, UNFIT),
        ("lte", 100, 1e3, FALSE),
        ("gt", 0, True, UNFIT),
        ("gt", 0, 0.1, TRUE),
        ("gt", 0, -0.0, FALSE),
        ("gte", 0, 0, TRUE),
        ("gte", 0, -1, FALSE),
        ("gte", 2**53 + 1, 2**53, FALSE),
        ("gt", 0.1, 0.1, FALSE),
        ("gt", 1, float("nan"), UNFIT),
        ("gt", 1, float("inf"), UNFIT),
        ("in", ["usd", "eur"], "usd", TRUE),
        ("in", ["usd", "eur"], "gbp", FALSE),
        ("in", ["usd", "eur"], 1, UNFIT),
        ("in", ["usd", 1], 1.0, TRUE),
        ("in", ["usd"], ["usd"], UNFIT),
        ("not_in", ["usd"], "gbp", TRUE),
        ("not_in", ["usd"], "usd", FALSE),
        ("not_in", ["usd"], 5, UNFIT),
        ("regex", "^feat/", "feat/x", TRUE),
        ("regex", "b", "abc", TRUE),
        ("regex", "^b", "abc", FALSE),
        ("regex", "5", 5, UNFIT),
        ("regex", "(a+)+$", "a" * 60000 + "b", FALSE),
        ("regex", "x", "y" * (MAX_TEXT + 1), UNFIT),
        ("regex", "x", "é" * (MAX_TEXT // 2) + "x", UNFIT),
        ("regex", "x", "\ud800", UNFIT),
        ("contains", "ell", "hello", TRUE),
        ("contains", "x", "hello", FALSE),
        ("contains", 5, "5", UNFIT),
        ("contains", "b", ["a", "b"], TRUE),
        ("contains", "c", ["a", "b"], FALSE),
        ("contains", 50, ["50"], UNFIT),
        ("contains", "c", [], FALSE),
        ("contains", "c", {"c": 1}, UNFIT),
        ("not_regex", "^feat/", "fix/x", TRUE),
        ("not_regex", "^feat/", "feat/x", FALSE),
        ("not_regex", "5", 5, UNFIT),
        ("not_regex", "x", "y" * (MAX_TEXT + 1), UNFIT),
        ("not_contains", "x", "hello", TRUE),
        ("not_contains", "ell", "hello", FALSE),
        ("not_contains", "c", ["a", "b"], TRUE),
        ("not_contains", "b", ["a", "b"], FALSE),
        ("not_contains", "c", [], TRUE),
        ("not_contains", 50, ["50"], UNFIT),
        ("not_contains", "c", {"c": 1}, UNFIT),
        ("starts_with", "/srv/", "/srv/x", TRUE),
        ("starts_with", "/srv/", "/etc/srv/", FALSE),
        ("starts_with", "/srv/", ["/srv/"], UNFIT),
        ("starts_with", "5", 55, UNFIT),
        ("ends_with", "@example.com", "a@example.com", TRUE),
        ("ends_with", "@example.com", "a@example.com.evil.org", FALSE),
        ("ends_with", "@example.com", None, FALSE),
        ("ends_with", "a", {"a": 1}, UNFIT),
        ("exists", True, 0, TRUE),
        ("exists", True, "", TRUE),
        ("exists", True, False, TRUE),
        ("exists", True, None, FALSE),
        ("exists", False, None, TRUE),
        ("exists", False, 0, FALSE),
    ],
)
def test_an_operator_is_true_false_or_unfit(
    op: str, value: Any, actual: Any, expected: tuple[str, str]
) -> None:
    assert verdicts("args.x", op, value, {"x": actual}) == expected


TEXTS = ("regex", "not_regex", "starts_with", "ends_with")


def operand_of(op: str) -> Any:
    """Something that this operator compares with."""
    if op in TEXTS:
        return "a"
    return {"in": [1], "not_in": [1], "exists": True}.get(op, 1)


@pytest.mark.parametrize("op", sorted(set(OPERATORS) - NEGATIVE))
@pytest.mark.parametrize("args", [{}, {"x": None}])
def test_an_absent_value_meets_no_positive_operator(op: str, args: Any) -> None:
    assert verdicts("args.x", op, operand_of(op), args) == FALSE
    assert verdicts("args.x", "exists", False, args) == TRUE


@pytest.mark.parametrize("op", sorted(NEGATIVE))
@pytest.mark.parametrize("args", [{}, {"x": None}])
def test_an_absent_value_is_unfit_for_a_negative_operator(op: str, args: Any) -> None:
    assert verdicts("args.x", op, operand_of(op), args) == UNFIT
    held = one(approve_if=[{"conditions": when("args.x", op, operand_of(op))}])
    assert word(ask(held, args=args)) == "hold"


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize(
    ("path", "args"),
    [
        ("args.to[3]", {"to": "a@x, b@x, c@x, d@x"}),
        ("args.to[3]", {"to": {"3": "d@x"}}),
        ("args.opts.force", {"opts": '{"force":true}'}),
        ("args.opts.force", {"opts": [{"force": True}]}),
        ("args.to[*]", {"to": "a@x"}),
        ("args.to[*]", {"to": {"0": "a@x"}}),
        ("args.to[*].name", {"to": ["a@x"]}),
    ],
)
def test_another_shape_is_unfit_for_every_operator(op: str, path: str, args: Any) -> None:
    assert verdicts(path, op, operand_of(op), args) == UNFIT
    assert verdicts(path, "exists", False, args) == UNFIT


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("match", ["every", "any"])
def test_a_list_without_elements_fires_nothing_and_meets_no_require(op: str, match: str) -> None:
    for value in (operand_of(op), *((False,) if op == "exists" else ())):
        said = [{**when("args.l[*]", op, value)[0], "match": match}]
        assert word(ask(one(deny_if=[{"conditions": said}]), args={"l": []})) == "allow"
        assert word(ask(one(approve_if=[{"conditions": said}]), args={"l": []})) == "allow"
        assert word(ask(one(require=[{"conditions": said}]), args={"l": []})) == "deny"


@pytest.mark.parametrize("op", sorted(NEGATIVE))
def test_an_absent_list_is_no_empty_list(op: str) -> None:
    assert verdicts("args.l[*]", op, operand_of(op), {}) == UNFIT
    assert verdicts("args.l[*]", op, operand_of(op), {"l": [None]}) == UNFIT


@pytest.mark.parametrize(
    ("addresses", "every", "some"),
    [
        (["a@in.example", "b@in.example"], True, True),
        (["a@in.example", "evil@out.example"], False, True),
        (["evil@out.example"], False, False),
        ([], False, False),
    ],
)
def test_lists_mean_every_element_in_require_and_any_elsewhere_or_what_match_says(
    addresses: list[str],
    every: bool,  # noqa: FBT001
    some: bool,  # noqa: FBT001
) -> None:
    plain = when("args.to[*]", "ends_with", "@in.example")
    for match, required in ((None, every), ("every", every), ("any", some)):
        said = [plain[0] | ({"match": match} if match else {})]
        verdict = word(ask(one(require=[{"conditions": said}]), args={"to": addresses}))
        assert verdict == ("allow" if required else "deny")
    for match, fires in ((None, some), ("any", some), ("every", every)):
        said = [plain[0] | ({"match": match} if match else {})]
        verdict = word(ask(one(approve_if=[{"conditions": said}]), args={"to": addresses}))
        assert verdict == ("hold" if fires else "allow")


def test_every_in_a_list_of_lists_is_every_one_of_each() -> None:
    rules = one(require=[{"conditions": when("args.o[*].i[*]", "lt", 5)}])
    assert word(ask(rules, args={"o": [{"i": [1]}, {"i": [2, 3]}]})) == "allow"
    assert word(ask(rules, args={"o": [{"i": [1]}, {"i": [2, 7]}]})) == "deny"
    assert word(ask(rules, args={"o": [{"i": [1]}, {"i": []}]})) == "deny"
    assert word(ask(rules, args={"o": [{"i": [1]}, {}]})) == "deny"


def test_the_element_that_decides_is_told() -> None:
    rules = one(require=[{"conditions": when("args.to[*]", "ends_with", "@in.example")}])
    said = ask(rules, args={"to": ["a@in.example", "evil@out.example"]}).ruling.matched
    assert said == 'to[*] "evil@out.example" does not end with "@in.example"'
    assert ask(rules, args={"to": []}).ruling.matched == "to[*] has no element"
    rules = one(approve_if=[{"conditions": when("args.env", "neq", "staging")}])
    assert ask(rules).ruling.matched == "env is absent"


def test_a_list_too_long_to_look_through_is_unfit() -> None:
    long = {"l": [0] * (MAX_ELEMENTS + 1)}
    assert verdicts("args.l[*]", "eq", 1, long) == UNFIT
    assert verdicts("args.l", "contains", 1, long) == UNFIT
    assert verdicts("args.l[*]", "eq", 1, {"l": [0] * MAX_ELEMENTS}) == FALSE
    assert verdicts("args.l[5]", "eq", 1, long) == FALSE


@pytest.mark.parametrize(
    ("path", "args", "expected"),
    [
        ("args.a.b", {"a": {"b": 1}}, TRUE),
        ("args.a.b", {"a": {}}, FALSE),
        ("args.a.b", {"a": None}, FALSE),
        ("args.a.b", {"a": "text"}, UNFIT),
        ("args.a.b", {"a": [1]}, UNFIT),
        ("args.items[0]", {"items": [1, 2]}, TRUE),
        ("args.items[1]", {"items": [2, 1]}, TRUE),
        ("args.items[5]", {"items": [1]}, FALSE),
        ("args.items[0]", {"items": {"0": 1}}, UNFIT),
        ("args.items[*].price", {"items": [{"price": 2}, {"price": 1}]}, SOME),
        ("args.items[*].price", {"items": [{"price": 1}, {"price": 1}]}, TRUE),
        ("args.items[*].price", {"items": [{"price": 2}]}, FALSE),
        ("args.items[*].price", {"items": []}, FALSE),
        ("args.items[*].price", {"items": [{}]}, FALSE),
        ("args.items[*].price", {"items": [{"price": 2}, {"price": "1"}]}, UNFIT),
        ("args.items[*].price", {"items": [{"price": "x"}, {"price": 1}]}, SOME),
        ("args.items[*].price", {"items": "x"}, UNFIT),
        ("args.items[*]", {"items": [3, 1]}, SOME),
        ("args.items[*]", {"items": [1, 1]}, TRUE),
        ("args.a[*].b[*]", {"a": [{"b": []}, {"b": [0, 1]}]}, SOME),
        ("args.a[*].b[*]", {"a": [{"b": [1]}, {"b": [1, 1]}]}, TRUE),
        ("args.a-b.c_d", {"a-b": {"c_d": 1}}, TRUE),
    ],
)
def test_paths_reach_objects_indices_and_any_element(
    path: str, args: Any, expected: tuple[str, str]
) -> None:
    assert verdicts(path, "eq", 1, args) == expected


def test_all_conditions_of_one_element_must_hold() -> None:
    both = [*when("args.a", "eq", 1), *when("args.b", "eq", 2)]
    rules = one(deny_if=[{"conditions": both}])
    assert word(ask(rules, args={"a": 1, "b": 2})) == "deny"
    assert word(ask(rules, args={"a": 1, "b": 3})) == "allow"
    assert word(ask(rules, args={"a": 1})) == "allow"
    assert word(ask(rules, args={"a": 1, "b": "2"})) == "deny"
    assert word(ask(rules, args={"a": 0, "b": "2"})) == "allow"


def test_no_conditions_always_hold() -> None:
    assert rule(ask(one(deny_if=[{"conditions": []}]))) == "/tools/t/deny_if/0"
    assert word(ask(one(approve_if=[{"conditions": []}]))) == "hold"


def test_approve_if_fires_on_true_and_on_unfit() -> None:
    rules = one(approve_if=[{"conditions": when("args.n", "gt", 5)}])
    assert word(ask(rules, args={"n": 6})) == "hold"
    assert word(ask(rules, args={"n": "6"})) == "hold"
    assert word(ask(rules, args={"n": 5})) == "allow"
    assert word(ask(rules)) == "allow"


def test_unfit_is_told_as_such() -> None:
    rules = one(deny_if=[{"conditions": when("args.n", "gt", 5)}])
    assert ask(rules, args={"n": "6"}).ruling.matched == 'n "6" cannot be compared: > 5'
    assert ask(rules, args={"n": [6]}).ruling.matched == "n a list cannot be compared: > 5"


@pytest.mark.parametrize(
    ("path", "value", "hit"),
    [
        ("tool.risk", "high", True),
        ("tool.risk", "low", False),
        ("grant.label", "billing-bot", True),
        ("client.name", "claude-code", True),
        ("client.name", "cursor", False),
        ("session.calls", 7, True),
        ("tool.annotations.title", "T", True),
    ],
)
def test_facts_beside_the_arguments_can_be_asked_for(path: str, value: Any, hit: bool) -> None:  # noqa: FBT001
    facts = ToolFacts(name="t", risk="high", annotations={"title": "T"})
    rules = one(deny_if=[{"conditions": when(path, "eq", value)}])
    assert (word(ask(rules, facts=facts, session_calls=7)) == "deny") is hit


@pytest.mark.parametrize(
    ("annotations", "trusted", "verdict"),
    [
        ({"destructiveHint": True}, False, "hold"),
        ({"destructiveHint": True}, True, "hold"),
        ({"destructiveHint": False}, False, "allow"),
        ({}, False, "allow"),
        ({"destructiveHint": "yes"}, False, "hold"),
    ],
)
def test_an_annotation_may_always_tighten(
    annotations: dict[str, Any],
    trusted: bool,  # noqa: FBT001
    verdict: str,
) -> None:
    rules = one(approve_if=[{"conditions": when("tool.annotations.destructiveHint", "eq", True)}])
    facts = ToolFacts(name="t", annotations=annotations, trust_annotations=trusted)
    assert word(ask(rules, facts=facts)) == verdict


@pytest.mark.parametrize(("trusted", "verdict"), [(True, "allow"), (False, "deny")])
def test_an_annotation_loosens_a_require_only_when_trusted(trusted: bool, verdict: str) -> None:  # noqa: FBT001
    rules = one(require=[{"conditions": when("tool.annotations.readOnlyHint", "eq", True)}])
    facts = ToolFacts(name="t", annotations={"readOnlyHint": True}, trust_annotations=trusted)
    assert word(ask(rules, facts=facts)) == verdict


@pytest.mark.parametrize(("trusted", "verdict"), [(True, "allow"), (False, "hold")])
def test_an_annotation_escapes_an_approval_only_when_trusted(trusted: bool, verdict: str) -> None:  # noqa: FBT001
    rules = one(approve_if=[{"conditions": when("tool.annotations.readOnlyHint", "exists", False)}])
    facts = ToolFacts(name="t", annotations={"readOnlyHint": True}, trust_annotations=trusted)
    assert word(ask(rules, facts=facts)) == verdict


def test_numbers_compare_as_they_were_written() -> None:
    assert compare(2**53 + 1, float(2**53)) == 1
    assert compare(1e23, 10**23) == 0
    assert compare(10**400, 1.5e308) == 1
    assert compare(1, 1.0) == 0


def test_conditions_have_words_without_a_call() -> None:
    def of(path: str, op: str, value: Any) -> str:
        rules = policy(one(deny_if=[{"conditions": when(path, op, value)}]))
        condition: Condition = rules.root.exact["t"].deny_if[0].conditions[0]
        return words(condition)

    assert of("args.amount", "gt", 50000) == "amount > 50000"
    assert of("args.reason", "exists", False) == "reason is absent"
    assert of("args.c", "not_in", ["usd", 1]) == 'c not in ["usd", 1]'
    assert of("args.to[*]", "not_regex", "x$") == 'any to[*] does not match "x$"'
    assert of("tool.risk", "eq", "high") == 'tool.risk = "high"'


@pytest.mark.parametrize(
    ("glob", "name", "hit"),
    [
        ("*", "", True),
        ("*", "abc", True),
        ("a*c", "abbc", True),
        ("a*c", "abbd", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*_x_*", "a_x_b", True),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "acb", False),
        ("get_*", "Get_x", False),
        ("a.c", "abc", False),
        ("a*a*a*a*a*b", "a" * 128, False),
    ],
)
def test_globs_know_star_and_question_mark_only(glob: str, name: str, hit: bool) -> None:  # noqa: FBT001
    assert matches(glob, name) is hit


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        ("a*", "*b", True),
        ("a*", "b*", False),
        ("a?", "ab", True),
        ("a?", "a", False),
        ("*", "", True),
        ("ab*", "a?c", True),
        ("ab*", "a?", True),
        ("*x*", "y", False),
        ("get_*", "*_list", True),
    ],
)
def test_overlapping_globs_are_known(left: str, right: str, both: bool) -> None:  # noqa: FBT001
    assert overlap(left, right) is both
    assert overlap(right, left) is both


@pytest.mark.parametrize(
    "args",
    [
        {"Amount": 5000},
        {"AMOUNT": 5000},
        {"amount": 5, "AMOUNT": 5000},
        {"amount": 5, "\u0430mount": 5000},
        {"am\u200bount": 5000},
        {"\uff41\uff4d\uff4f\uff55\uff4e\uff54": 5000},
        {"amount": 5, "am\u043eunt": 5000},
    ],
    ids=ascii,
)
@pytest.mark.parametrize("op", ["gt", "eq", "exists"])
def test_a_name_that_reads_like_a_judged_one_makes_the_rule_close(
    args: dict[str, Any], op: str
) -> None:
    value = True if op == "exists" else 100
    assert verdicts("args.amount", op, value, args) == UNFIT


def test_a_name_that_reads_like_one_on_the_way_closes_too() -> None:
    assert verdicts("args.card.to\u212aen", "eq", "x", {"card": {"token": "y"}}) == UNFIT
    assert verdicts("args.card.n", "eq", 1, {"card": {"n": 2}, "Card": {"n": 1}}) == UNFIT
    assert verdicts("args.rows[*].n", "eq", 1, {"rows": [{"n": 2}, {"N": 1}]}) == UNFIT


def test_a_limit_does_not_count_beside_a_name_that_reads_like_its_own() -> None:
    counted = {
        "counter": "sum",
        "window": "day",
        "max": 10,
        "scope": "grant",
        "increment_from": "args.amount",
    }
    rules = one(limits=[counted])
    assert word(ask(rules, args={"amount": 5})) == "allow"
    assert word(ask(rules, args={"amount": 5, "Amount": 50})) == "deny"


def test_other_names_beside_a_judged_one_change_nothing() -> None:
    args = {"amount": 5, "amounts": 7, "Betrag": 9, "\u0441\u0443\u043c\u043c\u0430": 9}
    assert verdicts("args.amount", "gt", 100, args) == FALSE
