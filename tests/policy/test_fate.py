"""What becomes of a tool's calls, in one word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.policy.document import load
from gateway.policy.effective import effective_verdict

WHEN = {
    "conditions": [
        {"path": "args.a", "op": "gt", "value": 1},
        {"path": "args.a", "op": "lt", "value": 9},
    ]
}
LIMIT = {"counter": "c", "window": "minute", "max": 1, "scope": "grant"}


@pytest.mark.parametrize(
    ("rules", "word", "rule"),
    [
        ({}, "deny", "/default"),
        ({"default": "allow"}, "allow", "/default"),
        ({"default": "require_approval"}, "hold", "/default"),
        ({"tools": {"t": {}}}, "allow", "/tools/t"),
        ({"tools": {"t*": {}}}, "allow", "/tools/t*"),
        ({"tools": {"t": {}}, "hide": ["t"]}, "hidden", "/hide"),
        ({"tools": {"t": {"action": "deny"}}}, "deny", "/tools/t"),
        ({"tools": {"t": {"deny_if": [{"conditions": []}]}}}, "deny", "/tools/t/deny_if/0"),
        ({"tools": {"t": {"deny_if": [WHEN]}}}, "allow", "/tools/t"),
        ({"tools": {"t": {"limits": [LIMIT]}}}, "limited", "/tools/t"),
        ({"tools": {"t": {"require_approval": True}}}, "hold", "/tools/t/require_approval"),
        ({"tools": {"t": {"approve_if": [WHEN]}}}, "sometimes", "/tools/t/approve_if/0"),
        ({"tools": {"t": {}}, "all_tools": {"approve_if": [WHEN]}}, "sometimes",
         "/all_tools/approve_if/0"),
        ({"tools": {"t": {}}, "servers": {"s": {"tools": {"t": {"action": "deny"}}}}}, "deny",
         "/servers/s/tools/t"),
        ({"servers": {"other": {"tools": {"t": {}}}}}, "deny", "/default"),
    ],
)  # fmt: skip
def test_the_strictest_that_may_happen_is_said(rules: dict[str, Any], word: str, rule: str) -> None:
    policy = load(json.dumps({"version": "1", "default": "deny", **rules}).encode())
    assert effective_verdict(policy, "s", "t") == (word, rule)
