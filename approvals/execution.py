"""The run of an approved call: claimed once, finished once, its answer handed over. Not pure.

Nothing is sent here. Who wants to send claims first; anyone who loses the claim must not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import select

from approvals import effects
from approvals.decide import fresh
from approvals.digest import digest_of
from approvals.effects import EffectState
from approvals.model import Approval, Delivery, EffectClaim, Execution, Millis, State
from approvals.moves import GATEWAY, Actor, change, move, tell_held
from approvals.proven import approvers, differs, permit_of
from approvals.record.history import HISTORY, authentic
from approvals.record.ledger import halted
from approvals.record.transaction import Transaction
from approvals.record.verify import Permit
from approvals.rows import APPROVAL, LISTED, approval_of, load
from approvals.seal import SealBroken, seal, unseal

EFFECT_RETRY: Final = 5
"""Seconds after which it is worth asking whether another call has done with a key."""

_CLAIMABLE: Final = (Execution.NONE, Execution.NOT_EXECUTED)
_FINISHED: Final = (
    Execution.SUCCEEDED,
    Execution.TOOL_ERROR,
    Execution.UPSTREAM_ERROR,
    Execution.OUTCOME_UNKNOWN,
)
_EARLY: Final = "It may still be taken back."
_HALTED: Final = 60  # seconds after which it may be asked again whether the record is whole


Charges = TypeVar("Charges")
Refusal = TypeVar("Refusal")


@dataclass(frozen=True, slots=True)
class Proceed(Generic[Charges]):
    """A re-check's answer: the call may run now."""

    charges: Charges  # what it took of the limits
    effect: EffectClaim | None = None  # for how long its effect counts, where a rule says so


@dataclass(frozen=True, slots=True)
class Later(Generic[Refusal]):
    """A re-check's answer: the permit stays, but cannot be used now."""

    refusal: Refusal  # what the agent is told


@dataclass(frozen=True, slots=True)
class Superseded:
    """A re-check's answer: what was approved may not run any more."""

    why: str


Recheck = Proceed[Charges] | Later[Refusal] | Superseded
"""What judging an approved call again comes to."""


@dataclass(frozen=True, slots=True)
class Claimed(Generic[Charges]):
    """The caller holds the permit and must now send exactly `approval.call.arguments`, with
    `approval.call.metadata` beside them.
    """

    approval: Approval
    proceed: Proceed[Charges]


@dataclass(frozen=True, slots=True)
class Postponed(Generic[Refusal]):
    """The caller must not send, for the re-check said so; the permit stands."""

    later: Later[Refusal]


@dataclass(frozen=True, slots=True)
class Lost:
    """The caller must not send. The approval says how things stand; None if it does not exist."""

    why: str
    approval: Approval | None
    retry_after: int | None = None  # seconds, when asking again may help


@dataclass(frozen=True, slots=True)
class Answers:
    """What the agent answers to the question the server asked last."""

    round: int  # of the question
    shown: Any  # the answers as people and the log may see them, decoded


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended, as it is recorded. `result` is the server's answer or question, which is
    sealed; None: there is none.
    """

    execution: Execution
    result: bytes | None = None
    result_digest: str = ""
    latency_ms: int | None = None


def claim(
    tx: Transaction,
    approval_id: str,
    *,
    owner: str,
    lease_ms: int,
    recheck: Callable[[Transaction, Approval], Recheck[Charges, Refusal]],
    answering: Answers | None = None,
) -> Claimed[Charges] | Postponed[Refusal] | Lost:
    """Turn the permit into the one run it allows: approved -> executing, by compare-and-set.

    `recheck` judges the call again in this transaction; what it took of the limits stands only when
    it let the call run.
    With `answering` the run is the same one, which goes on after the server asked back: only the
    answers to its latest question are taken, and they once.
    """
    found = load(tx.connection, approval_id)
    if found is None:
        return Lost("There is no such approval.", None)
    approval = fresh(tx, found)
    barred = _barred(tx, approval, answering)
    if barred is not None:
        return barred
    sealed = _intact(tx, approval)
    if sealed is None:
        return _superseded(tx, approval, "The stored call is not the call that was approved.")
    stop = None if approval.effect is None else _effect_stop(tx, approval, approval.effect)
    match stop or recheck(tx, sealed):
        case Lost() as lost:
            return lost
        case Later() as later:
            return Postponed(later)
        case Superseded(why):
            return _superseded(tx, approval, why)
        case Proceed() as proceed:
            own = None if approval.effect is None else EffectClaim(approval.effect)
            # A continuation has it already.
            effect = (proceed.effect or own) if answering is None else None
    moved = move(
        tx,
        approval,
        "claimed" if answering is None else "continued",
        actor=Actor("gateway", owner, via="gateway"),
        values={"owner": owner, "lease_until": tx.now + lease_ms, "claimed_at": tx.now},
        told=_history_of_claim(sealed, effect, answering),
    )
    if moved is None:
        return Lost("Someone else was first.", load(tx.connection, approval_id))
    if effect is not None:
        mark = effects.take(tx, effect, moved.call, holder=moved.id, terms=moved.terms, owner=None)
        tell_held(tx, mark, EffectState.TAKEN)
    return Claimed(replace(moved, call=sealed.call), proceed)


def _history_of_claim(
    sealed: Approval, effect: EffectClaim | None, answering: Answers | None
) -> dict[str, Any]:
    """What the history's row of a claim says beside who and when."""
    data: dict[str, Any] = {"metadata": sealed.call.metadata.digest}
    if answering is not None:
        data |= {"round": answering.round, "answers": answering.shown}
    if effect is not None:
        after = sealed.effect_after
        data |= {"effect": effect.key, "effect_for": effect.keep, "after": after}
    return {"presented_digest": digest_of(sealed.call), "data": data}


