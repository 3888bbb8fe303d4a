"""One change of one approval: the move table consulted, one UPDATE, its history, its ring.

Every writer of the approval table goes through `move` or `change`. Not pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import update

from approvals import effects, reminders
from approvals.announce import announce
from approvals.digest import canonical
from approvals.effects import EffectState, Mark
from approvals.model import MOVES, Approval, Event, Execution, Move, Reviewer, State, Via
from approvals.record.transaction import Transaction
from approvals.rows import APPROVAL, LISTED, approval_of

UNSETTLED: Final = "unsettled outcomes"
"""The fact `queue.unsettled` asks for once a batch."""

_MOST_BESIDE: Final = 1_000
"""Calls held for one effect key that change with it; the claim refuses what is beyond."""

_WAITS_ANEW: Final = frozenset({"held", "edited", "extended"})
"""Events from which on reviewers are reminded: what waits, or until when, is new."""


class IllegalMove(Exception):
    """The table of legal moves has no such move: a bug of ours, never a race."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who causes a change."""

    kind: str  # "agent", "reviewer", "gateway"
    id: str = ""
    verified: str = ""
    via: str = ""

    @classmethod
    def reviewer(cls, reviewer: Reviewer, via: Via) -> Actor:
        return cls("reviewer", reviewer.id, reviewer.verified, via)

    @classmethod
    def agent(cls, grant: str) -> Actor:
        return cls("agent", grant, "token", "gateway")


GATEWAY: Final = Actor("gateway", via="gateway")


def legal(event: str, approval: Approval) -> Move:
    """The move this event makes of the approval as it stands.

    Raises:
        IllegalMove: there is none.
    """
    for known in MOVES:
        if (
            known.event == event
            and known.state[0] is approval.state
            and known.execution[0] is approval.execution
        ):
            return known
    raise IllegalMove(f"{event} from {approval.state}/{approval.execution}")


def move(
    tx: Transaction,
    approval: Approval,
    event: str,
    *,
    actor: Actor,
    values: Mapping[str, Any] | None = None,
    told: Mapping[str, Any] | None = None,
) -> Approval | None:
    """Make the legal move: the approval as it is afterwards, or None if it was no longer as given.

    `values` are further columns of the row, `told` further fields of the history row.
    """
    step = legal(event, approval)
    moved = _compare_and_set(
        tx,
        approval,
        {"state": str(step.state[1]), "execution": str(step.execution[1]), **(values or {})},
    )
    if moved is not None:
        record(tx, moved, event, actor=actor, told=told)
        tx.forget(UNSETTLED)
        if approval.state is State.PENDING:
            reminders.cancel(tx, moved)
        if moved.effect is not None and approval.execution is not moved.execution:
            _end_effect(tx, moved)
        elif moved.execution is Execution.INPUT_REQUIRED and moved.state is not State.APPROVED:
            effect_ended(tx, moved.id, EffectState.UNKNOWN)  # it began, and no one goes on with it
    return moved


def _end_effect(tx: Transaction, approval: Approval) -> None:
    """What the end of an approval's run says of the key it took."""
    match approval.execution:
        case Execution.EXECUTING:  # anyone who claims takes the key, and knows for how long
            pass
        case Execution.INPUT_REQUIRED:
            effects.ask_back(tx, approval.id, until=None)
        case execution:
            effect_ended(tx, approval.id, effects.outcome(execution))


def effect_ended(tx: Transaction, holder: str, state: EffectState | None) -> Mark | None:
    """The call that took a key has done it, may have done it, or (None) has not: the key stands so
    from now on, and what is held for the same key changes with it. None: the call holds no key.
    """
    mark = effects.end(tx, holder, state)
    if mark is not None:
        tell_held(tx, mark, state)
    return mark


def tell_held(tx: Transaction, mark: Mark, state: EffectState | None) -> None:
    """What the key's new standing means for the calls that are held for it. None: it is free."""
    for held in effects.held_beside(
        tx.connection, mark.server, mark.key, but=mark.holder, limit=_MOST_BESIDE
    ):
        if state is None or state is EffectState.TAKEN:
            _relieved(tx, held, mark, state)
        elif held.state is State.PENDING and (state is EffectState.UNKNOWN or mark.again):
            _doubted(tx, held, mark, state)
        else:
            done = state is EffectState.DONE
            why = f"{mark.holder} has done, or may have done, this meanwhile."
            why = effects.done_by(mark, meanwhile=True) if done else why
            told = {"reason": why}
            move(tx, held, "superseded", actor=GATEWAY, values={"reason": why}, told=told)


def _doubted(tx: Transaction, held: Approval, mark: Mark, state: EffectState) -> None:
    """Reviewers are shown another call than before: what they said of that one counts no more."""
    after = f"{state}:{mark.holder}"
    if held.effect_after == after:
        return
    change(
        tx,
        held,
        {"effect_after": after, "revision": held.revision + 1},
        event="effect_changed",
        told={"data": {"effect": mark.key, "after": after}},
    )


def _relieved(tx: Transaction, held: Approval, mark: Mark, state: EffectState | None) -> None:
    """Nothing stands against it any more, or (taken) not yet; anyone who shows it looks again."""
    named = (held.effect_after or "").endswith(f":{mark.holder}")
    if state is None and named:
        told = {"data": {"effect": mark.key, "after": None}}
        change(tx, held, {"effect_after": None}, event="effect_changed", told=told)
    else:
        change(tx, held, {})


def change(
    tx: Transaction,
    approval: Approval,
    values: Mapping[str, Any],
    *,
    event: str = "",
    actor: Actor = GATEWAY,
    told: Mapping[str, Any] | None = None,
) -> Approval | None:
    """Change columns and no state; without an event the history is not told (presence)."""
    changed = _compare_and_set(tx, approval, values)
    if changed is not None and event:
        record(tx, changed, event, actor=actor, told=told)
    return changed


def _compare_and_set(
    tx: Transaction, approval: Approval, values: Mapping[str, Any]
) -> Approval | None:
    row = (
        tx.connection.execute(
            update(APPROVAL)
            .where(
                APPROVAL.c.id == approval.id,
                APPROVAL.c.state == str(approval.state),
                APPROVAL.c.execution == str(approval.execution),
                APPROVAL.c.version == approval.version,
            )
            .values(version=approval.version + 1, **values)
            .returning(*LISTED)
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    tx.ring(approval.id)
    return approval_of(row)


def record(
    tx: Transaction,
    approval: Approval,
    event: str,
    *,
    actor: Actor,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Append what happened to the history and queue it for the notifiers."""
    fields: dict[str, Any] = {
        "approval_id": approval.id,
        "revision": approval.revision,
        "actor_kind": actor.kind,
        "actor": actor.id,
        "verified": actor.verified,
        "via": actor.via,
        "grant": approval.call.grant,
        "server": approval.call.server,
        "tool": approval.call.tool,
        "arguments_digest": approval.arguments_digest,
        "presented_digest": approval.digest,
        "policy_hash": approval.ruling.policy_hash,
        "rule": approval.ruling.rule,
        "verdict": "hold",
        **(told or {}),
    }
    data = fields.get("data")
    if data is not None:
        fields["data"] = canonical(data).decode()
    tx.append(Event(event=event, **fields))
    announce(tx, approval, event)
    if event in _WAITS_ANEW:
        reminders.plan(tx, approval)
