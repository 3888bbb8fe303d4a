"""How a policy states them and what one call takes from them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.policy.verdict import Allow
from tests.policy.asking import ask, found, one, rule, word

LIMIT = {"counter": "spend", "window": "day", "max": 100, "scope": "grant"}
SUMMED = one(limits=[{**LIMIT, "increment_from": "args.order.amount"}])


def taken(amount: Any) -> Decimal:
    verdict = ask(SUMMED, args={"order": {"amount": amount}})
    assert isinstance(verdict, Allow)
    return verdict.charges[0].amount


@pytest.mark.parametrize(
    ("window", "seconds", "text"),
    [
        ("minute", 60, "100 per minute"),
        ("hour", 3600, "100 per hour"),
        ("day", 86400, "100 per day"),
        (90, 90, "100 per 90 seconds"),
        (60, 60, "100 per 60 seconds"),
    ],
)
def test_a_window_is_a_name_or_seconds(window: Any, seconds: int, text: str) -> None:
    verdict = ask(one(limits=[{**LIMIT, "window": window}]))
    assert isinstance(verdict, Allow)
    assert (verdict.charges[0].limit.window, verdict.charges[0].limit.text) == (seconds, text)


@pytest.mark.parametrize("scope", ["grant", "session", "server", "global"])
def test_every_scope_is_known(scope: str) -> None:
    verdict = ask(one(limits=[{**LIMIT, "scope": scope}]))
    assert isinstance(verdict, Allow)
    assert verdict.charges[0].limit.scope == scope


def test_amounts_are_exact() -> None:
    assert sum(taken(0.1) for _ in range(10)) == 1
    assert taken(2**70 + 1) == Decimal(2**70 + 1)
    assert taken(1e3) == 1000
    assert taken(0) == 0


@pytest.mark.parametrize("amount", [None, -1, -0.01, "5", True, [], {}, float("nan"), float("inf")])
def test_a_missing_negative_or_wrong_amount_is_refused(amount: Any) -> None:
    verdict = ask(SUMMED, args={"order": {"amount": amount}})
    assert (word(verdict), rule(verdict)) == ("deny", "/tools/t/limits/0")
    assert word(ask(SUMMED, args={})) == "deny"
    assert word(ask(SUMMED, args={"order": 5})) == "deny"


def test_limits_may_share_a_counter_only_with_equal_window_and_scope() -> None:
    def pair(**other: Any) -> dict[str, str]:
        return found({"tools": {"a": {"limits": [LIMIT]}, "b": {"limits": [{**LIMIT, **other}]}}})

    assert pair(max=7) == {}
    assert list(pair(window="hour")) == ["/tools/b/limits/0"]
    assert list(pair(scope="global")) == ["/tools/b/limits/0"]
    assert pair(counter="other", scope="global") == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max", "60"),
        ("max", True),
        ("max", -1),
        ("max", None),
        ("window", "minutes"),
        ("window", 0),
        ("window", 1.5),
        ("window", True),
        ("scope", "user"),
        ("counter", ""),
        ("counter", 5),
        ("increment_from", "amount"),
        ("increment_from", "args"),
        ("increment_from", "args.items[*].n"),
        ("increment_from", "tool.risk"),
        ("per", "x"),
    ],
)
def test_a_limit_of_the_wrong_type_is_an_error(key: str, value: Any) -> None:
    assert list(found(one(limits=[{**LIMIT, key: value}]))) == [f"/tools/t/limits/0/{key}"]


@pytest.mark.parametrize("key", ["counter", "window", "max", "scope"])
def test_a_limit_without_one_of_its_keys_is_an_error(key: str) -> None:
    limit = {name: value for name, value in LIMIT.items() if name != key}
    assert f"no `{key}`" in found(one(limits=[limit]))["/tools/t/limits/0"]
