"""What rules can look at: the call's arguments, the tool's and the grant's facts. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from approvals.model import Call, Risk
from gateway.policy.conditions import Facts
from gateway.policy.paths import ANNOTATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """The tool as the gateway knows it."""

    name: str = ""
    annotations: Mapping[str, Any] = field(default_factory=dict)  # the server's claims
    risk: Risk | None = None  # the catalogue's class
    trust_annotations: bool = False  # of the server: its claims may loosen rules, too
    quarantined: bool = False  # the definition changed and no one accepted it yet


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantFacts:
    """The grant of the call."""

    label: str = ""


def facts_of(call: Call, tool: ToolFacts, grant: GrantFacts, args: Mapping[str, Any]) -> Facts:
    """What paths look into."""
    return {
        "args": args,
        ANNOTATIONS: tool.annotations,
        "tool.risk": tool.risk,
        "grant.label": grant.label or call.grant_label,
        "client.name": call.client.name or None,
        "session.calls": call.session_calls,
    }


def without_claims(facts: Facts) -> Facts:
    return {**facts, ANNOTATIONS: {}}
