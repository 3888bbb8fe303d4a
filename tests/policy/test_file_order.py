"""Where a key stands in policy.json says nothing: policies of one hash judge alike."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.document import PolicyInvalid, load
from gateway.policy.facts import GrantFacts
from gateway.policy.judge import judge, plan_of, terms_for
from gateway.policy.pattern import specific_first
from gateway.policy.rules import Policy
from gateway.policy.verdict import Allow, Hold
from tests.policy import shapes
from tests.policy.asking import Document, ask, call, policy
from tests.policy.test_closing import facts_of_tools


def shuffled(value: Any, draw: st.DrawFn) -> Any:
    """The same document with the keys of every object in another order."""
    if isinstance(value, list):
        return [shuffled(one, draw) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: shuffled(value[key], draw) for key in draw(st.permutations(sorted(value)))}


@st.composite
def two_orders(draw: st.DrawFn) -> tuple[Policy, Policy] | None:
    document = draw(shapes.documents)
    try:
        policies = [load(json.dumps(shuffled(document, draw)).encode()) for _ in range(2)]
    except PolicyInvalid:
        return None
    return policies[0], policies[1]


@given(
    two_orders(),
    shapes.arguments,
    st.sampled_from(shapes.NAMES),
    st.sampled_from(["srv", "other"]),
    facts_of_tools,
)
@settings(max_examples=300, deadline=None)
def test_every_order_of_the_keys_of_a_policy_judges_alike(
    pair: tuple[Policy, Policy] | None,
    args: dict[str, Any],
    tool: str,
    server: str,
    facts: Any,
) -> None:
    if pair is None:
        return
    one, other = (
        judge(each, call(tool, server=server), tool=facts, grant=GrantFacts(), args=args)
        for each in pair
    )
    assert pair[0].hash == pair[1].hash
    assert one == other
    assert terms_for(pair[0], server, tool) == terms_for(pair[1], server, tool)
    assert plan_of(pair[0], server, tool) == plan_of(pair[1], server, tool)


def orders(tools: Document) -> list[Policy]:
    return [policy({"tools": dict(order)}) for order in itertools.permutations(tools.items())]


def test_the_effect_of_the_most_specific_glob_counts_in_every_order() -> None:
    tools = {
        "*pay": {"effect": "p:{args.note}"},
        "refund*": {"effect": "r:{args.id}"},
        "*": {"effect": "all:{args.id}"},
    }
    for each in orders(tools):
        verdict = ask(each, "refundpay", {"id": "1", "note": "n"})
        assert isinstance(verdict, Allow)
        assert verdict.claim is not None
        assert verdict.claim.key == "r:1"


def test_calls_are_announced_in_the_channel_of_the_most_specific_glob_in_every_order() -> None:
    tools = {
        "r*": {"require_approval": {"channel": "#wide"}},
        "*mv": {"require_approval": {"channel": "#narrow"}},
    }
    for each in orders(tools):
        verdict = ask(each, "rmv")
        assert isinstance(verdict, Hold)
        assert verdict.terms.channel == "#narrow"


@pytest.mark.parametrize(
    ("first", "second"),
    [("ab*", "a*"), ("a?", "a*"), ("a*", "*a*"), ("a*", "b*"), ("?", "*"), ("??", "?*")],
)
def test_more_letters_then_fewer_stars_then_the_name_come_first(first: str, second: str) -> None:
    assert sorted([second, first], key=specific_first) == [first, second]
