"""What holds for every policy and every call: hypothesis looks for one that breaks it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from approvals.model import RISKS
from gateway.policy.diff import diff
from gateway.policy.document import PolicyInvalid, check, load
from gateway.policy.explain import explain
from gateway.policy.facts import GrantFacts, ToolFacts, facts_of
from gateway.policy.importing import BadYaml, import_rules
from gateway.policy.judge import judge
from gateway.policy.rules import Policy
from gateway.policy.terms import at_risk
from gateway.policy.verdict import Hold
from tests.policy import shapes
from tests.policy.asking import call, word
from tests.policy.model import verdict as modelled

facts_of_tools = st.builds(
    ToolFacts,
    annotations=st.dictionaries(st.just("readOnlyHint"), shapes.leaves, max_size=1),
    risk=st.sampled_from([None, "low", "high"]),
)


def loaded(document: dict[str, Any]) -> Policy | None:
    try:
        return load(json.dumps(document).encode())
    except PolicyInvalid:
        return None


def asked(policy: Policy, tool: str, facts: ToolFacts, args: dict[str, Any]) -> Any:
    return judge(policy, call(tool), tool=facts, grant=GrantFacts(), args=args)


@given(shapes.documents, shapes.arguments, st.sampled_from(shapes.NAMES), facts_of_tools)
@settings(max_examples=400, deadline=None)
def test_the_judge_says_what_a_second_reading_of_the_design_says(
    document: dict[str, Any], args: dict[str, Any], tool: str, facts: ToolFacts
) -> None:
    policy = loaded(document)
    assume(policy is not None)
    assert policy is not None
    seen = dict(facts_of(call(tool), facts, GrantFacts(), args))
    expected = modelled(dict(policy.normal), "srv", tool, seen)
    verdict = asked(policy, tool, facts, args)
    assert word(verdict) == expected
    again = load(json.dumps(policy.normal).encode())
    assert word(asked(again, tool, facts, args)) == expected
    assert again.hash == policy.hash
    assert diff(policy, again) == ()
    told = explain(policy, call(tool), tool=facts, grant=GrantFacts(), args=args)
    assert told.verdict == verdict
    outcomes = {step.outcome for step in told.steps}
    if expected == "allow":
        assert outcomes <= {"passes", "takes"}
    elif expected == "hold":
        assert "holds" in outcomes
        assert "denies" not in outcomes


@given(
    shapes.documents,
    shapes.arguments,
    st.sampled_from(shapes.NAMES),
    facts_of_tools,
    st.sampled_from(["deny_if", "require", "approve_if", "limits", "hide"]),
    st.data(),
)
@settings(max_examples=400, deadline=None)
def test_adding_a_rule_never_lets_more_through(
    document: dict[str, Any],
    args: dict[str, Any],
    tool: str,
    facts: ToolFacts,
    key: str,
    data: st.DataObject,
) -> None:
    more = json.loads(json.dumps(document))
    if key == "hide":
        more.setdefault("hide", []).append(data.draw(st.sampled_from(shapes.PATTERNS)))
    else:
        lists = {
            "deny_if": shapes.rules(),
            "require": shapes.rules(1),
            "approve_if": shapes.hold_rules,
            "limits": shapes.limits,
        }
        places = [more.setdefault("all_tools", {}), *more.get("tools", {}).values()]
        place = data.draw(st.sampled_from(places))
        place.setdefault(key, []).extend(data.draw(lists[key]))
    before, after = loaded(document), loaded(more)
    assume(before is not None and after is not None)
    assert before is not None
    assert after is not None
    old, new = asked(before, tool, facts, args), asked(after, tool, facts, args)
    order = ["allow", "hold", "deny"]
    assert order.index(word(new)) >= order.index(word(old))
    if isinstance(old, Hold) and isinstance(new, Hold):
        assert new.terms.quorum >= old.terms.quorum
        assert new.terms.expires <= old.terms.expires
        assert set(new.terms.editable) <= set(old.terms.editable)
        # The catalogue has a class for every tool that is listed; without one nothing is sent.
        known = facts.risk or "low"
        risks = [RISKS.index(at_risk(one.terms, known).risk or "low") for one in (old, new)]
        assert risks[1] >= risks[0]
        assert not old.terms.reviewers or set(new.terms.reviewers) <= set(old.terms.reviewers)


@given(st.binary(max_size=300))
@example(b'{"version":"1","default":"deny","tools":{"t":{"limits":[{}]}}}')
def test_the_loader_raises_nothing_but_policy_invalid_on_bytes(text: bytes) -> None:
    with contextlib.suppress(PolicyInvalid):
        load(text)


WORDS = """version default tools all_tools servers hide reviewers approval t deny_if require
approve_if limits conditions path op value action rate_limit effect require_approval reason on_deny
expires quorum editable window max"""


@given(
    st.recursive(
        st.one_of(shapes.leaves, st.sampled_from(["args.a", "*", "grant", "minute"])),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(WORDS.split()),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=25,
    )
)
@settings(max_examples=300, deadline=None)
def test_the_loader_raises_nothing_but_policy_invalid_on_json(document: Any) -> None:
    whole = {"version": "1", "default": "deny", "tools": document, "all_tools": document}
    for one in (document, whole, {"version": "1", "default": "deny", "servers": document}):
        text = json.dumps(one).encode()
        problems = check(text)
        if any(problem.severity == "error" for problem in problems):
            with pytest.raises(PolicyInvalid) as caught:
                load(text)
            assert set(caught.value.problems) == set(problems)
        else:
            assert set(load(text).warnings) == set(problems)


@given(st.text(max_size=200))
def test_the_importer_raises_nothing_but_bad_yaml(text: str) -> None:
    for whole in (text, f"tools:\n  t:\n    rules:\n      - {text}"):
        with contextlib.suppress(BadYaml):
            import_rules(whole)
