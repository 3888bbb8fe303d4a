"""What judging costs: microseconds per call, and seconds to load 10,000 rules.

    .venv/bin/python tests/bench/judge_bench.py

Medians of 7 rounds. "1,000 rules" is 1,000 entries in the policy; "on the call" is 1,000 rules that
all look at this one call.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from approvals.model import Call
from gateway.policy.document import load
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import judge
from gateway.policy.rules import Policy

ROUNDS = 7
CHARGE = {
    "require": [{"conditions": [{"path": "args.reason", "op": "exists", "value": True}]}],
    "deny_if": [
        {"conditions": [{"path": "args.currency", "op": "not_in", "value": ["usd", "eur"]}]}
    ],
    "approve_if": [{"conditions": [{"path": "args.amount", "op": "gt", "value": 50000}]}],
    "limits": [
        {
            "counter": "daily",
            "window": "day",
            "max": 1000000,
            "scope": "grant",
            "increment_from": "args.amount",
        }
    ],
}


def policy(document: dict[str, Any]) -> Policy:
    return load(json.dumps({"version": "1", "default": "deny", **document}).encode())


def entries(count: int) -> dict[str, Any]:
    """That many tools with one rule each, every tenth a glob."""
    rule = {"conditions": [{"path": "args.amount", "op": "gt", "value": 5}]}
    return {
        (f"tool_{number}_*" if number % 10 == 0 else f"tool_{number}"): {"approve_if": [rule]}
        for number in range(count)
    }


def microseconds(action: Callable[[], object], count: int = 20_000) -> float:
    """The median round's time per call."""
    rounds = []
    for _ in range(ROUNDS):
        gc.collect()
        start = time.perf_counter()
        for _ in range(count):
            action()
        rounds.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(rounds)


def judging(rules: Policy, tool: str, args: dict[str, Any], count: int = 20_000) -> float:
    call = Call(grant="g", grant_label="l", server="s", tool=tool, arguments=b"{}", tool_hash="")
    facts, grant = ToolFacts(name=tool), GrantFacts(label="l")
    judge(rules, call, tool=facts, grant=grant, args=args)
    return microseconds(lambda: judge(rules, call, tool=facts, grant=grant, args=args), count)


def first_time(rules: Policy, tool: str) -> float:
    """The first call of a tool the policy has not looked up yet."""
    call = Call(grant="g", grant_label="l", server="s", tool=tool, arguments=b"{}", tool_hash="")
    facts, grant = ToolFacts(name=tool), GrantFacts(label="l")

    def once() -> None:
        rules.plans.clear()
        judge(rules, call, tool=facts, grant=grant, args={})

    return microseconds(once, 200)


def loading(count: int) -> float:
    text = json.dumps({"version": "1", "default": "deny", "tools": entries(count)}).encode()
    rounds = []
    for _ in range(3):
        start = time.perf_counter()
        load(text)
        rounds.append(time.perf_counter() - start)
    return statistics.median(rounds)


def show(what: str, figure: float, unit: str, bar: str = "") -> None:
    print(f"{what:<58}{figure:>10.2f} {unit:<3} {bar}")


def main() -> None:
    args = {"amount": 100, "currency": "usd", "reason": "r"}
    free = {"free": {}, "charge": CHARGE}
    show("allowed, no conditions", judging(policy({"tools": free}), "free", {}), "us", "bar < 3")
    show(
        "create_charge, 3 rules and a summed limit",
        judging(policy({"tools": free}), "charge", args),
        "us",
    )
    few = policy({"tools": {**free, **entries(10)}})
    many = policy({"tools": {**free, **entries(1_000)}})
    for tool in ("free", "charge"):
        ten, thousand = judging(few, tool, args), judging(many, tool, args)
        show(f"{tool}: 10 rules in the policy", ten, "us")
        show(f"{tool}: 1,000 rules in the policy", thousand, "us")
        show(f"{tool}: the difference", thousand - ten, "us", "bar < 20")
    show("a tool never seen before, 1,000 rules", first_time(many, "unseen"), "us")
    rule = {"conditions": [{"path": "args.amount", "op": "gt", "value": 50000}]}
    all_on_one = policy({"tools": {"t": {"approve_if": [rule] * 1_000}}})
    show("1,000 rules on the call", judging(all_on_one, "t", args, 200), "us")
    show("loading 10,000 rules", loading(10_000), "s", "bar < 1")


if __name__ == "__main__":
    main()
