"""The queue: opening an approval, finding it again, and the ways it ends without a reviewer.

Plain functions of a `Transaction`; the reviewers' moves are in `decide`, the run itself in
`execution`. Not pure.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from typing import Any, Final

from sqlalchemy import func, insert, or_, select

from approvals import processes
from approvals.decide import UNFINISHED, fresh
from approvals.digest import canonical, digest_of, sha256
from approvals.model import (
    MIDDLE,
    RISKS,
    Approval,
    Call,
    Delivery,
    Execution,
    Millis,
    Ruling,
    State,
    Terms,
)
from approvals.moves import GATEWAY, UNSETTLED, Actor, change, move, record
from approvals.record.proofs import fixed_digest
from approvals.record.transaction import Transaction
from approvals.redact import masked
from approvals.rows import (
    APPROVAL,
    LISTED,
    OPENED,
    any_unsettled,
    approval_of,
    load,
    unsettled_like,
    write_metadata,
    write_terms,
)
from approvals.seal import SealBroken, seal

_TOLD_ATTACHES: Final = 3  # attaches the history tells; a poller would fill it otherwise
_BATCH: Final = 500
_MOST_OPEN: Final = 1_000  # identical calls that are looked through for one that is left
_ID_BYTES: Final = 16
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: nothing reads like another


def new_id() -> str:
    """A fresh approval id: 128 random bits, its first letters short enough to say aloud."""
    number = int.from_bytes(secrets.token_bytes(_ID_BYTES), "big")
    letters = []
    for _ in range(26):
        number, place = divmod(number, 32)
        letters.append(_ALPHABET[place])
    return "apr_" + "".join(letters)


def find_open(tx: Transaction, digest: str, *, unattended: bool = False) -> Approval | None:
    """The approval an identical call attaches to: it waits for a decision, may still run, runs, or
    has an answer no one received. What is overdue is expired on the way.

    With `unattended`, for rules under which two identical calls are two: only one at which no agent
    waits. A call that comes while the first is waited for means a second; one when no one
    does is taken for the first, come back. Of several the oldest is found, what was decided first.
    """
    rows = tx.connection.execute(
        select(*LISTED)
        .where(APPROVAL.c.asked == digest)
        .order_by(APPROVAL.c.created_at.desc(), APPROVAL.c.id)
        .limit(_MOST_OPEN if unattended else 10)
    ).mappings()
    found: list[Approval] = []
    for row in rows.all():
        approval = fresh(tx, approval_of(row))
        if is_open(approval):
            if not unattended:
                return approval
            found.append(approval)
    alive = processes.living(tx.connection, tx.now) if found else ()
    left = [one for one in reversed(found) if not processes.waits(one, tx.now, alive)]
    return min(left, key=lambda one: one.state is State.PENDING, default=None)


def is_open(approval: Approval) -> bool:
    """Whether an identical call still belongs to it."""
    if approval.state is State.PENDING:
        return True
    if approval.state is not State.APPROVED:
        return False
    claimable = approval.execution in (*UNFINISHED, Execution.EXECUTING)
    return claimable or approval.delivery is Delivery.UNDELIVERED


def remembered_denial(
    tx: Transaction, digest: str, now: Millis, *, told: bool = True
) -> Approval | None:
    """The denial that still answers this call, its attempts counted one up; None if there is none.

    Only the latest approval of the call speaks: what was approved since is not denied. Not `told`,
    the repetition is neither counted nor recorded.
    """
    row = (
        tx.connection.execute(
            select(*LISTED)
            .where(APPROVAL.c.asked == digest)
            .order_by(APPROVAL.c.created_at.desc(), APPROVAL.c.id)
            .limit(1)
        )
        .mappings()
        .first()
    )
    if row is None or row["state"] != State.DENIED:
        return None
    denial = approval_of(row)
    if (denial.decided_at or 0) + denial.terms.deny_memory * 1000 <= now:
        return None
    if not told:
        return denial
    return change(
        tx,
        denial,
        {"attempts": denial.attempts + 1},
        event="repeated",
        actor=Actor.agent(denial.call.grant),
        told={"reason": denial.reason, "data": {"attempts": denial.attempts + 1}},
    )


def count_open(tx: Transaction, grant: str) -> int:
    """How many calls of the grant wait for a decision."""
    found = tx.connection.execute(
        select(func.count()).where(
            APPROVAL.c.grant_id == grant,
            APPROVAL.c.state == str(State.PENDING),
            APPROVAL.c.expires_at > tx.now,
        )
    ).scalar_one()
    return int(found)


def withdrawn_since(tx: Transaction, grant: str, since: Millis) -> list[Millis]:
    """When the grant's calls were held that were so since then, and that it withdrew. What a person
    took back (see `reversal.taken_back`) is not the agent's doing.
    """
    found = tx.connection.execute(
        select(APPROVAL.c.created_at).where(
            APPROVAL.c.grant_id == grant,
            APPROVAL.c.state == str(State.WITHDRAWN),
            or_(APPROVAL.c.decided_by == "", APPROVAL.c.use_by.is_not(None)),
            APPROVAL.c.created_at > since,
        )
    )
    return list(found.scalars())


def open_approval(
    tx: Transaction,
    *,
    call: Call,
    ruling: Ruling,
    terms: Terms,
    effect: str | None = None,
    effect_after: str | None = None,
    redact: tuple[str, ...] = (),
    attached_until: Millis | None = None,
    attached_to: str | None = None,
) -> Approval:
    """Open the approval of a held call: its row, its history, its outbox.

    `effect_after` names who has done this effect, or perhaps has: "done:call_…". `redact` are the
    policy's paths. The arguments are sealed under the journal's key.
    """
    shown = masked(call.arguments, redact, key=tx.keys.fingerprint)
    metadata = call.metadata
    beside = masked(metadata.shown, (), key=tx.keys.fingerprint) if metadata.shown else ""
    row = {
        **_row_of(tx, call, ruling, terms),
        "masked": shown,
        "metadata_masked": beside or None,
        "redact": canonical(list(redact)).decode(),
        "effect": effect,
        "effect_after": effect_after,
        "attached_until": attached_until,
        "attached_to": attached_to,
    }
    stored = tx.connection.execute(insert(APPROVAL).values(row).returning(*OPENED)).mappings().one()
    approval = approval_of(stored, keys=tx.keys)
    data = {
        "effect": effect,
        "after": effect_after,
        "fixed": fixed_digest(row),
        "expires_at": approval.expires_at,
        "matched": ruling.matched,
        "metadata": metadata.digest,
        **({"metadata_shown": json.loads(beside)} if beside else {}),
        "quorum": terms.quorum,
        "reviewers": list(terms.reviewers),
        "risk": approval.risk,
        "tool_risk": terms.tool_risk,
    }
    told = {"arguments": shown, "reason": ruling.reason, "data": data}
    record(tx, approval, "held", actor=Actor.agent(call.grant), told=told)
    tx.ring(approval.id)
    return approval


def _row_of(tx: Transaction, call: Call, ruling: Ruling, terms: Terms) -> dict[str, Any]:
    """The row of a call that is held from now on, its arguments and metadata sealed."""
    identity, approval_id, metadata = digest_of(call), new_id(), call.metadata
    key = tx.keys.seal
    return {
        "id": approval_id,
        "revision": 1,
        "version": 1,
        "asked": identity,
        "digest": identity,
        "arguments_digest": sha256(call.arguments),
        "grant_id": call.grant,
        "grant_label": call.grant_label,
        "server": call.server,
        "tool": call.tool,
        "tool_hash": call.tool_hash,
        "client_name": call.client.name,
        "client_version": call.client.version,
        "session": call.session,
        "session_calls": call.session_calls,
        "arguments_sealed": seal(key, call.arguments, approval_id=approval_id, kind="arguments"),
        "metadata_sealed": seal(
            key, write_metadata(metadata), approval_id=approval_id, kind="metadata"
        )
        if metadata.size
        else None,
        "metadata_digest": metadata.digest or None,
        "rule": ruling.rule,
        "rule_reason": ruling.reason,
        "matched": ruling.matched,
        "policy_hash": ruling.policy_hash,
        "terms": write_terms(terms),
        "state": str(State.PENDING),
        "execution": str(Execution.NONE),
        "delivery": str(Delivery.UNDELIVERED),
        "created_at": tx.now,
        "expires_at": tx.now + terms.expires * 1000,
        "reason": "",
        "decided_by": "",
        "decided_via": "",
        "attempts": 1,
        "risk_rank": RISKS.index(terms.risk or MIDDLE),
        "result_digest": "",
    }


def attach(
    tx: Transaction, approval_id: str, *, until: Millis | None = None, to: str | None = None
) -> Approval:
    """An identical call joined: one more attempt, and the agent waits in place `until` then, at
    the process it is attached `to`.

    Raises:
        LookupError: there is no such approval.
    """
    approval = _known(tx, approval_id)
    attempts = approval.attempts + 1
    changed = change(
        tx,
        approval,
        {"attempts": attempts, **_attached(tx, approval, until, to)},
        event="attached" if attempts <= 1 + _TOLD_ATTACHES else "",
        actor=Actor.agent(approval.call.grant),
        told={"data": {"attempts": attempts}},
    )
    return changed or _known(tx, approval_id)


def present(tx: Transaction, approval_id: str, *, until: Millis, to: str | None = None) -> None:
    """The agent waits in place, `until` then, at the process it is attached `to`. Not told by the
    history.
    """
    approval = _known(tx, approval_id)
    values = _attached(tx, approval, until, to)
    if values:
        change(tx, approval, values)


def detach(tx: Transaction, approval_id: str, *, to: str | None = None) -> None:
    """The agent waits no longer in place, at this process; it may come back."""
    approval = load(tx.connection, approval_id)
    if approval is None or (approval.attached_until or 0) <= tx.now:
        return
    if to is None or approval.attached_to == to:
        change(tx, approval, {"attached_until": tx.now})


def _attached(
    tx: Transaction, approval: Approval, until: Millis | None, to: str | None
) -> dict[str, Any]:
    """What an agent that waits changes of the row. Who waits longest, at a process that lives, is
    the one the row names.
    """
    if until is None:
        return {}
    waits = processes.waits(approval, tx.now, processes.living(tx.connection, tx.now))
    if waits and (approval.attached_until or 0) >= until:
        return {}
    return {"attached_until": until, "attached_to": to}


def withdraw(
    tx: Transaction, approval_id: str, *, grant: str, why: str, by: Actor | None = None
) -> Approval | None:
    """The agent of this grant no longer wants the call, or someone else ends it for the agent.
    None: not its call, or no longer open.
    """
    approval = load(tx.connection, approval_id)
    if approval is None or approval.call.grant != grant:
        return None
    return _end(tx, fresh(tx, approval), "withdrawn", why, by or Actor.agent(grant))


def open_of(tx: Transaction, grant: str) -> tuple[Approval, ...]:
    """The grant's calls that wait for a decision, or are approved and may still run."""
    claimable = APPROVAL.c.execution.in_([str(one) for one in UNFINISHED])
    rows = tx.connection.execute(
        select(*LISTED).where(
            APPROVAL.c.grant_id == grant,
            APPROVAL.c.state.in_([str(State.PENDING), str(State.APPROVED)]) & claimable,
        )
    ).mappings()
    return tuple(approval_of(row) for row in rows.all())


