"""Why a call gets its verdict: every rule tried, what matched, with which values. Pure.

    explain(policy, call, tool=..., grant=..., args=...) -> Trace

Unlike the judge it does not stop at the first denial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from approvals.model import Call
from gateway.policy.conditions import FALSE, Facts, words
from gateway.policy.facts import GrantFacts, ToolFacts, facts_of
from gateway.policy.judge import (
    BAD_NAME,
    HIDDEN,
    NO_POLICY,
    QUARANTINED,
    charge,
    effect_key,
    judge,
    plan_of,
)
from gateway.policy.limit import Charge, plain
from gateway.policy.masking import finding_text
from gateway.policy.matching import fails, fires, weigh_rule
from gateway.policy.problems import shown
from gateway.policy.reading import brief
from gateway.policy.rules import Plan, Policy, Rule
from gateway.policy.verdict import Verdict

Kind = Literal["name", "hide", "default", "deny", "deny_if", "require", "limit", "effect", "hold"]
Outcome = Literal["denies", "holds", "passes", "takes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rule that was tried."""

    rule: str  # JSON pointer, or "(hidden)" and the like
    kind: Kind
    outcome: Outcome
    conditions: tuple[str, ...] = ()  # each with its value: "amount 120000 > 50000"
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The verdict and the way to it."""

    verdict: Verdict
    entries: tuple[str, ...]  # pointers of the entries that match the tool
    steps: tuple[Step, ...]
    charges: tuple[Charge, ...]  # what would be taken, also when the call is denied


def explain(
    policy: Policy | None,
    call: Call,
    *,
    tool: ToolFacts,
    grant: GrantFacts,
    args: Mapping[str, Any],
) -> Trace:
    """Every rule the call meets, in the order of judgement."""
    verdict = judge(policy, call, tool=tool, grant=grant, args=args)
    if policy is None:
        step = Step(rule=NO_POLICY, kind="default", outcome="denies")
        return Trace(verdict=verdict, entries=(), steps=(step,), charges=())
    plan = plan_of(policy, call.server, call.tool)
    facts = facts_of(call, tool, grant, args)
    trusted = tool.trust_annotations
    taken = [(limit, charge(limit, args)) for limit in plan.limits]
    steps = [
        *_gates(plan, tool),
        *(_denial(rule) for rule in plan.denials),
        *(_fired(rule, "deny_if", facts, plan, trusted=trusted) for rule in plan.deny_if),
        *(_required(rule, facts, plan, trusted=trusted) for rule in plan.require),
        *(_limited(limit.pointer, limit.text, amount) for limit, amount in taken),
        *_effect(plan, args),
        *(_fired(rule, "hold", facts, plan, trusted=trusted) for rule in plan.holds),
    ]
    return Trace(
        verdict=verdict,
        entries=tuple(entry.pointer for entry in plan.entries if _says_something(entry)),
        steps=tuple(steps),
        charges=tuple(amount for _, amount in taken if isinstance(amount, Charge)),
    )


def _says_something(entry: Any) -> bool:
    return not entry.pointer.endswith("/all_tools") or bool(
        entry.deny_if or entry.require or entry.holds or entry.limits
    )


def _gates(plan: Plan, tool: ToolFacts) -> list[Step]:
    steps = []
    if not plan.named:
        steps.append(Step(rule=BAD_NAME, kind="name", outcome="denies", text="no tool name"))
    elif plan.hidden:
        steps.append(Step(rule=HIDDEN, kind="hide", outcome="denies"))
    if tool.quarantined:
        steps.append(Step(rule=QUARANTINED, kind="name", outcome="denies"))
    if not plan.listed:
        outcome: Mapping[str, Outcome] = {"deny": "denies", "require_approval": "holds"}
        steps.append(
            Step(
                rule=f"(default {plan.default})",
                kind="default",
                outcome=outcome.get(plan.default, "passes"),
                text="listed nowhere",
            )
        )
    return steps


def _denial(rule: Rule) -> Step:
    return Step(rule=rule.pointer, kind="deny", outcome="denies", text=rule.reason)


def _fired(
    rule: Rule, kind: Literal["deny_if", "hold"], facts: Facts, plan: Plan, *, trusted: bool
) -> Step:
    found = fires(rule, facts, trusted=trusted)
    outcome: Outcome = "passes" if found is None else "denies" if kind == "deny_if" else "holds"
    return Step(
        rule=rule.pointer,
        kind=kind,
        outcome=outcome,
        conditions=_conditions(rule, facts, plan),
        text=rule.reason,
    )


def _required(rule: Rule, facts: Facts, plan: Plan, *, trusted: bool) -> Step:
    met = fails(rule, facts, trusted=trusted) is None
    return Step(
        rule=rule.pointer,
        kind="require",
        outcome="passes" if met else "denies",
        conditions=_conditions(rule, facts, plan),
        text=rule.reason,
    )


def _conditions(rule: Rule, facts: Facts, plan: Plan) -> tuple[str, ...]:
    """Each condition with its value; those after a false one were not looked at."""
    truth, findings = weigh_rule(rule, facts)
    texts = [f"{finding.truth.value}: {finding_text(finding, plan.redact)}" for finding in findings]
    if truth is FALSE:
        texts += [f"not tried: {words(one)}" for one in rule.conditions[len(findings) :]]
    return tuple(texts)


def _limited(pointer: str, text: str, amount: Charge | str) -> Step:
    if isinstance(amount, str):
        return Step(
            rule=pointer, kind="limit", outcome="denies", text=f"{text}: the amount {amount}"
        )
    return Step(
        rule=pointer, kind="limit", outcome="takes", text=f"takes {plain(amount.amount)} of {text}"
    )


def _effect(plan: Plan, args: Mapping[str, Any]) -> list[Step]:
    if plan.effect is None:
        return []
    key = effect_key(plan.effect, args, plan.redact)
    if key is None:
        text = f"{plan.effect.text}: an argument is missing"
        return [Step(rule=plan.effect.pointer, kind="effect", outcome="denies", text=text)]
    then = "a person is asked" if plan.effect.again else "it is refused"
    once = f"happens once in {brief(plan.effect.keep)}, then {then}"
    text = f"{plan.effect.text}: {shown(key, 120)} {once}"
    return [Step(rule=plan.effect.pointer, kind="effect", outcome="passes", text=text)]
