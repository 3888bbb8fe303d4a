"""Runs: an approved call claimed for sending, after everything was asked once more, and its end.

Functions of a `Transaction`; `guard` says when. Not pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from json import loads

from approvals import execution
from approvals.execution import (
    Answers,
    Later,
    Lost,
    Postponed,
    Proceed,
    Recheck,
    RunEnd,
    Superseded,
)
from approvals.model import Approval, EffectClaim, Execution
from approvals.record.database import Transaction
from gateway.enforcement import limits, refusals
from gateway.enforcement.recording import RefusedByPolicy
from gateway.enforcement.rules_in_force import FROZEN, RulesInForce
from gateway.policy.judge import Deny
from gateway.policy.limit import Charge


@dataclass(frozen=True, slots=True)
class Run:
    """The approved call is ours to send, once. `approval.call.arguments` are what to send."""

    approval: Approval
    owner: str  # of this run alone; its lease is renewed until it is let go
    charges: tuple[Charge, ...] = ()  # what it took of the limits


@dataclass(frozen=True, slots=True)
class ClaimLost:
    """The row moved on or another gateway has it: look at it again."""


def claim(
    tx: Transaction,
    approval_id: str,
    rules: RulesInForce,
    *,
    owner: str,
    lease_ms: int,
    answering: Answers | None,
) -> Run | ClaimLost | RefusedByPolicy:
    """Claim an approved call by the rules as they are now."""

    def recheck(
        tx: Transaction, approval: Approval
    ) -> Recheck[tuple[Charge, ...], RefusedByPolicy]:
        return _judged_again(tx, approval, rules, continued=answering is not None)

    outcome = execution.claim(
        tx, approval_id, owner=owner, lease_ms=lease_ms, recheck=recheck, answering=answering
    )
    match outcome:
        case execution.Claimed(approval, Proceed(charges)):
            return Run(approval, owner, charges)
        case Postponed(Later(refusal)):
            return refusal
        case Lost(why, Approval() as approval, int(retry_after)):
            return RefusedByPolicy(refusals.not_now(approval, why, retry_after))
        case Lost():
            return ClaimLost()


def _judged_again(
    tx: Transaction, approval: Approval, rules: RulesInForce, *, continued: bool
) -> Recheck[tuple[Charge, ...], RefusedByPolicy]:
    call = approval.call
    verdict = rules.judge(call, loads(call.arguments))
    if isinstance(verdict, Deny):
        if verdict.ruling.rule == FROZEN:  # a pause, not a judgement: the approval stands
            return Later(RefusedByPolicy(refusals.denied(verdict.ruling)))
        return Superseded(verdict.ruling.reason or "The policy denies it now.")
    if rules.call_hash(call) != call.tool_hash:
        return Superseded("The definition of the tool changed.")
    if _other_effect(approval, verdict.claim):
        return Superseded(
            "The policy names another effect of this call now than the one that was approved."
        )
    # One call is counted once, when its first round is sent.
    charges = () if continued else tuple(verdict.charges)
    full = limits.take(tx, charges, limits.Subject.of(call))
    if full is None:
        return Proceed(charges, verdict.claim)
    ruled = refusals.limit_ruling(verdict.ruling, full.limit)
    return Later(RefusedByPolicy(refusals.limited(ruled, full.limit, full.retry_after)))


def _other_effect(approval: Approval, claim: EffectClaim | None) -> bool:
    """Whether the call's effect is another one by now than the card said."""
    return claim is not None and claim.key != approval.effect


def finish(run: Run, end: RunEnd, tx: Transaction) -> Approval:
    """Record how the run ended. What was not sent counts against no limit."""
    recorded = execution.finish(tx, run.approval.id, end, owner=run.owner)
    if recorded.execution is Execution.NOT_EXECUTED:  # it may be claimed, and counted, again
        subject = limits.Subject.of(run.approval.call)
        taken_at = run.approval.claimed_at or tx.now
        limits.give_back(tx, run.charges, subject, taken_at=taken_at)
    return recorded
