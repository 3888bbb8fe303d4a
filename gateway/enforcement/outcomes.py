"""Outcomes of allowed calls: what became of each, and of its effect. Approved ones are in `runs`.

Functions of a `Transaction`; `guard` says when. Not pure.
"""

from __future__ import annotations

from collections.abc import Collection

from approvals import effects
from approvals.digest import canonical
from approvals.effects import EffectState
from approvals.model import Event, Execution
from approvals.moves import effect_ended
from approvals.record.database import Transaction
from gateway.enforcement import limits
from gateway.enforcement.recording import Allowed
from gateway.protocol.request_state import ANSWER_SECONDS


def record_outcome(
    allowed: Allowed,
    execution: Execution,
    result_digest: str,
    latency_ms: int,
    tx: Transaction,
    *,
    doubtful: bool = False,
) -> None:
    """What became of an allowed call. What was not sent counts against no limit. With `doubtful`
    its answer was none of the server's own, and does not say whether it was done.
    """
    call = allowed.call
    if allowed.verdict.claim is not None:
        asks = execution is Execution.INPUT_REQUIRED
        unsent = execution is Execution.NOT_EXECUTED and allowed.round  # an earlier round was sent
        if asks or unsent:
            until, number = tx.now + ANSWER_SECONDS * 1000, allowed.round + asks
            effects.ask_back(tx, allowed.call_id, until=until, number=number)
        else:
            state = EffectState.UNKNOWN if doubtful else effects.outcome(execution)
            effect_ended(tx, allowed.call_id, state)
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
            data=canonical({"effect": "unknown"}).decode() if doubtful else None,
        )
    )


def record_orphans(tx: Transaction, *, process: str, sending: Collection[str]) -> None:
    """Effects of allowed calls whose end no one will tell are unknown from now on."""
    for holder in effects.orphaned(tx, process=process, sending=sending):
        mark = effect_ended(tx, holder, EffectState.UNKNOWN)
        if mark is None:
            continue
        tx.append(
            Event(
                event="effect_unknown",
                call_id=holder,
                actor_kind="gateway",
                via="gateway",
                grant=mark.grant,
                server=mark.server,
                tool=mark.tool,
                reason="Its answer was not recorded.",
                data=canonical({"effect": mark.key}).decode(),
            )
        )
