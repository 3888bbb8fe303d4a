"""The judge: one policy, one call, one verdict. Pure; counts nothing and waits for no one.

    judge(policy, call, tool=ToolFacts(...), grant=GrantFacts(...), args={...})
        -> Allow(ruling, charges, claim) | Deny(ruling) | Hold(ruling, terms, charges, claim)

The order: name, hidden, quarantine, default, `action: deny`, `deny_if`, `require`, limits (what
would be taken is in `charges`), approval, allow. A policy of None denies everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from approvals.digest import keepable, sha256
from approvals.model import Call, EffectClaim, Ruling, Terms
from gateway.policy import terms as approval_terms
from gateway.policy.conditions import Facts, Finding, exact, kind
from gateway.policy.facts import GrantFacts, ToolFacts, facts_of
from gateway.policy.limit import Charge, Limit
from gateway.policy.masking import finding_text
from gateway.policy.matching import fails, fires
from gateway.policy.paths import Lack, Path, covers, find, text_of
from gateway.policy.rules import EffectRule, HoldRule, Plan, Policy
from gateway.policy.tool_plan import MAX_PLANS, make_plan
from gateway.policy.verdict import Allow, Deny, Hold, Verdict

__all__ = ["Allow", "Deny", "GrantFacts", "Hold", "ToolFacts", "Verdict", "judge"]

NO_POLICY = "(no policy)"
BAD_NAME = "(tool name)"
HIDDEN = "(hidden)"
QUARANTINED = "(quarantined)"
DEFAULT_DENY = "(default deny)"
DEFAULT_APPROVAL = "(default require_approval)"
DEFAULT_ALLOW = "(default allow)"

NOT_AVAILABLE = "This tool is not available."
NOT_LISTED = "This tool is not on the list of allowed tools."
DENIED = "This call is not allowed."
NEEDS_PERSON = "A person must approve this call."
ONE = Decimal(1)
MAX_KEY = 300
"""Characters of an effect key; a longer one is replaced by its digest."""


def judge(
    policy: Policy | None,
    call: Call,
    *,
    tool: ToolFacts,
    grant: GrantFacts,
    args: Mapping[str, Any],
) -> Verdict:
    """The verdict on one call; `args` are its decoded arguments. Never raises."""
    if policy is None:
        reason = "This grant has no policy."
        return Deny(ruling=Ruling(rule=NO_POLICY, reason=reason, policy_hash=""))
    key = (call.server, call.tool)
    plan = policy.plans.get(key) or _remember(policy, key)
    if plan.constant is not None and not tool.quarantined:
        return plan.constant
    return _judge(policy, plan, call, tool, grant, args)


def plan_of(policy: Policy, server: str, tool: str) -> Plan:
    """Everything the policy says of the tool."""
    key = (server, tool)
    return policy.plans.get(key) or _remember(policy, key)


def hidden(policy: Policy | None, server: str, tool: str) -> bool:
    """Whether the tool must be absent from every list."""
    return policy is None or plan_of(policy, server, tool).hidden


def listed(policy: Policy | None, server: str, tool: str) -> bool:
    """Whether some entry of `tools` names it, exactly or by a glob."""
    return policy is not None and plan_of(policy, server, tool).listed


def can_hold(policy: Policy | None, server: str) -> bool:
    """Whether some call to this server may be held."""
    if policy is None:
        return False
    section = policy.section(server)
    sections = (policy.root,) if section is None else (policy.root, section)
    return policy.default_for(server) == "require_approval" or any(
        entry.holds for part in sections for entry in (part.all_tools, *part.entries)
    )


def redact_paths(policy: Policy | None, server: str, tool: str) -> tuple[str, ...]:
    """Argument paths people must not see, such as `args.card.number`."""
    return () if policy is None else plan_of(policy, server, tool).redact_texts


def terms_for(policy: Policy | None, server: str, tool: str) -> Terms:
    """The terms to hold a call of this tool under when something else than a rule holds it."""
    if policy is None:
        return Terms()
    plan = plan_of(policy, server, tool)
    every = [rule.terms for rule in plan.holds] or [policy.terms]
    return _named(approval_terms.strictest(every) or Terms(), plan)


def _named(terms: Terms, plan: Plan) -> Terms:
    """The terms with the tool's sentence, where no rule that holds the call has one."""
    return replace(terms, summary=plan.summary) if plan.summary and not terms.summary else terms


def charge(limit: Limit, args: Mapping[str, Any]) -> Charge | str:
    """What the call takes from the limit, or why that cannot be said."""
    if limit.increment_from is None:
        return Charge(limit=limit, amount=ONE)
    value = find(args, limit.increment_from)
    if isinstance(value, Lack):
        return value.value
    if kind(value) is not int:
        return "is no number"
    if value < 0:
        return "is negative"
    return Charge(limit=limit, amount=exact(value))


def effect_key(
    effect: EffectRule, args: Mapping[str, Any], redact: tuple[Path, ...] = ()
) -> str | None:
    """The key of this call's effect; None when a part of it is missing or no plain value. Equal
    numbers make one key however they are written, and nothing of a value is left out. A key that
    is long, or made of what `redact` keeps from people, is its digest: it stands on cards. So is
    one that holds what no database keeps in a text.
    """
    parts = []
    for part in effect.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        value = find(args, part.steps)
        if isinstance(value, Lack) or kind(value) is None:
            return None
        parts.append(_spelled(value))
    key = "".join(parts)
    closed = any(
        covers(one, part) or covers(part, one)
        for part in effect.parts
        if not isinstance(part, str)
        for one in redact
    )
    if len(key) <= MAX_KEY and not closed and keepable(key):
        return key
    return f"{effect.text}#{sha256(key.encode('utf-8', 'surrogatepass'))}"


