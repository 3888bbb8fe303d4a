"""Every sentence, and the close_session policy of 01 unchanged."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.policy.document import check, load
from gateway.policy.facts import ToolFacts
from gateway.policy.judge import can_hold, hidden, listed, redact_paths
from gateway.policy.verdict import Allow, Deny, Hold
from tests.policy.asking import ask, one, policy, rule, when, word

CLOSE_SESSION = b"""{"version":"1","default":"deny","tools":{"close_session":{"limits":[
  {"counter":"close_session_rate","window":"minute","max":60,"scope":"grant"}]}}}"""
LIMIT = {"counter": "c", "window": "minute", "max": 5, "scope": "grant"}
DENY = {"conditions": [], "on_deny": "No."}


def test_close_session_is_limited_to_60_a_minute_and_everything_else_is_denied() -> None:
    rules = load(CLOSE_SESSION)
    verdict = ask(rules, "close_session")
    assert isinstance(verdict, Allow)
    assert [(c.limit.text, c.limit.scope, c.amount) for c in verdict.charges] == [
        ("60 per minute", "grant", Decimal(1))
    ]
    for name in ("full_pipeline", "Close_session", "close_session2", "close_sessio"):
        other = ask(rules, name)
        assert isinstance(other, Deny)
        assert rule(other) == "(default deny)"
    assert check(CLOSE_SESSION) == ()


def test_a_hidden_tool_is_refused_even_when_it_is_listed() -> None:
    verdict = ask({"hide": ["t"], "default": "allow"}, "t")
    assert (word(verdict), rule(verdict)) == ("deny", "(hidden)")
    assert rule(ask({"hide": ["*"], "default": "allow"}, "anything")) == "(hidden)"
    assert rule(ask({"hide": ["del_?"], "default": "allow"}, "del_x")) == "(hidden)"
    assert word(ask({"hide": ["del_?"], "default": "allow"}, "del_xy")) == "allow"


def test_hidden_comes_before_every_rule() -> None:
    assert rule(ask({"hide": ["t"], **one(action="deny", reason="x")})) == "(hidden)"


@pytest.mark.parametrize(
    ("default", "outcome", "pointer"),
    [
        ("deny", "deny", "(default deny)"),
        ("allow", "allow", "(default allow)"),
        ("require_approval", "hold", "(default require_approval)"),
    ],
)
def test_a_tool_listed_nowhere_falls_to_the_default(
    default: str, outcome: str, pointer: str
) -> None:
    verdict = ask({"default": default}, "unlisted")
    assert (word(verdict), rule(verdict)) == (outcome, pointer)


def test_listed_and_empty_is_allowed() -> None:
    assert word(ask(one())) == "allow"


def test_all_tools_adds_to_every_tool_and_never_rescues_an_unlisted_one() -> None:
    rules = {"all_tools": {"limits": [LIMIT]}, "tools": {"t": {}}}
    verdict = ask(rules)
    assert isinstance(verdict, Allow)
    assert verdict.charges[0].limit.pointer == "/all_tools/limits/0"
    assert rule(ask(rules, "unlisted")) == "(default deny)"
    assert word(ask({"default": "allow", "all_tools": {"deny_if": [DENY]}}, "x")) == "deny"


def test_entries_that_match_are_taken_together() -> None:
    rules = {
        "tools": {
            "pay_now": {"limits": [LIMIT]},
            "pay_*": {"approve_if": [{"conditions": [], "reason": "Paying."}]},
        },
        "servers": {"srv": {"tools": {"pay_now": {"require_approval": {"quorum": 2}}}}},
    }
    verdict = ask(rules, "pay_now")
    assert isinstance(verdict, Hold)
    assert verdict.terms.quorum == 2
    assert len(verdict.charges) == 1
    other = ask(rules, "pay_now", server="elsewhere")
    assert isinstance(other, Hold)
    assert other.terms.quorum == 1


def test_action_deny_comes_before_deny_if_and_deny_if_before_require() -> None:
    unmet = {"conditions": when("args.reason", "exists", True), "on_deny": "Say why."}
    fired = {"conditions": when("args.a", "eq", 1), "on_deny": "Not 1."}
    rules = {"tools": {"x": {"require": [unmet], "deny_if": [fired]}, "*": {"action": "deny"}}}
    assert rule(ask(rules, "x", {"a": 1})) == "/tools/*"
    del rules["tools"]["*"]
    assert rule(ask(rules, "x", {"a": 1})) == "/tools/x/deny_if/0"
    assert rule(ask(rules, "x", {"a": 2})) == "/tools/x/require/0"
    assert word(ask(rules, "x", {"a": 2, "reason": "r"})) == "allow"


def test_the_denial_of_a_glob_beats_an_exact_entry_that_allows() -> None:
    rules = {"tools": {"delete_x": {}, "delete_*": {"action": "deny", "reason": "Never."}}}
    verdict = ask(rules, "delete_x")
    assert (rule(verdict), verdict.ruling.reason) == ("/tools/delete_*", "Never.")


def test_deny_beats_approval() -> None:
    rules = one(deny_if=[{"conditions": when("args.a", "eq", 1)}], require_approval=True)
    assert word(ask(rules, args={"a": 1})) == "deny"
    assert word(ask(rules, args={"a": 2})) == "hold"


def test_an_uncountable_amount_is_refused_before_anybody_is_asked() -> None:
    rules = one(limits=[{**LIMIT, "increment_from": "args.n"}], require_approval=True)
    assert rule(ask(rules)) == "/tools/t/limits/0"
    held = ask(rules, args={"n": 3})
    assert isinstance(held, Hold)
    assert held.charges[0].amount == 3


def test_a_grant_without_a_policy_denies_everything() -> None:
    verdict = ask(None)
    assert (word(verdict), rule(verdict)) == ("deny", "(no policy)")
    assert hidden(None, "srv", "t")


def test_a_server_section_adds_and_may_set_its_own_default() -> None:
    rules = {
        "default": "allow",
        "servers": {"live2d": {"default": "deny", "tools": {"a": {}}, "hide": ["b"]}},
    }
    assert word(ask(rules, "x", server="other")) == "allow"
    assert rule(ask(rules, "x", server="live2d")) == "(default deny)"
    assert word(ask(rules, "a", server="live2d")) == "allow"
    assert rule(ask(rules, "b", server="live2d")) == "(hidden)"
    assert word(ask(rules, "b", server="other")) == "allow"


def test_a_server_section_may_limit_all_its_tools() -> None:
    rules = {"default": "allow", "servers": {"s": {"limits": [LIMIT], "all_tools": {}}}}
    verdict = ask(rules, "x", server="s")
    assert isinstance(verdict, Allow)
    assert verdict.charges[0].limit.pointer == "/servers/s/limits/0"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*",
        "t ",
        " t",
        "T",
        "t\n",
        "t\x00",
        "t\u200b",
        "\uff54",
        "t/../t",
        "%74",
        "t" * 129,
        "\u0131",
    ],
)
def test_names_no_tool_can_have_are_refused_under_every_default(name: str) -> None:
    for default in ("allow", "deny", "require_approval"):
        verdict = ask({"default": default, "tools": {"t": {}, "s*": {}}}, name)
        if name == "T":
            continue
        assert word(verdict) == "deny", name


def test_tool_names_are_compared_byte_by_byte() -> None:
    assert rule(ask(one(), "T")) == "(default deny)"
    assert rule(ask({"tools": {"get_*": {}}}, "GET_x")) == "(default deny)"


def test_a_quarantined_tool_is_refused() -> None:
    verdict = ask(one(), facts=ToolFacts(name="t", quarantined=True))
    assert rule(verdict) == "(quarantined)"


def test_one_counter_met_twice_by_a_call_is_counted_once_with_the_lower_maximum() -> None:
    rules = {
        "all_tools": {"limits": [{**LIMIT, "max": 3}]},
        "tools": {"t": {"limits": [LIMIT]}},
    }
    verdict = ask(rules)
    assert isinstance(verdict, Allow)
    assert [charge.limit.max for charge in verdict.charges] == [3]


def test_lists_and_the_await_tool_follow_the_policy() -> None:
    rules = policy({"hide": ["h"], "tools": {"t": {}, "get_*": {}}})
    assert hidden(rules, "srv", "h")
    assert not hidden(rules, "srv", "t")
    assert listed(rules, "srv", "get_x")
    assert not listed(rules, "srv", "other")
    assert not can_hold(rules, "srv")
    assert can_hold(policy({"default": "require_approval"}), "srv")
    some = policy({"servers": {"s": {"tools": {"t": {"require_approval": True}}}}})
    assert can_hold(some, "s")
    assert not can_hold(some, "other")


def test_redacted_paths_come_from_every_level_that_applies() -> None:
    rules = policy(
        {
            "redact": ["args.password"],
            "tools": {"t": {"redact": ["args.card.number"]}, "t*": {"redact": ["args.password"]}},
            "servers": {"srv": {"redact": ["args.items[*].secret"]}},
        }
    )
    assert redact_paths(rules, "srv", "t") == (
        "args.password",
        "args.items[*].secret",
        "args.card.number",
    )
    assert redact_paths(rules, "other", "u") == ("args.password",)


def test_the_matching_condition_is_told_with_its_value() -> None:
    rules = one(
        approve_if=[{"conditions": when("args.amount", "gt", 50000), "reason": "Over $500."}]
    )
    verdict = ask(rules, args={"amount": 120000})
    assert isinstance(verdict, Hold)
    assert verdict.ruling.matched == "amount 120000 > 50000"
    assert verdict.ruling.reason == "Over $500."
    assert verdict.ruling.rule == "/tools/t/approve_if/0"


def test_values_under_a_redacted_path_are_not_told() -> None:
    rules = {
        "redact": ["args.cards[*].number"],
        **one(deny_if=[{"conditions": when("args.cards[0].number", "regex", "^4")}]),
    }
    verdict = ask(rules, args={"cards": [{"number": "4111"}]})
    assert verdict.ruling.matched == "cards[0].number (masked) matches (masked)"


@pytest.mark.parametrize(
    "args", [{"api_key": "abc"}, {"pin": 1234}, {"note": "sk_live_" + "a1B2c3D4e5F6"}]
)
def test_values_that_look_like_secrets_are_not_told(args: dict[str, object]) -> None:
    name, value = next(iter(args.items()))
    verdict = ask(one(deny_if=[{"conditions": when(f"args.{name}", "neq", 0)}]), args=args)
    assert str(value) not in verdict.ruling.matched


def test_hidden_characters_in_a_value_are_made_visible() -> None:
    rules = one(deny_if=[{"conditions": when("args.to", "neq", "x")}])
    matched = ask(rules, args={"to": "a\u202eb\x1b[2J"}).ruling.matched
    assert "\u202e" not in matched
    assert "\x1b" not in matched


def test_invented_names_are_not_remembered() -> None:
    rules = policy({"default": "allow", "hide": ["*"]})
    for length in (129, 100_000):
        assert rule(ask(rules, "x" * length)) == "(tool name)"
    assert rules.plans == {}


def test_a_long_effect_key_is_replaced_by_its_digest() -> None:
    rules = policy(one(effect="x:{args.a}"))
    keys = {ask(rules, args={"a": letter * 5000}).effect for letter in "ab"}  # type: ignore[union-attr]
    assert len(keys) == 2
    assert all(key is not None and len(key) < 100 for key in keys)


def test_an_effect_key_made_of_what_people_must_not_see_is_its_digest() -> None:
    for redact in (["args.card"], ["args.card.number"]):
        rules = policy(one(effect="pay:{args.card.number}", redact=redact))
        keys = {
            ask(rules, args={"card": {"number": number}}).effect  # type: ignore[union-attr]
            for number in ("4111111111111111", "4222222222222222")
        }
        assert len(keys) == 2
        assert not any("4111" in (key or "") for key in keys)


def test_an_effect_key_is_made_from_the_arguments_or_the_call_is_denied() -> None:
    rules = one(effect="refund:{args.payment_id}")
    verdict = ask(rules, args={"payment_id": "pay_1"})
    assert isinstance(verdict, Allow)
    assert verdict.effect == "refund:pay_1"
    assert rule(ask(rules)) == "/tools/t/effect"
    assert rule(ask(rules, args={"payment_id": {"a": 1}})) == "/tools/t/effect"
    held = ask(one(effect="x:{args.n}", require_approval=True), args={"n": 7})
    assert isinstance(held, Hold)
    assert held.effect == "x:7"


def test_the_same_policy_and_call_give_the_same_verdict() -> None:
    rules = policy(one(approve_if=[{"conditions": when("args.a", "gt", 1)}]))
    assert ask(rules, args={"a": 2}) == ask(rules, args={"a": 2})
    assert ask(rules, args={"a": 2}) == ask(policy(dict(rules.normal)), args={"a": 2})


def test_the_example_policy_has_no_errors_and_no_warnings() -> None:
    text = (Path(__file__).parents[2] / "policy.json").read_bytes()
    assert check(text) == ()
    rules = load(text)
    assert rule(ask(rules, "delete_customer")) == "/tools/delete_*"
    assert rule(ask(rules, "debug_dump")) == "(hidden)"
    held = ask(
        rules,
        "create_charge",
        {"amount": 120000, "currency": "usd", "reason": "r", "order_id": "o1"},
    )
    assert isinstance(held, Hold)
    assert held.terms.quorum == 2
    assert held.effect == "charge:o1"
    assert rules.hash == load(json.dumps(rules.normal).encode()).hash
