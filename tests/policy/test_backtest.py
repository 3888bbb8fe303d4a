"""A new policy tried on past calls: newly held, denied and passed, and what cannot be replayed."""

from __future__ import annotations

from typing import Any

from gateway.policy.backtest import Past, Was, backtest
from gateway.policy.facts import GrantFacts, ToolFacts
from tests.policy.asking import call, policy, when

NEW = policy(
    {
        "tools": {
            "pay": {"approve_if": [{"conditions": when("args.amount", "gt", 100), "quorum": 2}]},
            "read": {},
        }
    }
)


def past(seq: int, tool: str, was: Was, args: Any) -> Past:
    return Past(seq=seq, call=call(tool), was=was, args=args, tool=ToolFacts(), grant=GrantFacts())


def test_changes_are_listed_by_what_they_become() -> None:
    result = backtest(
        NEW,
        [
            past(1, "pay", "allow", {"amount": 200}),
            past(2, "pay", "hold", {"amount": 200}),
            past(3, "pay", "hold", {"amount": 5}),
            past(4, "gone", "allow", {}),
            past(5, "read", "deny", None),
            past(6, "pay", "allow", None),
            past(7, "gone", "allow", None),
        ],
        minutes_each=1.5,
    )
    assert result.calls == 7
    assert [moved.past.seq for moved in result.newly_held] == [1]
    assert [moved.past.seq for moved in result.newly_denied] == [4, 7]
    assert [moved.past.seq for moved in result.newly_passed] == [3, 5]
    assert [one.seq for one in result.not_replayed] == [6]
    assert (result.held, result.minutes) == (2, 6.0)