def _spelled(value: str | float) -> str:
    """A text, a truth or a number as a key has it: 7, 7.0 and 70e-1 are one."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}"
    number = exact(value)  # at most 17 digits: nothing is rounded
    return f"{int(number)}" if number == number.to_integral_value() else f"{number.normalize():f}"


def _remember(policy: Policy, key: tuple[str, str]) -> Plan:
    plan = make_plan(policy, *key)
    plan = replace(plan, constant=_constant(policy, plan))
    if not plan.named:
        return plan  # an invented name of any length: not worth remembering
    if len(policy.plans) >= MAX_PLANS:
        policy.plans.clear()
    policy.plans[key] = plan
    return plan


def _constant(policy: Policy, plan: Plan) -> Verdict | None:
    """The verdict when neither arguments nor facts can change it."""
    unlisted = not plan.listed and plan.default == "deny"
    decided = not plan.named or plan.hidden or unlisted or bool(plan.denials)
    asks = (
        plan.effect is not None
        or any(rule.conditions for rule in (*plan.deny_if, *plan.require, *plan.holds))
        or any(limit.increment_from is not None for limit in plan.limits)
    )
    if asks and not decided:
        return None
    unknown = Call(grant="", grant_label="", server="", tool="", arguments=b"{}", tool_hash="")
    return _judge(policy, plan, unknown, ToolFacts(), GrantFacts(), {})


def _deny(policy: Policy, rule: str, reason: str, matched: str = "") -> Deny:
    return Deny(ruling=Ruling(rule=rule, reason=reason, policy_hash=policy.hash, matched=matched))


def _judge(
    policy: Policy,
    plan: Plan,
    call: Call,
    tool: ToolFacts,
    grant: GrantFacts,
    args: Mapping[str, Any],
) -> Verdict:
    if not plan.named:
        return _deny(policy, BAD_NAME, NOT_AVAILABLE)
    if plan.hidden:
        return _deny(policy, HIDDEN, NOT_AVAILABLE)
    if tool.quarantined:
        reason = "The definition of this tool has changed; a reviewer must accept it first."
        return _deny(policy, QUARANTINED, reason)
    if not plan.listed and plan.default == "deny":
        return _deny(policy, DEFAULT_DENY, NOT_LISTED)
    facts = facts_of(call, tool, grant, args)
    denial = _denial(policy, plan, facts, trusted=tool.trust_annotations)
    if denial is not None:
        return denial
    charges = []
    for limit in plan.limits:
        taken = charge(limit, args)
        if isinstance(taken, str):
            reason = "The amount that counts towards a limit is missing or no number from 0 up."
            name = text_of(limit.increment_from or ()).removeprefix("args.")
            return _deny(policy, limit.pointer, reason, f"{name} {taken}")
        charges.append(taken)
    effect = None
    if plan.effect is not None:
        key = effect_key(plan.effect, args, plan.redact)
        effect = None if key is None else EffectClaim(key, plan.effect.keep, plan.effect.again)
        if effect is None:
            reason = "An argument that names the effect of this call is missing."
            return _deny(policy, plan.effect.pointer, reason)
    return _hold_or_allow(policy, plan, facts, tool, tuple(charges), effect)


def _denial(policy: Policy, plan: Plan, facts: Facts, *, trusted: bool) -> Deny | None:
    for rule in plan.denials:
        return _deny(policy, rule.pointer, rule.reason or DENIED)
    for rule in plan.deny_if:
        findings = fires(rule, facts, trusted=trusted)
        if findings is not None:
            return _deny(policy, rule.pointer, rule.reason or DENIED, _text(findings, plan))
    for rule in plan.require:
        findings = fails(rule, facts, trusted=trusted)
        if findings is not None:
            return _deny(policy, rule.pointer, rule.reason or DENIED, _text(findings, plan))
    return None


def _hold_or_allow(
    policy: Policy,
    plan: Plan,
    facts: Facts,
    tool: ToolFacts,
    charges: tuple[Charge, ...],
    effect: EffectClaim | None,
) -> Verdict:
    rules: list[HoldRule] = []
    matched: list[str] = []
    for rule in plan.holds:
        findings = fires(rule, facts, trusted=tool.trust_annotations)
        if findings is not None:
            rules.append(rule)
            matched.append(_text(findings, plan))
    default = not plan.listed and plan.default == "require_approval"
    if not rules and not default:
        rule_pointer = plan.entries[0].pointer if plan.listed else DEFAULT_ALLOW
        ruling = Ruling(rule=rule_pointer, reason="", policy_hash=policy.hash)
        return Allow(ruling=ruling, charges=charges, claim=effect)
    every = [rule.terms for rule in rules]
    if default:
        every.insert(0, policy.terms)
    terms = approval_terms.strictest(every)
    first = DEFAULT_APPROVAL if default else rules[0].pointer
    if terms is None:
        reason = "No single reviewer may decide this call: the rules it falls under share none."
        return _deny(policy, first, reason, " and ".join(filter(None, matched)))
    reasons = dict.fromkeys(rule.reason for rule in rules if rule.reason)
    ruling = Ruling(
        rule=first,
        reason=" ".join(reasons) or NEEDS_PERSON,
        policy_hash=policy.hash,
        matched=" and ".join(filter(None, dict.fromkeys(matched))),
    )
    return Hold(ruling=ruling, terms=_named(terms, plan), charges=charges, claim=effect)


def _text(findings: tuple[Finding, ...], plan: Plan) -> str:
    return " and ".join(finding_text(finding, plan.redact) for finding in findings)