def _barred(tx: Transaction, approval: Approval, answering: Answers | None) -> Lost | None:
    """Why there is nothing to claim, by the row or by the history; None if there is."""
    if approval.state is not State.APPROVED or not _due(approval, answering):
        return Lost(f"It is {approval.state}, {approval.execution}.", approval)
    stopped = halted(tx.connection)
    if stopped is not None:
        return Lost(stopped, approval, retry_after=_HALTED)
    permit = permit_of(tx, approval.id)
    if isinstance(permit, str):
        return _refused(tx, approval, permit)
    why = _unpermitted(tx, approval, permit)
    if why is not None:
        return _refused(tx, approval, why)
    left = permit.runs_from - tx.now
    return None if left <= 0 else Lost(_EARLY, approval, retry_after=-(-left // 1000))


def _unpermitted(tx: Transaction, approval: Approval, permit: Permit) -> str | None:
    """Why the history does not let the call run now; None if it does."""
    changed = differs(tx, approval, permit)
    if changed is not None:
        return changed
    if (permit.use_by or 0) <= tx.now:
        return "By the history it was not used in time."
    enough = len(approvers(tx, permit))
    if enough < permit.quorum:
        return f"Only {enough} of {permit.quorum} who approved it may still decide."
    return None


def _refused(tx: Transaction, approval: Approval, why: str) -> Lost:
    """The history says otherwise, so the row ends, whatever it was made to say. That is no move of
    the approval: the history's own word of it stands, and the row follows.
    """
    ended = change(
        tx,
        approval,
        {"state": str(State.SUPERSEDED), "reason": why},
        event="contradicted",
        told={"reason": why},
    )
    return Lost(why, ended or load(tx.connection, approval.id))


def _due(approval: Approval, answering: Answers | None) -> bool:
    """Whether this is the run that may be next."""
    if answering is None:
        return approval.execution in _CLAIMABLE
    asked = approval.execution is Execution.INPUT_REQUIRED
    return asked and approval.round == answering.round


def _intact(tx: Transaction, approval: Approval) -> Approval | None:
    """The approval with its arguments and metadata, if they are the ones that were approved."""
    try:
        opened = load(tx.connection, approval.id, keys=tx.keys)
    except SealBroken:
        return None
    if opened is None or digest_of(opened.call) != approval.digest:
        return None
    return opened if opened.call.metadata.digest == approval.metadata_digest else None


def _effect_stop(tx: Transaction, approval: Approval, key: str) -> Superseded | Lost | None:
    """Why this effect key keeps the approval from running; None if nothing does.

    Who approved it may have been shown that another call has done this, or perhaps has: then, and
    while that still is so, it runs all the same.
    """
    mark = effects.look(tx, approval.call.server, key)
    if mark is None or mark.holder == approval.id:
        return None
    if mark.state is EffectState.TAKEN:
        why = f"{mark.holder} is doing the same right now."
        return Lost(why, approval, retry_after=EFFECT_RETRY)
    shown = f"{mark.state}:{mark.holder}"
    if approval.effect_after == shown and _told_after(tx, approval.id) == shown:
        return None
    if mark.state is EffectState.DONE:
        return Superseded(effects.done_by(mark, meanwhile=False))
    return Superseded(f"{mark.holder} may have done this.")


def _told_after(tx: Transaction, approval_id: str) -> str | None:
    """Who had done the effect, or perhaps had, as the history says reviewers were shown last. The
    row alone does not decide it: anyone who may write the database could have changed that.
    """
    rows = tx.connection.execute(
        select(*HISTORY.c)
        .where(
            HISTORY.c.approval_id == approval_id,
            HISTORY.c.event.in_(["held", "effect_changed"]),
        )
        .order_by(HISTORY.c.seq.desc())
        .limit(1)
    )
    row = rows.first()
    if row is None or not authentic(tuple(row), tx.keys):
        return None
    after = json.loads(row.data or "{}").get("after")
    return after if isinstance(after, str) else None


def finish(tx: Transaction, approval_id: str, end: RunEnd, *, owner: str) -> Approval:
    """Record how the owner's run ended. The approval as it stands: compare its `execution`, for a
    lease that ran out meanwhile has made the outcome unknown, and that stays.

    Raises:
        LookupError: there is no such approval.
    """
    row = (
        tx.connection.execute(select(*LISTED).where(APPROVAL.c.id == approval_id))
        .mappings()
        .first()
    )
    if row is None:
        raise LookupError(approval_id)
    approval = approval_of(row)
    if approval.execution is not Execution.EXECUTING or row["owner"] != owner:
        return approval
    values: dict[str, Any] = {"lease_until": None}
    told: dict[str, Any] = {
        "outcome": str(end.execution),
        "result_digest": end.result_digest,
        "latency_ms": end.latency_ms,
    }
    if end.execution is Execution.INPUT_REQUIRED:
        values["use_by"] = tx.now + approval.terms.use_within * 1000
        # Without a result the answers did not reach the server: the question stands.
        if end.result is not None:
            values["round"] = approval.round + 1
        told["data"] = {
            "round": values.get("round", approval.round),
            "use_by": values["use_by"],
        }
    elif end.execution is not Execution.NOT_EXECUTED:
        values["finished_at"] = tx.now
    if end.result is not None or "finished_at" in values:
        values["result_digest"] = end.result_digest
        values["result_sealed"] = (
            None  # an earlier question is no answer
            if end.result is None
            else seal(tx.keys.seal, end.result, approval_id=approval_id, kind="result")
        )
    moved = move(
        tx,
        approval,
        str(end.execution),
        actor=Actor("gateway", owner, via="gateway"),
        values=values,
        told=told,
    )
    return moved or approval


def answer(tx: Transaction, approval_id: str, *, attached_at: Millis) -> bytes | None:
    """The stored answer, as it may be handed to an agent that asked `attached_at` then; None if
    there is none to give (any more). It counts as delivered only once `deliver` says so: an agent
    that dies on the way finds it again.
    """
    found = _finished(tx, approval_id)
    if found is None:
        return None
    approval, sealed = found
    delivered = approval.delivery is Delivery.DELIVERED
    if sealed is None or (delivered and attached_at > (approval.delivered_at or 0)):
        return None
    return unseal(tx.keys.seal, sealed, approval_id=approval_id, kind="result")


def deliver(
    tx: Transaction, approval_id: str, *, attached_at: Millis | None = None
) -> bytes | None:
    """The stored answer for the agent; None if there is none to give (any more).

    The first to ask makes it delivered; after that only callers `attached_at` before then get it.
    An unknown outcome is delivered too, and has no answer.
    """
    found = _finished(tx, approval_id)
    if found is None or found[0].execution is Execution.INPUT_REQUIRED:  # more is to come
        return None
    approval, sealed = found
    if approval.delivery is Delivery.UNDELIVERED:
        change(
            tx,
            approval,
            {"delivery": str(Delivery.DELIVERED), "delivered_at": tx.now},
            event="delivered",
            actor=Actor.agent(approval.call.grant),
            told={"result_digest": approval.result_digest},
        )
    elif attached_at is None or attached_at > (approval.delivered_at or 0):
        return None
    if sealed is None:
        return None
    return unseal(tx.keys.seal, sealed, approval_id=approval_id, kind="result")


def _finished(tx: Transaction, approval_id: str) -> tuple[Approval, bytes | None] | None:
    """A run that ended or asks back, and its sealed answer."""
    columns = (*LISTED, APPROVAL.c.result_sealed)
    found = tx.connection.execute(select(*columns).where(APPROVAL.c.id == approval_id)).mappings()
    row = found.first()
    if row is None:
        return None
    approval = approval_of(row)
    answered = approval.execution in (*_FINISHED, Execution.INPUT_REQUIRED)
    return (approval, row["result_sealed"]) if answered else None


def _superseded(tx: Transaction, approval: Approval, why: str) -> Lost:
    moved = move(
        tx, approval, "superseded", actor=GATEWAY, values={"reason": why}, told={"reason": why}
    )
    return Lost(why, moved or load(tx.connection, approval.id))
