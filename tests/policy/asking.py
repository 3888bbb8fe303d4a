"""Asking the judge in one line: policies are written as dicts, calls as a name and arguments."""

from __future__ import annotations

import json
from typing import Any

from approvals.model import Call, Client
from gateway.policy.document import check, load
from gateway.policy.explain import Trace, explain
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import judge
from gateway.policy.problems import PolicyProblem
from gateway.policy.rules import Policy
from gateway.policy.verdict import Allow, Deny, Hold, Verdict

Document = dict[str, Any]


def policy(document: Document) -> Policy:
    """The document, version "1" and `default: deny` unless it says otherwise."""
    return load(json.dumps({"version": "1", "default": "deny", **document}).encode())


def problems(document: Document) -> tuple[PolicyProblem, ...]:
    return check(json.dumps({"version": "1", "default": "deny", **document}).encode())


def found(document: Document, severity: str = "error") -> dict[str, str]:
    """Pointer to text of every problem of the severity."""
    return {
        problem.pointer: f"{problem.what} {problem.write}"
        for problem in problems(document)
        if problem.severity == severity
    }


def call(tool: str, *, server: str = "srv", **more: Any) -> Call:
    return Call(
        **{
            "grant": "grt_1",
            "grant_label": "billing-bot",
            "server": server,
            "tool": tool,
            "arguments": b"{}",  # the judge reads the decoded ones
            "tool_hash": "",
            "client": Client(name="claude-code"),
            **more,
        }
    )


def ask(
    rules: Policy | Document | None,
    tool: str = "t",
    args: Any = None,
    *,
    facts: ToolFacts | None = None,
    **more: Any,
) -> Verdict:
    """The verdict on one call."""
    judged = policy(rules) if isinstance(rules, dict) else rules
    return judge(
        judged,
        call(tool, **more),
        tool=facts or ToolFacts(name=tool),
        grant=GrantFacts(label="billing-bot"),
        args=args or {},
    )


def word(verdict: Verdict) -> str:
    return {Allow: "allow", Deny: "deny", Hold: "hold"}[type(verdict)]


def rule(verdict: Verdict) -> str:
    return verdict.ruling.rule


def trace(rules: Document, tool: str = "t", args: Any = None) -> Trace:
    return explain(
        policy(rules),
        call(tool),
        tool=ToolFacts(name=tool),
        grant=GrantFacts(label="billing-bot"),
        args=args or {},
    )


def one(**entry: Any) -> Document:
    """A policy whose tool `t` has this entry."""
    return {"tools": {"t": entry}}


def when(path: str, op: str, value: Any) -> list[Document]:
    return [{"path": path, "op": op, "value": value}]
