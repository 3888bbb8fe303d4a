"""Every row, its normal form and its verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.policy.document import load
from gateway.policy.verdict import Allow, Hold
from tests.policy.asking import ask, found, one, policy, rule, when, word

DENIAL = {"deny_if": [{"conditions": [], "on_deny": "No."}]}
MANY = when("args.n", "gt", 5)


def limit(counter: str, most: int, window: Any) -> dict[str, Any]:
    return {"limits": [{"counter": counter, "window": window, "max": most, "scope": "grant"}]}


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ({"action": "allow"}, {}),
        ({"action": "deny", "reason": "No."}, DENIAL),
        ({"action": "deny", "on_deny": "No."}, DENIAL),
        ({"action": "deny"}, {"deny_if": [{"conditions": []}]}),
        ({"action": "require_approval"}, {"require_approval": True}),
        ({"action": "require_approval", "conditions": []}, {"require_approval": True}),
        (
            {"action": "require_approval", "reason": "R.", "approval_timeout": "30m"},
            {"require_approval": {"reason": "R.", "expires": "30m"}},
        ),
        (
            {"action": "require_approval", "conditions": MANY, "approval_timeout": 90},
            {"approve_if": [{"conditions": MANY, "expires": "1m30s"}]},
        ),
        ({"require_approval": True, "reason": "R."}, {"require_approval": {"reason": "R."}}),
        ({"require_approval": False}, {}),
        ({"rate_limit": {"max": 10, "window": 60}}, limit("t_rate", 10, 60)),
        ({"rate_limit": {"max": 10, "window": "hour"}}, limit("t_rate", 10, "hour")),
        ({"rate_limit": "5/hour"}, limit("t_rate", 5, "hour")),
        ({"rate_limit": "5/90"}, limit("t_rate", 5, 90)),
        ({"deny_if": [{"conditions": [], "reason": "No."}]}, DENIAL),
    ],
)
def test_an_older_spelling_has_the_normal_form(written: Any, normal: Any) -> None:
    assert policy(one(**written)).normal["tools"]["t"] == normal


def test_action_hide_becomes_hide() -> None:
    rules = policy(one(action="hide"))
    assert (rules.normal["hide"], rules.normal["tools"]) == (["t"], {})
    assert rule(ask(rules)) == "(hidden)"


def test_action_deny_denies_and_names_the_entry() -> None:
    verdict = ask({"tools": {"delete_*": {"action": "deny", "reason": "Never."}}}, "delete_x")
    assert (rule(verdict), verdict.ruling.reason) == ("/tools/delete_*", "Never.")


def test_action_require_approval_holds() -> None:
    held = ask(one(action="require_approval", conditions=MANY, reason="R."), args={"n": 6})
    assert isinstance(held, Hold)
    assert (rule(held), held.ruling.reason) == ("/tools/t", "R.")
    assert word(ask(one(action="require_approval", conditions=MANY), args={"n": 5})) == "allow"


def test_rate_limit_is_a_limit_of_the_grant() -> None:
    verdict = ask(one(rate_limit={"max": 10, "window": 60}))
    assert isinstance(verdict, Allow)
    assert verdict.charges[0].limit.text == "10 per 60 seconds"
    assert verdict.charges[0].limit.scope == "grant"


def test_rate_limits_of_one_tool_on_two_servers_do_not_clash() -> None:
    rules = {
        "servers": {
            "a": {"tools": {"t": {"rate_limit": "5/hour"}}},
            "b": {"tools": {"t": {"rate_limit": "5/day"}}},
        }
    }
    assert found(rules) == {}


@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        ({"action": "block"}, "action"),
        ({"action": "deny", "conditions": MANY}, "conditions"),
        ({"action": "deny", "limits": [1]}, "limits"),
        ({"action": "deny", "rate_limit": "5/hour"}, "rate_limit"),
        ({"action": "deny", "require_approval": True}, "require_approval"),
        ({"action": "deny", "reason": "a", "on_deny": "b"}, "reason"),
        ({"action": "hide", "rate_limit": "5/hour"}, "rate_limit"),
        ({"action": "allow", "require_approval": True}, "require_approval"),
        ({"action": "allow", "conditions": MANY}, "conditions"),
        ({"action": "require_approval", "require_approval": False}, "require_approval"),
        ({"action": "require_approval", "approval_timeout": "x"}, "approval_timeout"),
        ({"conditions": MANY}, "conditions"),
        ({"reason": "x"}, "reason"),
        ({"rate_limit": "5 per hour"}, "rate_limit"),
        ({"rate_limit": 5}, "rate_limit"),
        ({"rate_limit": "5/week"}, "rate_limit/window"),
        ({"rate_limit": {"max": "5", "window": 60}}, "rate_limit/max"),
        ({"rate_limit": {"max": 5, "window": 60, "scope": "x"}}, "rate_limit/scope"),
        ({"require_approval": "yes"}, "require_approval"),
        ({"rules": []}, "rules"),
    ],
)
def test_a_wrong_or_contradicting_older_spelling_is_an_error(entry: Any, pointer: str) -> None:
    assert f"/tools/t/{pointer}" in found(one(**entry))


def test_rules_lists_are_sent_to_the_importer() -> None:
    assert "signoff policy import" in found(one(rules=[]))["/tools/t/rules"]


def test_a_denial_that_promises_approval_stays_a_denial_and_is_warned_of() -> None:
    rules = one(deny_if=[{"conditions": [], "on_deny": "Requires human approval."}])
    assert word(ask(rules)) == "deny"
    assert "require_approval" in found(rules, "warning")["/tools/t/deny_if/0"]
    again = one(action="deny", reason="requires approval")
    assert "/tools/t" in found(again, "warning")


@pytest.mark.parametrize(
    "document",
    [
        one(action="deny", reason="No."),
        one(action="require_approval", approval_timeout="5m"),
        one(rate_limit="5/hour", deny_if=[{"conditions": MANY}], redact=["args.a[*].b"]),
        {
            "servers": {
                "s": {"default": "allow", "hide": ["x*"], "tools": {"t": {"effect": "a:{args.b}"}}}
            }
        },
        {"reviewers": {"g": ["a", "b"]}, "approval": {"reviewers": ["g"], "hold": "90s"}},
        {
            "reviewers": {"g": {"members": ["h", "b"], "channel": "#x"}, "h": ["a"]},
            **one(require_approval={"reviewers": ["g"], "web_only": True}),
        },
    ],
)
def test_the_normal_form_is_its_own_normal_form(document: Any) -> None:
    first = policy(document)
    again = load(json.dumps(first.normal).encode())
    assert again.normal == first.normal
    assert again.hash == first.hash


def test_the_hash_changes_with_what_is_enforced_and_only_with_that() -> None:
    plain = policy(one(rate_limit="5/hour"))
    assert policy({"description": "x", **one(rate_limit="5/hour")}).hash == plain.hash
    assert policy(one(rate_limit={"max": 5, "window": "hour"})).hash == plain.hash
    assert policy(one(rate_limit="6/hour")).hash != plain.hash
