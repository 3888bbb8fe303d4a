"""A policy judged to close for sure never lets through, or asks of fewer people, what stopped."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from gateway.policy.closing import openings
from gateway.policy.diff import diff
from gateway.policy.document import PolicyInvalid, load
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import judge, plan_of, terms_for
from gateway.policy.rules import Policy
from gateway.policy.verdict import Allow, Deny, Hold, Verdict
from tests.policy import shapes
from tests.policy.asking import Document, call, policy, when

HELD = {"require_approval": {"reviewers": ["alice", "bob"], "quorum": 1}}
BIG = when("args.amount", "gt", 100)
LIMIT = {"counter": "c", "window": "minute", "max": 5, "scope": "grant"}
BASE: Document = {
    "default": "deny",
    "hide": ["secret"],
    "reviewers": {"ops": ["alice", "bob", "carol"]},
    "approval": {"reviewers": ["ops"], "quorum": 2},
    "tools": {
        "free": {},
        "held": {"require_approval": True},
        "big": {"approve_if": [{"conditions": BIG, "reason": "Big."}]},
        "slow": {"limits": [LIMIT]},
        "no": {"action": "deny"},
    },
    "servers": {"open": {"default": "allow", "tools": {"x": {}}}},
}


def changed(**at: Any) -> Document:
    """BASE with each place ("tools.free") set to something else; None takes it away."""
    document = copy.deepcopy(BASE)
    for place, value in at.items():
        *path, last = place.split("__")
        inside = document
        for key in path:
            inside = inside.setdefault(key, {})
        if value is None:
            del inside[last]
        else:
            inside[last] = value
    return document


CLOSING = {
    "hidden besides": changed(hide=["secret", "free"]),
    "hidden instead of listed": changed(hide=["secret", "free"], tools__free=None),
    "denied": changed(tools__free={"action": "deny"}),
    "denied in some cases": changed(tools__free={"deny_if": [{"conditions": BIG}]}),
    "demanded": changed(tools__free={"require": [{"conditions": BIG}]}),
    "held": changed(tools__free={"require_approval": True}),
    "held in some cases": changed(tools__free={"approve_if": [{"conditions": BIG}]}),
    "held beside an unconditional hold": changed(
        tools__held={"require_approval": True, "approve_if": [{"conditions": BIG, "quorum": 1}]}
    ),
    "limited": changed(tools__free={"limits": [LIMIT]}),
    "a smaller limit": changed(tools__slow={"limits": [{**LIMIT, "max": 4}]}),
    "a reviewer less": changed(reviewers={"ops": ["alice", "bob"]}),
    "for every tool": changed(all_tools={"deny_if": [{"conditions": BIG}]}),
    "a server's stricter default": changed(servers__open={"default": "deny", "tools": {"x": {}}}),
    "listed as default passes to deny": changed(
        servers__open={"default": "deny", "tools": {"x": {}, "y": {}}}
    ),
    "a section that only hides": changed(servers__more={"hide": ["free"]}),
    "denied, though listed nowhere": changed(tools__other={"action": "deny"}),
    "limited where everything passes": changed(
        servers__open={"default": "allow", "tools": {"x": {}, "y": {"limits": [LIMIT]}}}
    ),
    "only described otherwise": changed(description="Ours."),
}

OPENING = {
    "listed": (changed(tools__new={}), "/tools/new"),
    "listed by a rule that refuses some": (
        changed(tools__new={"deny_if": [{"conditions": BIG}]}),
        "/tools/new",
    ),
    "listed by a rule that holds": (changed(tools__new=HELD), "/tools/new"),
    "the default": (changed(default="allow"), "/default"),
    "a server's own default": (changed(servers__other={"default": "allow"}), "/servers/other"),
    "shown": (changed(hide=[]), "/hide"),
    "no longer denied": (changed(tools__no={}), "/tools/no/deny_if"),
    "no longer held": (changed(tools__held={}), "/tools/held/approve_if"),
    "held in some cases only": (
        changed(tools__held={"approve_if": [{"conditions": BIG}]}),
        "/tools/held/approve_if",
    ),
    "held in other cases": (
        changed(tools__big={"approve_if": [{"conditions": when("args.amount", "gt", 1000)}]}),
        "/tools/big/approve_if",
    ),
    "held for a smaller quorum": (
        changed(tools__held={"require_approval": {"quorum": 1}}),
        "/tools/held/approve_if",
    ),
    "a smaller quorum by default": (changed(approval={"reviewers": ["ops"]}), "/approval"),
    "held longer": (changed(approval__expires="2d"), "/approval"),
    "a reviewer more": (
        changed(reviewers={"ops": ["alice", "bob", "carol", "eve"]}),
        "/reviewers/ops",
    ),
    "another reviewer": (changed(approval__reviewers=["ops", "eve"]), "/approval"),
    "a group that becomes an account": (
        changed(reviewers=None, approval={"reviewers": ["ops", "eve"], "quorum": 2}),
        "/reviewers/ops",
    ),
    "a group's channel": (
        changed(reviewers={"ops": {"members": ["alice", "bob", "carol"], "channel": "#nobody"}}),
        "/reviewers/ops",
    ),
    "an added rule's channel": (
        changed(tools__held={"require_approval": True, "approve_if": [
            {"conditions": BIG, "channel": "#nobody"}]}),
        "/tools/held/approve_if",
    ),
    "an added rule that sets the risk": (
        changed(
            tools__held={
                "require_approval": True,
                "approve_if": [{"conditions": BIG, "risk": {"set": "low"}}],
            }
        ),
        "/tools/held/approve_if",
    ),
    "a larger limit": (
        changed(tools__slow={"limits": [{**LIMIT, "max": 6}]}),
        "/tools/slow/limits",
    ),
    "another counter": (
        changed(tools__slow={"limits": [{**LIMIT, "counter": "d"}]}),
        "/tools/slow/limits",
    ),
    "a longer window's limit instead": (
        changed(tools__slow={"limits": [{**LIMIT, "window": "hour"}]}),
        "/tools/slow/limits",
    ),
    "an entry taken away": (changed(tools__slow=None), "/tools/slow"),
    "masked": (changed(tools__held={"require_approval": True, "redact": ["args.to"]}), "/redact"),
    "masked everywhere": (changed(redact=["args.to"]), "/redact"),
    "an effect": (changed(tools__free={"effect": "x:{args.id}"}), "/tools/free/effect"),
    "a reworded reason": (
        changed(tools__big={"approve_if": [{"conditions": BIG, "reason": "Harmless."}]}),
        "/tools/big/approve_if",
    ),
    "an entry where the root's default is deny": (
        changed(servers__open=None, tools__x={"limits": [LIMIT]}),
        "/tools/x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("document", CLOSING.values(), ids=CLOSING)
def test_what_only_closes_is_seen_to(document: Document) -> None:
    assert openings(policy(BASE), policy(document)) == ()


@pytest.mark.parametrize(("document", "where"), OPENING.values(), ids=OPENING)
def test_what_opens_or_may_open_is_told_with_its_place(document: Document, where: str) -> None:
    found = openings(policy(BASE), policy(document))
    assert any(where in place for place in found), found


def test_a_section_that_lists_a_tool_opens_where_the_root_denies() -> None:
    assert openings(policy({}), policy({"servers": {"s": {"tools": {"x": {}}}}})) == (
        "/servers/s/tools/x",
    )
    allowing = {"default": "allow"}
    assert (
        openings(policy(allowing), policy({**allowing, "tools": {"x": {"limits": [LIMIT]}}})) == ()
    )


def test_a_rule_laxer_than_the_defaults_opens_where_an_effect_is_asked_again() -> None:
    """A repeated effect is asked of `approval` only as long as no rule of the tool holds."""
    old: Document = {"approval": {"quorum": 2}, "tools": {"pay": {"effect": "p:{args.id}"}}}
    lax = {**old["tools"]["pay"], "approve_if": [{"conditions": BIG, "quorum": 1}]}
    assert terms_for(policy({**old, "tools": {"pay": lax}}), "srv", "pay").quorum == 1
    assert openings(policy(old), policy({**old, "tools": {"pay": lax}})) != ()
    strict = {**old["tools"]["pay"], "approve_if": [{"conditions": BIG, "quorum": 2}]}
    assert openings(policy(old), policy({**old, "tools": {"pay": strict}})) == ()


def test_rules_of_strangers_leave_a_repeated_effect_to_nobody_in_particular() -> None:
    """`terms_for` takes the strictest of all rules, and there is none when they share no one."""
    old: Document = {"tools": {"pay": {"effect": "p:{args.id}", "approve_if": [
        {"conditions": BIG, "reviewers": ["alice", "carol"], "quorum": 2}]}}}  # fmt: skip
    new = copy.deepcopy(old)
    few = {"conditions": when("args.amount", "lte", 100), "reviewers": ["bob"]}
    new["tools"]["pay"]["approve_if"].append(few)
    assert terms_for(policy(old), "srv", "pay").quorum == 2
    assert terms_for(policy(new), "srv", "pay").quorum == 1
    assert openings(policy(old), policy(new)) != ()


SAME_TO_PYTHON = [
    (when("args.x", "in", [1, 2, 3]), when("args.x", "in", [True, 2, 3])),
    (when("args.x", "in", [0, 1]), when("args.x", "in", [False, 1])),
    (when("args.x", "not_in", [False, 5]), when("args.x", "not_in", [0, 5])),
    (when("args.x", "eq", 1), when("args.x", "eq", True)),
    (when("args.x", "neq", False), when("args.x", "neq", 0)),
    (when("args.x", "gte", 1e23), when("args.x", "gte", int(1e23))),
    (when("args.x", "eq", 1), when("args.x", "eq", 1.0)),
]


@pytest.mark.parametrize("kind", ["approve_if", "deny_if", "require"])
@pytest.mark.parametrize(("before", "after"), SAME_TO_PYTHON)
def test_values_that_are_equal_for_python_alone_are_another_rule(
    kind: str, before: list[Document], after: list[Document]
) -> None:
    old, new = (policy({"tools": {"t": {kind: [{"conditions": one}]}}}) for one in (before, after))
    assert openings(old, new) == (f"/tools/t/{kind}",)
    assert openings(new, old) == (f"/tools/t/{kind}",)
    changes = [str(change) for change in diff(old, new)]
    assert changes
    assert "order" not in str(changes)


EVIL = "slack:T1/UEVIL"
STRANGERS: dict[str, Document] = {
    "an open rule": {"tools": {"rm": {"require_approval": {"reviewers": [EVIL]}}}},
    "an open rule, among people on record": {
        "tools": {"rm": {"require_approval": {"reviewers": ["alice", EVIL]}}}
    },
    "an open rule, by a user group": {
        "tools": {"rm": {"require_approval": {"reviewers": ["slack-group:T1/S1"]}}}
    },
    "the approval default": {
        "approval": {"reviewers": [EVIL]},
        "tools": {"rm": {"require_approval": True}},
    },
    "an added rule": {
        "tools": {
            "rm": {
                "require_approval": True,
                "approve_if": [{"conditions": [], "reviewers": [EVIL]}],
            }
        }
    },
    "a rule for every tool": {
        "all_tools": {"require_approval": {"reviewers": [EVIL]}},
        "tools": {"rm": {"require_approval": True}},
    },
}


@pytest.mark.parametrize("document", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_whom_a_rule_names_is_an_opening(document: Document) -> None:
    """An open rule is for people on record; the account that a rule names decides by that alone."""
    old = policy({"tools": {"rm": {"require_approval": True}}})
    assert openings(old, policy(document), people=frozenset({"alice", "bob"})) != ()
    known = json.loads(
        json.dumps(document).replace(EVIL, "slack:T1/UBOB").replace("slack-group:T1/S1", "bob")
    )
    on_record = frozenset({"alice", "bob", "slack:T1/UBOB"})
    assert openings(old, policy(known), people=on_record) == ()
    assert openings(old, policy(known)) != ()  # no one is on record


def test_rules_of_several_channels_stay_in_their_order() -> None:
    """The first says where calls are announced."""
    rules = [{"conditions": BIG, "channel": one} for one in ("#payments", "#nobody")]
    old, new = (policy({"tools": {"t": {"approve_if": list(order)}}})
                for order in (rules, reversed(rules)))  # fmt: skip
    assert openings(old, new) == ("/tools/t/approve_if",)
    same = [{"conditions": BIG}, {"conditions": when("args.n", "gt", 1)}]
    old, new = (policy({"tools": {"t": {"approve_if": list(order)}}})
                for order in (same, reversed(same)))  # fmt: skip
    assert openings(old, new) == ()


# A second policy that is near the first: some edits close, some open, some do both.
edits = st.sampled_from(
    ["hide", "deny_if", "require", "approve_if", "limits", "max", "reviewers", "default",
     "drop", "entry", "swap", "term", "section"]
)  # fmt: skip
more_rules = shapes.rules(1)
more_holds = shapes.hold_rules
more_limits = shapes.limits


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Policy, Policy]:
    old = draw(shapes.documents.filter(_usable))
    new = copy.deepcopy(old)
    for edit in draw(st.lists(edits, min_size=1, max_size=3)):
        _edit(new, edit, draw)
    if not _usable(new):
        new = old
    return load(json.dumps(old).encode()), load(json.dumps(new).encode())


def _usable(document: Document) -> bool:
    try:
        load(json.dumps(document).encode())
    except PolicyInvalid:
        return False
    return True


def _edit(document: Document, edit: str, draw: st.DrawFn) -> None:
    parts = [document, *document.get("servers", {}).values()]
    part = draw(st.sampled_from(parts))
    tools = part.setdefault("tools", {})
    if edit == "hide":
        part["hide"] = [*part.get("hide", []), draw(st.sampled_from(["tt", "*y"]))]
    elif edit == "default":
        part["default"] = draw(shapes.defaults)
    elif edit == "section":
        document.setdefault("servers", {})["srv"] = draw(shapes.sections)
    elif edit == "entry":
        tools[draw(st.sampled_from(shapes.PATTERNS))] = draw(shapes.entries)
    elif edit == "drop" and tools:
        del tools[draw(st.sampled_from(sorted(tools)))]
    else:
        entries = [*tools.values(), part.setdefault("all_tools", {})]
        _edit_entry(draw(st.sampled_from(entries)), edit, draw)


def _edit_entry(entry: dict[str, Any], edit: str, draw: st.DrawFn) -> None:
    more = {"deny_if": more_rules, "require": more_rules, "limits": more_limits}
    if edit in more:
        entry[edit] = [*entry.get(edit, []), *draw(more[edit])]
    elif edit == "approve_if":
        entry[edit] = [*draw(more_holds), *entry.get(edit, [])]
    elif edit == "max":
        for limit in entry.get("limits", []):
            limit["max"] = max(0, limit["max"] + draw(st.integers(-2, 1)))
    elif edit == "swap":
        for key in ("deny_if", "require", "approve_if", "limits"):
            entry[key] = list(reversed(entry.get(key, [])))
    elif edit in ("reviewers", "term"):
        for rule in entry.get("approve_if", []):
            if edit == "term":
                rule["quorum"] = draw(st.integers(1, 2))
            else:
                rule["reviewers"] = draw(st.sampled_from([["x"], ["y"], ["x", "y"]]))


facts_of_tools = st.builds(
    ToolFacts,
    annotations=st.dictionaries(st.just("readOnlyHint"), shapes.leaves, max_size=1),
    risk=st.sampled_from([None, "low", "high"]),
    trust_annotations=st.booleans(),
)


@given(
    pairs(),
    shapes.arguments,
    st.sampled_from(shapes.NAMES),
    st.sampled_from(["srv", "other"]),
    facts_of_tools,
    st.sampled_from([frozenset(), frozenset({"x"})]),
)
@settings(max_examples=250, deadline=None)
def test_what_closes_for_sure_lets_nothing_through_and_asks_nobody_less(
    pair: tuple[Policy, Policy],
    args: dict[str, Any],
    tool: str,
    server: str,
    facts: ToolFacts,
    people: frozenset[str],
) -> None:
    old, new = pair
    if openings(old, new, people=people):
        return
    before, after = (
        judge(one, call(tool, server=server), tool=facts, grant=GrantFacts(), args=args)
        for one in pair
    )
    assert _as_strict(before, after, people), (before, after)
    if plan_of(new, server, tool).effect is not None:  # a repetition is held under these
        assert _terms_as_strict(terms_for(old, server, tool), terms_for(new, server, tool), people)


def _as_strict(before: Verdict, after: Verdict, people: frozenset[str]) -> bool:
    if isinstance(after, Deny):
        return True
    if isinstance(before, Deny):
        return False
    if isinstance(before, Hold) and not (
        isinstance(after, Hold) and _terms_as_strict(before.terms, after.terms, people)
    ):
        return False
    assert isinstance(before, Allow | Hold)
    taken = {(one.limit.counter, one.limit.window, one.limit.scope, one.limit.increment_from): one
             for one in after.charges}  # fmt: skip
    for one in before.charges:
        same = taken.get(
            (one.limit.counter, one.limit.window, one.limit.scope, one.limit.increment_from)
        )
        if same is None or same.limit.max > one.limit.max or same.amount < one.amount:
            return False
    return before.effect == after.effect


def _terms_as_strict(before: Any, after: Any, people: frozenset[str]) -> bool:
    fewer = set(after.reviewers) <= set(before.reviewers) and bool(after.reviewers)
    nobody_else = not before.reviewers and people.issuperset(after.reviewers)
    return (
        (nobody_else or fewer)
        and after.quorum >= before.quorum
        and after.expires <= before.expires
        and after.use_within <= before.use_within
        and after.undo >= before.undo
        and set(after.editable) <= set(before.editable)
        and after.not_owner >= before.not_owner
        and after.web_only >= before.web_only
        and after.deny_memory >= before.deny_memory
        and after.allow_duplicates <= before.allow_duplicates
    )


def test_the_random_pairs_are_of_both_kinds() -> None:
    """Or the property above would hold of nothing."""
    for closes in (True, False):
        old, new = find(
            pairs(),
            lambda pair: pair[0].hash != pair[1].hash and (openings(*pair) == ()) is closes,  # noqa: B023
            settings=settings(database=None, deadline=None, phases=[Phase.generate]),
        )
        assert openings(old, old) == openings(new, new) == ()
