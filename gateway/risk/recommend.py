"""The rule we would start with for each class, in the form of policy.json. Pure.

A start, not a verdict: people edit it. A person, not a plain denial, stands before money.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard, assert_never

from gateway.risk.assessment import Assessment, Category, Signal
from gateway.risk.fellows import classify_all

OTHER_A_MINUTE = 60
WRITE_A_MINUTE = 30
EXECUTE_A_MINUTE = 10


def recommend(assessment: Assessment, tool: str = "<tool>") -> dict[str, Any]:
    """The entry for `tools` of a policy; `tool` names the counter of a limit."""
    match assessment.category:
        case Category.READ if Signal.HABIT not in assessment.signals:
            return {}
        case Category.READ | Category.OTHER:
            return _limit(tool, OTHER_A_MINUTE)
        case Category.WRITE:
            return _limit(tool, WRITE_A_MINUTE)
        case Category.EXECUTE:
            return _limit(tool, EXECUTE_A_MINUTE)
        case Category.DESTRUCTIVE | Category.FINANCIAL:
            return {"require_approval": True}
        case _ as never:
            assert_never(never)


def _limit(tool: str, most: int) -> dict[str, Any]:
    limit = {"counter": f"{tool}_rate", "window": "minute", "max": most, "scope": "grant"}
    return {"limits": [limit]}


def scaffold(server: str, tools: Iterable[object]) -> dict[str, Any]:
    """A whole policy.json for one server: default deny, and a recommended rule for every tool.

    Definitions without a usable name, and names that are no exact tool name (glob characters), are
    left out: default deny refuses them.
    """
    entries: dict[str, Any] = {}
    listed = list(tools)
    for definition, found in zip(listed, classify_all(listed), strict=True):
        name = definition.get("name") if isinstance(definition, Mapping) else None
        if is_tool_name(name):
            entries[name] = recommend(found, name)
    return {
        "version": "1",
        "default": "deny",
        "servers": {server: {"default": "deny", "tools": entries}},
        "tools": {},
    }


def is_tool_name(name: object) -> TypeGuard[str]:
    """1 to 128 of A-Z a-z 0-9 _ . - : what the gateway relays, and no glob."""
    if not isinstance(name, str):
        return False
    plain = name.replace("_", "").replace(".", "").replace("-", "")
    return 0 < len(name) <= 128 and (not plain or (plain.isascii() and plain.isalnum()))  # noqa: PLR2004
