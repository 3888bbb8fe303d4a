"""Recording a verdict: what one transaction writes for a call that is denied, allowed or held.

Functions of a `Transaction`, so that verdict, counters, history and row commit together; `guard`
says when. Not pure.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from approvals import queue, tasks
from approvals.digest import canonical
from approvals.model import Approval, Call, Event, Execution, Millis, Risk, Ruling
from approvals.store import Transaction
from gateway import answers, limits
from gateway.answers import Refusal
from gateway.grants import Grant
from gateway.policy.judge import Allow, Hold, terms_for
from gateway.policy.rules import Policy
from gateway.policy.terms import at_risk

_ID_BYTES: Final = 12
_IDS_AT_ONCE: Final = 64

RETRY_PENDING: Final = 30
"""Seconds; a person decides one of several waiting calls in about that time."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call is recorded as allowed and may be sent now, once."""

    call: Call
    call_id: str
    verdict: Allow
    digest: str
    at: Millis
    round: int = 0  # questions of the server that were answered so far


@dataclass(frozen=True, slots=True)
class Retried:
    """The call goes on with an allowed one: it brings the answer to the server's question."""

    call_id: str
    round: int  # of the question
    mark: str  # the answer's; it is taken once
    until: Millis  # as long as it has to be remembered
    answers: Any


@dataclass(frozen=True, slots=True)
class Spent:
    """The answer was brought before."""


@dataclass(frozen=True, slots=True)
class Held:
    """The call is a row and waits for a person; the agent may wait `hold` seconds in place."""

    approval: Approval
    hold: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The call will not run, and the agent is told this."""

    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What the transaction of a verdict needs to know of the call."""

    call: Call
    redact: tuple[str, ...]
    masked: str
    digest: str
    arguments_digest: str
    max_pending: int
    grant: Grant
    tool_risk: Risk | None  # of the tool's class
    hold: int
    follow: Mapping[str, Any] | None
    retried: Retried | None
    call_id: str  # should it be allowed

    def event(self, event: str, ruling: Ruling, **fields: Any) -> Event:
        call = self.call
        return Event(
            event=event,
            actor_kind="agent",
            actor=call.grant_label,
            verified="grant",
            via="gateway",
            grant=call.grant,
            server=call.server,
            tool=call.tool,
            arguments=self.masked,
            arguments_digest=self.arguments_digest,
            presented_digest=self.digest,
            policy_hash=ruling.policy_hash,
            rule=ruling.rule,
            reason=ruling.reason,
            **fields,
        )


def call_ids() -> Iterator[str]:
    """Ids for allowed calls: 96 random bits each. Never ends; for one thread.

    Many are drawn at a time: asking the kernel for each would let go of the interpreter's lock,
    and whoever did that waited for it behind the other thread.
    """
    while True:
        drawn = secrets.token_hex(_ID_BYTES * _IDS_AT_ONCE)
        for at in range(0, len(drawn), 2 * _ID_BYTES):
            yield f"call_{drawn[at : at + 2 * _ID_BYTES]}"


def record_denial(admission: Admission, ruling: Ruling, tx: Transaction) -> Refused:
    """The policy says no."""
    tx.append(admission.event("denied", ruling, verdict="deny"))
    return Refused(answers.denied(ruling))


def _limited(
    admission: Admission, ruling: Ruling, full: limits.OverLimit, tx: Transaction
) -> Refused:
    tx.append(
        admission.event("limited", replace(ruling, rule=full.limit.pointer), verdict="limited")
    )
    return Refused(answers.limited(ruling, full.limit, full.retry_after))


def record_allowed(
    admission: Admission, verdict: Allow, policy: Policy, tx: Transaction
) -> Allowed | Held | Refused | Spent:
    """It may pass, unless a limit is full or it may have run already: then it is held."""
    call, ruling = admission.call, verdict.ruling
    retried = admission.retried
    if retried is not None and not tasks.spend(tx, retried.mark, until=retried.until):
        return Spent()
    doubt = queue.unsettled(tx, admission.digest, verdict.effect, call.server)
    if doubt is not None or (
        verdict.effect is not None
        and queue.effect_taken(tx, call.server, verdict.effect) is not None
    ):
        reason = (
            f"The outcome of {doubt.id} is unknown: this call may already have run."
            if doubt is not None
            else "This effect was already caused once."
        )
        held = Hold(
            ruling=replace(ruling, reason=reason),
            terms=terms_for(policy, call.server, call.tool),
            charges=verdict.charges,
            effect=verdict.effect,
        )
        return record_held(admission, held, tx)
    if retried is not None:
        data = canonical({"round": retried.round, "answers": retried.answers}).decode()
        event = admission.event("continued", ruling, verdict="allow", call_id=retried.call_id)
        tx.append(event._replace(data=data))
        free = replace(verdict, charges=())  # one call is counted once, however often it is asked
        return Allowed(call, retried.call_id, free, admission.digest, tx.now, retried.round)
    full = limits.take(tx, verdict.charges, limits.Subject.of(call))
    if full is not None:
        return _limited(admission, ruling, full, tx)
    tx.append(admission.event("allowed", ruling, verdict="allow", call_id=admission.call_id))
    return Allowed(call, admission.call_id, verdict, admission.digest, tx.now)


def record_held(admission: Admission, verdict: Hold, tx: Transaction) -> Held | Refused:
    """It waits for a person: its row is opened, or the one of the identical call attached to."""
    call, ruling = admission.call, verdict.ruling
    stated = verdict.terms.hold
    hold = admission.grant.waits(stated if stated is not None else admission.hold)
    until = tx.now + hold * 1000
    found = queue.find_open(tx, admission.digest)
    if found is not None:
        return Held(_followed(admission, queue.attach(tx, found.id, until=until), tx), hold)
    denial = queue.remembered_denial(tx, admission.digest, tx.now)
    if denial is not None:
        return Refused(answers.denied_by(denial))
    full = limits.peek(tx, verdict.charges, limits.Subject.of(call))
    if full is not None:
        return _limited(admission, ruling, full, tx)
    if queue.count_open(tx, call.grant) >= admission.max_pending:
        tx.append(admission.event("limited", ruling, verdict="limited", outcome="max_pending"))
        return Refused(answers.too_many_pending(ruling, admission.max_pending, RETRY_PENDING))
    approval = queue.open_approval(
        tx,
        call=call,
        ruling=ruling,
        terms=at_risk(verdict.terms, admission.tool_risk),
        effect=verdict.effect,
        redact=admission.redact,
        attached_until=until,
    )
    return Held(_followed(admission, approval, tx), hold)


def _followed(admission: Admission, approval: Approval, tx: Transaction) -> Approval:
    """The approval, which its agent may follow as a task from now on."""
    if admission.follow is None:
        return approval
    return tasks.follow(tx, approval, dict(admission.follow))


def record_outcome(
    allowed: Allowed, execution: Execution, result_digest: str, latency_ms: int, tx: Transaction
) -> None:
    """What became of an allowed call. What was not sent counts against no limit."""
    call = allowed.call
    if execution is Execution.NOT_EXECUTED:
        limits.give_back(tx, allowed.verdict.charges, limits.Subject.of(call), taken_at=allowed.at)
    tx.append(
        Event(
            event=str(execution),
            call_id=allowed.call_id,
            actor_kind="gateway",
            via="gateway",
            grant=call.grant,
            server=call.server,
            tool=call.tool,
            presented_digest=allowed.digest,
            outcome=str(execution),
            result_digest=result_digest,
            latency_ms=latency_ms,
        )
    )
