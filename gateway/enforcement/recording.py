"""Recording a verdict: what one transaction writes for a call that is denied, allowed or held.

Functions of a `Transaction`, so that verdict, counters, history and row commit together; `guard`
says when. Not pure.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from json import loads
from typing import Any, Final

from approvals import effects, execution, queue, tasks
from approvals.digest import canonical
from approvals.effects import EffectState, Mark
from approvals.model import (
    Approval,
    Call,
    EffectClaim,
    Event,
    Execution,
    Metadata,
    Millis,
    Risk,
    Ruling,
)
from approvals.moves import tell_held
from approvals.record.database import Transaction
from gateway.enforcement import limits, refusals
from gateway.enforcement.grants import Grant
from gateway.enforcement.refusals import Refusal
from gateway.policy.judge import Allow, Hold, terms_for
from gateway.policy.rules import Policy
from gateway.policy.terms import at_risk
from gateway.protocol.metadata import MOST

_ID_BYTES: Final = 12
_IDS_AT_ONCE: Final = 64

_WHOLE: Final = 4_096  # characters of a refused call's arguments that its row keeps whole
_HEAD: Final = 1_024  # characters kept of longer ones

WITHDRAWN_WITHIN: Final[Millis] = 600_000
"""The time in which a grant may take back `max_withdrawn` of its held calls."""

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
class Unasked:
    """It brings answers to a question that no one asked."""


@dataclass(frozen=True, slots=True)
class Held:
    """The call is a row and waits for a person; the agent may wait `hold` seconds in place."""

    approval: Approval
    hold: int


@dataclass(frozen=True, slots=True)
class RefusedByPolicy:
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
    process: str  # this gateway's
    follow: Mapping[str, Any] | None
    retried: Retried | None
    call_id: str  # should it be allowed
    told: bool  # a refusal has a row of its own
    max_withdrawn: int
    answers_alone: bool = False  # it brings answers, but not the state they were asked with

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

    def refusal(self, event: str, ruling: Ruling, **fields: Any) -> Event:
        """The row of a refused call: of large arguments it keeps the digest and a head."""
        row = self.event(event, ruling, **fields)
        if len(self.masked) <= _WHOLE:
            return row
        kept = {"head": self.masked[:_HEAD], "characters": len(self.masked)}
        return row._replace(arguments=None, data=canonical({"arguments": kept}).decode())


def call_ids() -> Iterator[str]:
    """Ids for allowed calls: 96 random bits each. Never ends; for one thread.

    Many are drawn at a time: asking the kernel for each would let go of the interpreter's lock,
    and anyone who did that waited for it behind the other thread.
    """
    while True:
        drawn = secrets.token_hex(_ID_BYTES * _IDS_AT_ONCE)
        for at in range(0, len(drawn), 2 * _ID_BYTES):
            yield f"call_{drawn[at : at + 2 * _ID_BYTES]}"


def record_denial(admission: Admission, ruling: Ruling, tx: Transaction) -> RefusedByPolicy:
    """The policy says no."""
    tx.append(admission.refusal("denied", ruling, verdict="deny"))
    return RefusedByPolicy(refusals.denied(ruling))


def _limited(
    admission: Admission, ruling: Ruling, full: limits.OverLimit, tx: Transaction
) -> RefusedByPolicy:
    ruled = refusals.limit_ruling(ruling, full.limit)
    if admission.told:
        tx.append(admission.refusal("limited", ruled, verdict="limited"))
    return RefusedByPolicy(refusals.limited(ruled, full.limit, full.retry_after))


def record_allowed(
    admission: Admission, verdict: Allow, policy: Policy, tx: Transaction
) -> Allowed | Held | RefusedByPolicy | Spent | Unasked:
    """It may pass, unless a limit is full or it has run already, or may have: then it is refused,
    or held where a person may let it run.
    """
    call, ruling = admission.call, verdict.ruling
    if admission.answers_alone:
        return _answering(admission, tx) or Unasked()
    retried = admission.retried
    if retried is not None and not tasks.spend(tx, retried.mark, until=retried.until):
        return Spent()
    mark = _other(admission, verdict, tx)
    why = _doubt(admission, verdict, mark, tx)
    if why is not None:
        held = Hold(
            ruling=replace(ruling, reason=why),
            terms=terms_for(policy, call.server, call.tool),
            charges=verdict.charges,
            claim=verdict.claim,
        )
        return record_held(admission, held, tx)
    taken = _taken(admission, verdict, mark, tx)
    if taken is not None:
        return taken
    if retried is not None:
        beside = _beside(call.metadata)
        answered = {"round": retried.round, "answers": retried.answers, **beside}
        data = canonical(answered).decode()
        event = admission.event("continued", ruling, verdict="allow", call_id=retried.call_id)
        tx.append(event._replace(data=data))
        _take(admission, verdict, retried.call_id, policy, tx)
        free = replace(verdict, charges=())  # one call is counted once, however often it is asked
        return Allowed(call, retried.call_id, free, admission.digest, tx.now, retried.round)
    full = limits.take(tx, verdict.charges, limits.Subject.of(call))
    if full is not None:
        return _limited(admission, ruling, full, tx)
    event = admission.event("allowed", ruling, verdict="allow", call_id=admission.call_id)
    if verdict.claim is not None or call.metadata.shown:
        event = event._replace(data=_told(verdict.claim, call.metadata))
    if verdict.claim is not None:
        _take(admission, verdict, admission.call_id, policy, tx)
    tx.append(event)
    return Allowed(call, admission.call_id, verdict, admission.digest, tx.now)


def _doubt(admission: Admission, verdict: Allow, mark: Mark | None, tx: Transaction) -> str | None:
    """Why a person is asked about a call that the rules let pass; None if no one need be."""
    if mark is not None and mark.state is EffectState.UNKNOWN:
        return f"The outcome of {mark.holder} is unknown: this may already have been done."
    if mark is not None and mark.state is EffectState.DONE and _again(verdict):
        return f"{mark.holder} has done this already: a second time needs a person."
    doubt = queue.unsettled(tx, admission.digest)
    if doubt is not None:
        return f"The outcome of {doubt.id} is unknown: this call may already have run."
    return None


def _other(admission: Admission, verdict: Allow | Hold, tx: Transaction) -> Mark | None:
    """The key's standing, where another call has it, or this one has come to its end: only a call
    whose question is open goes on, and carries the key it has.
    """
    if verdict.claim is None:
        return None
    mark = effects.look(tx, admission.call.server, verdict.claim.key)
    retried = admission.retried
    if mark is None or retried is None or mark.holder != retried.call_id:
        return mark
    return None if effects.awaits(tx, mark, number=retried.round) else mark


def _again(verdict: Allow | Hold) -> bool:
    return verdict.claim is not None and verdict.claim.again


def _taken(
    admission: Admission, verdict: Allow | Hold, mark: Mark | None, tx: Transaction
) -> RefusedByPolicy | None:
    """The refusal of a call whose effect another call is causing, or has caused for good."""
    if mark is None or mark.state is EffectState.UNKNOWN:
        return None
    if mark.state is EffectState.DONE and _again(verdict):
        return None
    was = "hold" if isinstance(verdict, Hold) else "allow"
    told = {"after": f"{mark.state}:{mark.holder}", "effect": mark.key, "was": was}
    ruled, taken = refusals.effect_ruling(verdict.ruling, mark), mark.state is EffectState.TAKEN
    if admission.told:
        event, said = ("limited", "limited") if taken else ("denied", "deny")
        row = admission.refusal(event, ruled, verdict=said, outcome=f"effect_{mark.state}")
        kept = loads(row.data) if row.data is not None else {}
        tx.append(row._replace(data=canonical({**kept, **told}).decode()))
    if taken:
        return RefusedByPolicy(refusals.effect_taken(ruled, mark, execution.EFFECT_RETRY))
    return RefusedByPolicy(refusals.effect_done(ruled, mark))


def _told(claim: EffectClaim | None, metadata: Metadata) -> str:
    """What the history keeps of an effect that is taken, and of what rides beside."""
    effect = {} if claim is None else {"effect": claim.key, "effect_for": claim.keep}
    return canonical({**effect, **_beside(metadata)}).decode()


def _beside(metadata: Metadata) -> dict[str, str]:
    """The digest of what people would be shown beside the arguments, if there is anything."""
    return {"metadata": metadata.digest} if metadata.shown else {}


def _take(
    admission: Admission, verdict: Allow, call_id: str, policy: Policy, tx: Transaction
) -> None:
    """The call's effect is this call's now, and what is held for the same key is told."""
    claim, call = verdict.claim, admission.call
    if claim is None:
        return
    terms = terms_for(policy, call.server, call.tool)
    mark = effects.take(tx, claim, call, holder=call_id, terms=terms, owner=admission.process)
    tell_held(tx, mark, EffectState.TAKEN)


def record_held(
    admission: Admission, verdict: Hold, tx: Transaction
) -> Held | RefusedByPolicy | Unasked:
    """It waits for a person: its row is opened, or the one of the identical call attached to."""
    call, ruling = admission.call, verdict.ruling
    stated = verdict.terms.hold
    hold = admission.grant.waits(stated if stated is not None else admission.hold)
    until = tx.now + hold * 1000
    if admission.answers_alone:
        return _answering(admission, tx, until=until, hold=hold) or Unasked()
    found = queue.find_open(tx, admission.digest, unattended=verdict.terms.allow_duplicates)
    if found is not None:
        attached = queue.attach(tx, found.id, until=until, to=admission.process)
        return Held(_followed(admission, attached, tx), hold)
    denial = queue.remembered_denial(tx, admission.digest, tx.now, told=admission.told)
    if denial is not None:
        return RefusedByPolicy(refusals.denied_by(denial))
    mark = _other(admission, verdict, tx)
    taken = _taken(admission, verdict, mark, tx)
    if taken is not None:
        return taken
    full = limits.peek(tx, verdict.charges, limits.Subject.of(call))
    if full is not None:
        return _limited(admission, ruling, full, tx)
    no_place = _no_place(admission, ruling, tx)
    if no_place is not None:
        return no_place
    approval = queue.open_approval(
        tx,
        call=call,
        ruling=ruling,
        terms=at_risk(verdict.terms, admission.tool_risk),
        effect=verdict.effect,
        effect_after=None if mark is None else f"{mark.state}:{mark.holder}",
        redact=admission.redact,
        attached_until=until,
        attached_to=admission.process,
    )
    return Held(_followed(admission, approval, tx), hold)


def _no_place(admission: Admission, ruling: Ruling, tx: Transaction) -> RefusedByPolicy | None:
    """Why this call is not put before a person; None if it is."""
    if admission.call.metadata.size > MOST:
        ruling = replace(ruling, reason=f"A held call may bring {MOST} bytes of _meta at most.")
        if admission.told:
            tx.append(admission.refusal("denied", ruling, verdict="deny"))
        return RefusedByPolicy(refusals.denied(ruling))
    if queue.count_open(tx, admission.call.grant) >= admission.max_pending:
        ruling = refusals.pending_ruling(ruling, admission.max_pending)
        if admission.told:
            row = admission.refusal("limited", ruling, verdict="limited", outcome="max_pending")
            tx.append(row)
        return RefusedByPolicy(
            refusals.too_many_pending(ruling, admission.max_pending, RETRY_PENDING)
        )
    again = _withdrew_too_much(admission, tx)
    if again is not None:
        ruling = refusals.withdrawn_ruling(ruling, admission.max_withdrawn)
        if admission.told:
            row = admission.refusal("limited", ruling, verdict="limited", outcome="max_withdrawn")
            tx.append(row)
        return RefusedByPolicy(refusals.too_many_withdrawn(ruling, admission.max_withdrawn, again))
    return None


def _withdrew_too_much(admission: Admission, tx: Transaction) -> int | None:
    """Seconds until the grant may have another call held; None: now. Each one is a card for
    people, and an agent that has calls held and takes them back only costs their time.
    """
    opened = queue.withdrawn_since(tx, admission.call.grant, tx.now - WITHDRAWN_WITHIN)
    if len(opened) < admission.max_withdrawn:
        return None
    frees = sorted(opened)[-admission.max_withdrawn]  # when this one is old enough, there is room
    return max(1, -(-(frees + WITHDRAWN_WITHIN - tx.now) // 1000))


def _answering(
    admission: Admission, tx: Transaction, *, until: Millis | None = None, hold: int = 0
) -> Held | None:
    """The approved call whose open question it answers; None: there is none."""
    found = queue.find_open(tx, admission.digest)
    if found is None or found.execution is not Execution.INPUT_REQUIRED:
        return None
    attached = queue.attach(tx, found.id, until=until, to=admission.process)
    return Held(_followed(admission, attached, tx), hold)


def _followed(admission: Admission, approval: Approval, tx: Transaction) -> Approval:
    """The approval, which its agent may follow as a task from now on."""
    if admission.follow is None:
        return approval
    return tasks.follow(tx, approval, dict(admission.follow))
