"""What becomes of a tool's calls, in one word, and the rule that says so. Pure."""

from __future__ import annotations

from typing import Literal

from gateway.policy.judge import plan_of
from gateway.policy.rules import Policy

EffectiveVerdict = Literal["allow", "limited", "sometimes", "hold", "deny", "hidden"]


def effective_verdict(policy: Policy, server: str, tool: str) -> tuple[EffectiveVerdict, str]:
    """The strictest thing that may happen to a call of this tool, and its JSON pointer.

    "sometimes": held where its arguments say so. "deny" only where every call is refused.
    """
    plan = plan_of(policy, server, tool)
    listed = plan.entries[0].pointer if plan.listed else "/default"
    always = next((rule for rule in plan.deny_if if not rule.conditions), None)
    if plan.hidden:
        return "hidden", "/hide"
    if plan.denials:
        return "deny", plan.denials[0].pointer
    if not plan.listed and plan.default == "deny":
        return "deny", "/default"
    if always is not None:
        return "deny", always.pointer
    if not plan.listed and plan.default == "require_approval":
        return "hold", "/default"
    held = next((rule for rule in plan.holds if not rule.conditions), None)
    if held is not None:
        return "hold", held.pointer
    if plan.holds:
        return "sometimes", plan.holds[0].pointer
    return ("limited" if plan.limits else "allow"), listed
