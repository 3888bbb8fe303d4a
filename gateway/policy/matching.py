"""When a rule applies to a call, and the findings that say why. Pure.

`deny_if` and `approve_if` apply on true and on unfit, `require` is met on true alone. What an
untrusted server claims of its tools may make a rule apply, never keep it from applying.
"""

from __future__ import annotations

from gateway.policy.conditions import FALSE, TRUE, Facts, Finding, Truth, all_of, weigh
from gateway.policy.facts import without_claims
from gateway.policy.rules import Rule


def weigh_rule(rule: Rule, facts: Facts) -> tuple[Truth, tuple[Finding, ...]]:
    """All conditions together, and what each came to (those that were looked at)."""
    findings = []
    result = TRUE
    for condition in rule.conditions:
        finding = weigh(condition, facts)
        findings.append(finding)
        if finding.truth is FALSE:
            return FALSE, tuple(findings)
        if finding.truth is not TRUE:
            result = finding.truth
    return result, tuple(findings)


def fires(rule: Rule, facts: Facts, *, trusted: bool) -> tuple[Finding, ...] | None:
    """The findings when a `deny_if` or `approve_if` applies: on true and on unfit. None: it does
    not. A claim of an untrusted server cannot keep a rule from applying that would without it.
    """
    if all_of(rule.conditions, facts) is not FALSE:
        return weigh_rule(rule, facts)[1]
    if rule.claims and not trusted:
        truth, findings = weigh_rule(rule, without_claims(facts))
        return None if truth is FALSE else findings
    return None


def fails(rule: Rule, facts: Facts, *, trusted: bool) -> tuple[Finding, ...] | None:
    """The findings when a `require` is not met: on false and on unfit; None when it is met."""
    seen = facts
    met = all_of(rule.conditions, facts) is TRUE
    if met and rule.claims and not trusted:
        seen = without_claims(facts)
        met = all_of(rule.conditions, seen) is TRUE
    if met:
        return None
    return tuple(one for one in weigh_rule(rule, seen)[1] if one.truth is not TRUE)
