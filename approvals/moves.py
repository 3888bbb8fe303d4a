"""One change of one approval: the move table consulted, one UPDATE, its history, its ring.

Every writer of the approval table goes through `move` or `change`. Not pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import update

from approvals import reminders
from approvals.announce import announce
from approvals.digest import canonical
from approvals.model import MOVES, Approval, Event, Move, Reviewer, State, Via
from approvals.rows import APPROVAL, LISTED, approval_of
from approvals.transaction import Transaction

UNSETTLED: Final = "unsettled outcomes"
"""The fact `queue.unsettled` asks for once a batch."""

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
    return moved


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
