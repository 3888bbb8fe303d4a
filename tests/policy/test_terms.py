"""Approval terms: defaults, the strictest of several, and policies no one could satisfy."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.model import Terms
from gateway.policy.judge import terms_for
from gateway.policy.reading import brief
from gateway.policy.terms import strictest
from gateway.policy.verdict import Hold
from tests.policy.asking import Document, ask, found, one, policy, rule, when, word

GROUPS = {"ops": ["alice", "bob"], "cfo": ["carol"], "all": ["ops", "cfo", "slack:T1/U1"]}


def terms(rules: Document, args: Any = None) -> Terms:
    verdict = ask(rules, args=args)
    assert isinstance(verdict, Hold)
    return verdict.terms


def test_terms_nobody_stated_are_the_documented_defaults() -> None:
    assert terms(one(require_approval=True)) == Terms()
    assert Terms() == Terms(quorum=1, expires=1800, use_within=900, when_detached="keep")


def test_approval_defaults_fill_in_what_a_rule_does_not_state() -> None:
    rules = {
        "reviewers": GROUPS,
        "approval": {"reviewers": ["ops"], "expires": "10m", "hold": 20},
        **one(approve_if=[{"conditions": [], "expires": "1h30m", "risk": "high"}]),
    }
    assert terms(rules) == Terms(reviewers=("alice", "bob"), expires=5400, hold=20, risk="high")


def test_groups_are_resolved_to_people_each_once() -> None:
    rules = {"reviewers": GROUPS, **one(require_approval={"reviewers": ["all", "bob", "dave"]})}
    assert terms(rules).reviewers == ("alice", "bob", "carol", "slack:T1/U1", "dave")


def test_every_term_of_a_rule_reaches_the_approval() -> None:
    stated = {
        "reviewers": ["alice", "bob"],
        "quorum": 2,
        "expires": "2d",
        "hold": "5s",
        "use_within": "1h",
        "undo": "2s",
        "when_detached": "execute",
        "editable": ["args.amount"],
        "risk": "critical",
        "not_owner": True,
        "deny_memory": 0,
        "allow_duplicates": True,
        "channel": "#ops",
        "web_only": True,
    }
    assert terms(one(approve_if=[{"conditions": [], **stated}])) == Terms(
        reviewers=("alice", "bob"),
        quorum=2,
        expires=172800,
        hold=5,
        use_within=3600,
        undo=2,
        when_detached="execute",
        editable=("args.amount",),
        risk="critical",
        not_owner=True,
        deny_memory=0,
        allow_duplicates=True,
        channel="#ops",
        web_only=True,
    )


def test_the_strictest_terms_win_when_several_rules_hold() -> None:
    lax = {
        "reviewers": ["a", "b", "c"],
        "quorum": 1,
        "expires": "1h",
        "hold": 60,
        "undo": 5,
        "when_detached": "execute",
        "editable": ["args.x", "args.y"],
        "risk": "low",
        "allow_duplicates": True,
        "deny_memory": "1h",
    }
    strict = {
        "reviewers": ["b", "c", "d"],
        "quorum": 2,
        "expires": "5m",
        "use_within": "1m",
        "undo": "20s",
        "when_detached": "withdraw",
        "editable": ["args.y"],
        "risk": "high",
        "not_owner": True,
        "web_only": True,
    }
    rules = one(approve_if=[{"conditions": [], **lax}, {"conditions": [], **strict}])
    assert terms(rules) == Terms(
        reviewers=("b", "c"),
        quorum=2,
        expires=300,
        hold=60,
        use_within=60,
        undo=20,
        when_detached="withdraw",
        editable=("args.y",),
        risk="high",
        not_owner=True,
        deny_memory=3600,
        web_only=True,
    )


PAYMENTS = {"members": ["alice", "bob"], "channel": "#payments"}
OPS = {"members": ["carol"], "channel": "#ops"}


@pytest.mark.parametrize(
    ("rule", "approval", "channel"),
    [
        ({"reviewers": ["pay"]}, {}, "#payments"),
        ({"reviewers": ["pay"], "channel": "#own"}, {"channel": "#all"}, "#own"),
        ({"reviewers": ["pay"]}, {"channel": "#all"}, "#payments"),
        ({"reviewers": ["dave", "plain", "ops", "pay"]}, {}, "#ops"),
        ({"reviewers": ["plain"]}, {"channel": "#all"}, "#all"),
        ({"reviewers": ["nested"]}, {}, None),
        ({}, {"reviewers": ["pay"]}, "#payments"),
        ({}, {"reviewers": ["pay"], "channel": "#all"}, "#all"),
        ({"reviewers": ["plain"]}, {"reviewers": ["pay"]}, None),
        ({"quorum": 1}, {"reviewers": ["pay"]}, "#payments"),
        ({"reviewers": ["ops"]}, {"reviewers": ["pay"], "channel": "#all"}, "#ops"),
    ],
)
def test_a_group_has_a_channel_below_the_rules_and_above_the_default(
    rule: Any, approval: Any, channel: str | None
) -> None:
    groups = {"pay": PAYMENTS, "ops": OPS, "plain": ["erin"], "nested": ["pay"]}
    rules = {"reviewers": groups, "approval": approval, **one(require_approval=rule or True)}
    assert terms(rules).channel == channel


def test_a_group_with_a_channel_names_the_same_people_as_a_list() -> None:
    rule = one(require_approval={"reviewers": ["all"]})
    groups = {"all": {"members": ["pay", "dave"], "channel": "#all"}, "pay": PAYMENTS}
    assert terms({"reviewers": groups, **rule}).reviewers == ("alice", "bob", "dave")


def test_all_reasons_and_conditions_of_a_hold_are_told() -> None:
    rules = one(
        approve_if=[
            {"conditions": when("args.n", "gt", 1), "reason": "Many."},
            {"conditions": when("args.to", "eq", "x"), "reason": "To x."},
        ]
    )
    verdict = ask(rules, args={"n": 2, "to": "x"})
    assert verdict.ruling.reason == "Many. To x."
    assert verdict.ruling.matched == 'n 2 > 1 and to "x" = "x"'


def test_an_empty_intersection_of_reviewers_is_a_load_error() -> None:
    rules = {
        "reviewers": GROUPS,
        "tools": {
            "pay": {"require_approval": {"reviewers": ["ops"]}},
            "p*": {"require_approval": {"reviewers": ["cfo"]}},
        },
    }
    assert list(found(rules)) == ["/tools/p*/require_approval"]


@pytest.mark.parametrize(
    "rules",
    [
        {
            "all_tools": {"approve_if": [{"conditions": [], "reviewers": ["a"]}]},
            "tools": {"t": {"require_approval": {"reviewers": ["b"]}}},
        },
        {
            "tools": {
                "a*": {"require_approval": {"reviewers": ["a"]}},
                "*z": {"require_approval": {"reviewers": ["b"]}},
            }
        },
        {
            "tools": {"t": {"require_approval": {"reviewers": ["a"]}}},
            "servers": {"s": {"tools": {"t": {"require_approval": {"reviewers": ["b"]}}}}},
        },
        {
            "default": "require_approval",
            "approval": {"reviewers": ["a"]},
            "all_tools": {"approve_if": [{"conditions": [], "reviewers": ["b"]}]},
        },
        one(
            approve_if=[
                {"conditions": [], "reviewers": ["a", "b"]},
                {"conditions": [], "reviewers": ["b", "c"]},
                {"conditions": [], "reviewers": ["c", "a"]},
            ]
        ),
    ],
)
def test_rules_that_may_meet_must_share_a_reviewer(rules: Document) -> None:
    assert len(found(rules)) == 1


def test_rules_that_exclude_each_other_need_not_share_a_reviewer() -> None:
    rules = one(
        approve_if=[
            {"conditions": when("args.n", "gt", 10), "reviewers": ["cfo"]},
            {"conditions": when("args.n", "lte", 10), "reviewers": ["ops"]},
        ]
    )
    assert found(rules) == {}
    assert word(ask(rules, args={"n": 11})) == "hold"
    closed = ask(rules, args={"n": "11"})
    assert (word(closed), rule(closed)) == ("deny", "/tools/t/approve_if/0")


def test_an_unsatisfiable_quorum_is_a_load_error() -> None:
    rules = {"reviewers": GROUPS, **one(require_approval={"reviewers": ["ops"], "quorum": 3})}
    assert list(found(rules)) == ["/tools/t/require_approval/quorum"]
    assert found({"approval": {"reviewers": ["a"], "quorum": 2}}) != {}
    crowd = one(require_approval={"reviewers": ["slack-group:T1/S1"], "quorum": 3})
    assert found(crowd) == {}
    anybody = one(require_approval={"quorum": 3})
    assert found(anybody) == {}


def test_a_quorum_that_only_fails_together_is_a_load_error() -> None:
    rules = one(
        approve_if=[
            {"conditions": [], "reviewers": ["a", "b"], "quorum": 2},
            {"conditions": [], "reviewers": ["b", "c"]},
        ]
    )
    assert list(found(rules)) == ["/tools/t/approve_if/1"]


@pytest.mark.parametrize(
    ("reviewers", "pointer"),
    [
        ([], "/reviewers/g"),
        ("alice", "/reviewers/g"),
        ([""], "/reviewers/g/0"),
        (["bob", 5], "/reviewers/g/1"),
        (["g"], "/reviewers/g"),
        (["slack:T1"], "/reviewers/g/0"),
        (["teams:x"], "/reviewers/g/0"),
        (["al ice"], "/reviewers/g/0"),
        ({"channel": "#x"}, "/reviewers/g"),
        ({"members": []}, "/reviewers/g/members"),
        ({"members": ["al ice"]}, "/reviewers/g/members/0"),
        ({"members": ["g"]}, "/reviewers/g"),
        ({"members": ["a"], "channel": 5}, "/reviewers/g/channel"),
        ({"members": ["a"], "chanel": "#x"}, "/reviewers/g/chanel"),
    ],
)
def test_empty_circular_and_unknown_reviewers_are_errors(reviewers: Any, pointer: str) -> None:
    assert list(found({"reviewers": {"g": reviewers}})) == [pointer]


def test_a_name_close_to_a_group_is_pointed_out() -> None:
    rules = {"reviewers": {"finance": ["a"]}, **one(require_approval={"reviewers": ["finanse"]})}
    assert "finance" in found(rules, "warning")["/tools/t/require_approval/reviewers/0"]


def test_a_call_held_by_something_else_has_terms_too() -> None:
    rules = policy(
        {
            "approval": {"expires": "5m"},
            "tools": {"t": {}, "u": {"require_approval": {"quorum": 2}}},
        }
    )
    assert terms_for(rules, "srv", "t").expires == 300
    assert terms_for(rules, "srv", "u").quorum == 2
    assert terms_for(None, "srv", "u") == Terms()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("50s", 50), ("30m", 1800), ("1h30m", 5400), ("2d", 172800), (90, 90), ("90s", 90)],
)
def test_durations_are_read_and_spelled(written: Any, seconds: int) -> None:
    assert terms(one(require_approval={"expires": written})).expires == seconds
    assert terms(one(require_approval={"expires": brief(seconds)})).expires == seconds


@pytest.mark.parametrize(
    "written", ["", "30", "m", "30 m", "-5m", "1.5h", 0, -1, True, None, "99d"]
)
def test_a_wrong_duration_is_an_error(written: Any) -> None:
    assert list(found(one(require_approval={"expires": written}))) == [
        "/tools/t/require_approval/expires"
    ]


def test_reveal_opens_only_where_every_rule_that_holds_says_so() -> None:
    assert strictest([Terms(reveal="admin"), Terms(reveal="admin")]) == Terms(reveal="admin")
    assert strictest([Terms(reveal="admin"), Terms()]) == Terms()


def test_reveal_is_an_administrators_or_nobodys() -> None:
    held = ask(one(require_approval={"reveal": "admin"}))
    assert isinstance(held, Hold)
    assert held.terms.reveal == "admin"
    assert "/tools/t/require_approval/reveal" in found(one(require_approval={"reveal": "approver"}))
