"""Whether the people on record can give the approvals a policy asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from approvals.model import Reviewer, Role
from gateway.policy.document import load
from gateway.policy.staffing import unstaffed


def person(name: str, *identities: str, role: Role = "approver") -> Reviewer:
    return Reviewer(id=name, role=role, identities=identities)


def found(
    people: list[Reviewer], *, vouched: frozenset[str] = frozenset(), **policy: Any
) -> list[tuple[str, str, str]]:
    document = {"version": "1", "default": "deny", **policy}
    problems = unstaffed(load(json.dumps(document).encode()), people, vouched=vouched)
    assert all(problem.severity == "error" for problem in problems)
    return [(problem.pointer, problem.what, problem.write) for problem in problems]


def held(**terms: Any) -> dict[str, Any]:
    return {"pay": {"approve_if": [{"conditions": [], "reason": "Money.", **terms}]}}


ANN, BEN, EYE = person("ann"), person("ben", role="admin"), person("eye", role="viewer")


def test_named_people_who_are_not_there_cannot_approve() -> None:
    assert found([ANN], tools=held(reviewers=["carol"])) == [
        (
            "/tools/pay/approve_if/0",
            "No one can approve what this holds (carol is no approver on record).",
            "Add people: signoff reviewer add carol",
        )
    ]


def test_a_group_nobody_of_whom_is_there_cannot_approve() -> None:
    ops = {"ops": ["w", "x", "y", "z"]}
    (problem,) = found([ANN], reviewers=ops, tools=held(reviewers=["ops"]))
    assert "(w, x, y and 1 more are no approvers on record)" in problem[1]


def test_one_of_a_group_is_enough() -> None:
    assert found([ANN], tools=held(reviewers=["carol", "ann"])) == []


def test_who_may_only_look_cannot_approve() -> None:
    assert "eye is no approver on record" in found([EYE], tools=held(reviewers=["eye"]))[0][1]
    assert found([EYE], tools=held())[0][2] == "Add people: signoff reviewer add NAME"


def test_more_people_must_agree_than_there_are() -> None:
    assert found([ANN, EYE], tools=held(quorum=2)) == [
        (
            "/tools/pay/approve_if/0",
            "2 people must approve what this holds, and only 1 person may.",
            "Add people: signoff reviewer add NAME",
        )
    ]
    assert found([ANN, BEN], tools=held(quorum=2)) == []


def test_two_names_of_one_person_are_one_person() -> None:
    ann = person("ann", "slack:T1/U1")
    both = held(reviewers=["ann", "slack:T1/U1"], quorum=2)
    assert found([ann], tools=both)[0][1].endswith("only 1 person may.")
    assert found([ann], tools=held(reviewers=["slack:T1/U1"])) == []


def test_whom_slack_proves_needs_not_be_on_record_where_slack_is_set_up() -> None:
    slack = frozenset({"slack"})
    named, group = held(reviewers=["slack:T1/U1"]), held(reviewers=["slack-group:T1/S1"], quorum=9)
    assert found([ANN], vouched=slack, tools=named) == []
    assert found([ANN], vouched=slack, tools=group) == []
    assert found([ANN], tools=named)[0][2] == (
        "Say whose that is: signoff reviewer add NAME --identity slack:T1/U1"
    )
    assert len(found([ANN], tools=group)) == 1


@pytest.mark.parametrize("place", ["root", "server", "all_tools", "defaults"])
def test_every_place_that_holds_calls_is_looked_at(place: str) -> None:
    terms: dict[str, Any] = {"approval": {"reviewers": ["carol"]}}
    policies: dict[str, dict[str, Any]] = {
        "root": {"default": "require_approval"},
        "server": {"servers": {"pay": {"default": "require_approval"}}},
        "all_tools": {"all_tools": {"approve_if": [{"conditions": [], "reason": "All."}]}},
        "defaults": {"tools": {"pay": {"require_approval": True}}},
    }
    (problem,) = found([ANN], **terms, **policies[place])
    assert (
        problem[0]
        == {
            "root": "/default",
            "server": "/servers/pay/default",
            "all_tools": "/all_tools/approve_if/0",
            "defaults": "/tools/pay/require_approval",
        }[place]
    )
    assert found([person("carol")], **terms, **policies[place]) == []


def test_one_missing_person_is_told_once_and_a_policy_that_holds_nothing_needs_nobody() -> None:
    rules = [{"conditions": [], "reason": why, "reviewers": ["x"]} for why in ("A.", "B.")]
    assert (
        len(found([ANN], tools={"a": {"approve_if": rules[:1]}, "b": {"approve_if": rules}})) == 1
    )
    assert found([], approval={"reviewers": ["x"]}, tools={"a": {}}) == []