def supersede(tx: Transaction, approval_id: str, why: str) -> Approval | None:
    """Policy, tool or server changed underneath it. None: no longer open."""
    approval = load(tx.connection, approval_id)
    return None if approval is None else _end(tx, approval, "superseded", why, GATEWAY)


def expire_due(tx: Transaction, now: Millis, *, limit: int = _BATCH) -> tuple[Approval, ...]:
    """Expire what no one decided or ran in time, at most `limit`; call again while it is full."""
    claimable = APPROVAL.c.execution.in_([str(one) for one in UNFINISHED])
    rows = tx.connection.execute(
        select(*LISTED)
        .where(
            or_(
                (APPROVAL.c.state == str(State.PENDING))
                & (APPROVAL.c.execution == str(Execution.NONE))
                & (APPROVAL.c.expires_at <= now),
                (APPROVAL.c.state == str(State.APPROVED)) & claimable & (APPROVAL.c.use_by <= now),
            )
        )
        .limit(limit)
    ).mappings()
    expired = (fresh(tx, approval_of(row)) for row in rows.all())
    return tuple(approval for approval in expired if approval.state is State.EXPIRED)


def standing(tx: Transaction) -> tuple[Approval, ...]:
    """Everything that may still run: pending, or approved and not claimed; with its arguments.

    A row whose seal is broken is left out: it cannot run, and `claim` says why.
    """
    claimable = APPROVAL.c.execution.in_([str(one) for one in UNFINISHED])
    rows = tx.connection.execute(
        select(*OPENED).where(
            APPROVAL.c.state.in_([str(State.PENDING), str(State.APPROVED)]) & claimable
        )
    ).mappings()
    found: list[Approval] = []
    for row in rows.all():
        with contextlib.suppress(SealBroken):
            found.append(approval_of(row, keys=tx.keys))
    return tuple(found)


def unsettled(
    tx: Transaction, digest: str, effect: str | None = None, server: str = ""
) -> Approval | None:
    """An unknown outcome of this call, or of this effect on this server, that no one settled.

    While there is one, the call never passes by itself. Cheap when there is none at all.
    """
    if not tx.once(UNSETTLED, lambda: any_unsettled(tx)):
        return None
    return unsettled_like(tx.connection, digest, effect, server)


def _end(
    tx: Transaction, approval: Approval, event: str, why: str, actor: Actor
) -> Approval | None:
    claimable = approval.execution in UNFINISHED
    if approval.state not in (State.PENDING, State.APPROVED) or not claimable:
        return None
    return move(
        tx,
        approval,
        event,
        actor=actor,
        values={"reason": why, "decided_at": approval.decided_at or tx.now},
        told={"reason": why},
    )


def _known(tx: Transaction, approval_id: str) -> Approval:
    approval = load(tx.connection, approval_id)
    if approval is None:
        raise LookupError(approval_id)
    return approval
