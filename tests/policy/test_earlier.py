"""What an upgrade judges otherwise: the rules as they were read, exactly, beside today's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from gateway.policy.backtest import Past, otherwise
from gateway.policy.conditions import NEGATIVE
from gateway.policy.earlier import as_before
from gateway.policy.facts import GrantFacts, ToolFacts
from tests.policy import shapes
from tests.policy.asking import ask, call, one, policy, when, word
from tests.policy.test_properties import loaded

ORDER = ["allow", "hold", "deny"]


def both(entry: Any, args: Any) -> tuple[str, str]:
    now = policy(one(**entry))
    return word(ask(as_before(now), args=args)), word(ask(now, args=args))


@pytest.mark.parametrize(
    ("entry", "args", "verdicts"),
    [
        ({"approve_if": [{"conditions": when("args.env", "neq", "s")}]}, {}, ("allow", "hold")),
        ({"deny_if": [{"conditions": when("args.env", "not_in", ["s"])}]}, {"env": None},
         ("allow", "deny")),
        ({"approve_if": [{"conditions": when("args.to[3]", "exists", True)}]}, {"to": "a, b"},
         ("allow", "hold")),
        ({"require": [{"conditions": when("args.o.f", "exists", False)}]}, {"o": '{"f":1}'},
         ("allow", "deny")),
        ({"require": [{"conditions": when("args.to[*]", "regex", "^a")}]}, {"to": ["a", "b"]},
         ("allow", "deny")),
        ({"require": [{"conditions": when("args.to[*]", "exists", False)}]}, {"to": []},
         ("allow", "deny")),
        ({"require": [{"conditions": when("args.to[*]", "regex", "^a")}]}, {"to": ["a"]},
         ("allow", "allow")),
        ({"approve_if": [{"conditions": when("args.env", "neq", "s")}]}, {"env": "x"},
         ("hold", "hold")),
    ],
)  # fmt: skip
def test_what_was_open_is_closed(entry: Any, args: Any, verdicts: tuple[str, str]) -> None:
    assert both(entry, args) == verdicts


def older(document: Any) -> bool:
    """Whether it could have been written before: no new operator, no `match`."""
    text = str(document)
    new = NEGATIVE - {"neq", "not_in"} | {"starts_with", "ends_with", "'match'"}
    return not any(word in text for word in new)


@given(shapes.documents, shapes.arguments)
@settings(max_examples=300, deadline=None)
def test_nothing_that_was_stopped_passes_now_but_by_an_exists_that_was_met_by_another_shape(
    document: Any, args: Any
) -> None:
    now = loaded(document)
    if now is None or not older(document) or "'exists'" in str(document):
        return
    for tool in shapes.NAMES:
        before, after = word(ask(as_before(now), tool, args)), word(ask(now, tool, args))
        assert ORDER.index(after) >= ORDER.index(before)


def test_calls_are_compared_whatever_was_said_of_them_then() -> None:
    rules = policy(one(approve_if=[{"conditions": when("args.env", "neq", "staging")}]))

    def past(seq: int, args: Any) -> Past:
        return Past(
            seq=seq, call=call("t"), was="deny", args=args, tool=ToolFacts(), grant=GrantFacts()
        )

    found = otherwise(
        as_before(rules), rules, [past(1, {}), past(2, {"env": "prod"}), past(3, None)]
    )
    assert found.calls == 3
    assert [(one.past.seq, one.past.was, word(one.now)) for one in found.moved] == [
        (1, "allow", "hold")
    ]
    assert [one.seq for one in found.not_replayed] == [3]
