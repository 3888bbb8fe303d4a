"""The reviewers' moves: decide, edit, extend, settle; and expiry, which every move checks first.

Each is one transaction's work and answers with a `Decided`; who may is asked of `permission`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import delete, insert, select

from approvals import effects, permission
from approvals.differences import ABSENT, changes, covers, pattern, text
from approvals.digest import canonical, digest_of, sha256
from approvals.effects import EffectState
from approvals.model import (
    AlreadyDecided,
    Approval,
    ArgumentEdit,
    Call,
    Choice,
    Counted,
    Decided,
    EffectKnown,
    EffectSettled,
    Event,
    Execution,
    Moved,
    NotAllowed,
    NotFound,
    Reviewer,
    SettledEffect,
    Settlement,
    Stale,
    State,
    Via,
    Vote,
    tally,
)
from approvals.moves import GATEWAY, UNSETTLED, Actor, change, effect_ended, move
from approvals.permission import may_review, may_still_decide, voted_as
from approvals.proven import contradiction
from approvals.record import signed
from approvals.record.tables import RevisionRow
from approvals.record.transaction import Transaction
from approvals.redact import masked
from approvals.rows import APPROVAL, DECISION, decisions_of, load
from approvals.seal import seal

UNFINISHED: Final = (Execution.NONE, Execution.NOT_EXECUTED, Execution.INPUT_REQUIRED)
"""Where an approved call stands while nothing of it runs and it may still run (on)."""

LONGEST_REASON: Final = 2_000
LONGEST_WAIT: Final = 30 * 86_400
"""Seconds after its creation beyond which no deadline is extended."""


def fresh(tx: Transaction, approval: Approval) -> Approval:
    """The approval, expired first if its deadline has passed."""
    if approval.state is State.PENDING and approval.expires_at <= tx.now:
        why = f"No one decided in {_spoken(approval.terms.expires)}."
    elif (
        approval.state is State.APPROVED
        and approval.execution in UNFINISHED
        and (approval.use_by or 0) <= tx.now
    ):
        used = approval.execution is Execution.INPUT_REQUIRED
        what = "the server's question was not answered" if used else "not used"
        why = f"It was approved, but {what} within {_spoken(approval.terms.use_within)}."
    else:
        return approval
    values: dict[str, Any] = {"reason": why}
    if approval.decided_at is None:
        values["decided_at"] = tx.now
    moved = move(tx, approval, "expired", actor=GATEWAY, values=values, told={"reason": why})
    return moved or load(tx.connection, approval.id) or approval


def _spoken(seconds: int) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {name}{'s' if seconds != size else ''}"
    return f"{seconds} seconds"


def decide(tx: Transaction, approval_id: str, vote: Vote) -> Decided:
    """One person's vote. An approval needs the quorum of distinct people; one denial ends it."""
    found = _reviewable(tx, approval_id, vote.revision)
    if not isinstance(found, Approval):
        return found
    reviewer, approving = vote.reviewer, vote.choice is Choice.APPROVE
    refusal = may_review(
        tx.connection, found, reviewer, approving=approving, denying=not approving, via=vote.via
    )
    if refusal is not None:
        return NotAllowed(refusal)
    vote = replace(vote, reason=vote.reason.replace("\x00", "")[:LONGEST_REASON])
    earlier = voted_as(tx.connection, found, reviewer)
    if earlier is not None and approving:
        return NotAllowed("You have already approved this.")
    _keep(tx, found, vote, earlier)
    actor = Actor.reviewer(reviewer, vote.via)
    told: dict[str, Any] = {"reason": vote.reason, "data": {"view": vote.view_digest}}
    decided = {
        "decided_at": tx.now,
        "decided_by": reviewer.id,
        "decided_via": vote.via,
        "reason": vote.reason,
    }
    if vote.choice is Choice.DENY:
        moved = move(tx, found, "denied", actor=actor, values=decided, told=told)
        return _moved(tx, found, moved)
    votes = [
        kept
        for kept in decisions_of(tx.connection, approval_id)
        if kept.reviewer == reviewer.id or may_still_decide(tx.connection, kept.reviewer)
    ]
    missing = tally(tuple(votes), found.terms, found.revision)
    if missing:
        told["data"]["missing"] = missing
        changed = change(tx, found, {}, event="voted", actor=actor, told=told)
        return Counted(changed, missing) if changed is not None else _lost(tx, found)
    may_start = tx.now + found.terms.undo * 1000
    if found.terms.undo:
        told["data"]["runs_from"] = may_start
    decided["use_by"] = told["data"]["use_by"] = may_start + found.terms.use_within * 1000
    moved = move(tx, found, "approved", actor=actor, values=decided, told=told)
    return _moved(tx, found, moved)


def _keep(tx: Transaction, approval: Approval, vote: Vote, earlier: str | None) -> None:
    """Keep the vote, in the place of the same person's `earlier` one. A person who approved and now
    denies has one vote, and that is the denial; the history keeps both.
    """
    if earlier is not None:
        tx.connection.execute(
            delete(DECISION).where(
                DECISION.c.approval_id == approval.id,
                DECISION.c.revision == approval.revision,
                DECISION.c.reviewer == earlier,
            )
        )
    signed.put_untold(
        tx,
        DECISION,
        {
            "id": f"dec_{secrets.token_hex(12)}",
            "approval_id": approval.id,
            "revision": approval.revision,
            "reviewer": vote.reviewer.id,
            "choice": str(vote.choice),
            "reason": vote.reason,
            "via": vote.via,
            "view_digest": vote.view_digest,
            "at": tx.now,
        },
    )


def edit(
    tx: Transaction,
    approval_id: str,
    edit: ArgumentEdit,
    *,
    judge_again: Callable[[Transaction, Call], str | None],
) -> Decided:
    """Replace the arguments: a new revision, which voids the approvals of the one before.

    Only paths the rule lists as editable may differ. `judge_again` checks schema and policy and
    says why not.
    """
    found = _reviewable(tx, approval_id, edit.revision)
    if not isinstance(found, Approval):
        return found
    refusal = may_review(tx.connection, found, edit.reviewer, approving=True, via=edit.via)
    opened = load(tx.connection, approval_id, keys=tx.keys)
    if refusal is None and opened is not None:
        refusal = _uneditable(opened, edit.arguments)
    if opened is None or refusal is not None:
        return NotAllowed(refusal or "The stored arguments are gone.")
    call = replace(opened.call, arguments=edit.arguments)
    refusal = judge_again(tx, call)
    if refusal is not None:
        return NotAllowed(refusal)
    return _revised(tx, found, call, Actor.reviewer(edit.reviewer, edit.via))


def _uneditable(approval: Approval, arguments: bytes) -> str | None:
    """Why these arguments may not replace the approval's; None if they may."""
    try:
        wanted = json.loads(arguments)
        if not isinstance(wanted, dict) or canonical(wanted) != arguments:
            return "The arguments are not a canonical JSON object."
    except ValueError:
        return "The arguments are not JSON."
    differing = changes(json.loads(approval.call.arguments), wanted)
    if not differing:
        return "Nothing was changed."
    patterns = [pattern(path) for path in approval.terms.editable]
    for change_ in differing:
        if not any(covers(wanted_path, change_.path) for wanted_path in patterns):
            return f"{text(change_.path)} may not be edited under this rule."
    return None


def _revised(tx: Transaction, approval: Approval, call: Call, actor: Actor) -> Decided:
    row = (
        tx.connection.execute(select(APPROVAL).where(APPROVAL.c.id == approval.id)).mappings().one()
    )
    tx.connection.execute(
        insert(RevisionRow).values(
            approval_id=approval.id,
            revision=approval.revision,
            # Still sealed for kind "arguments": the bytes of an earlier revision of this row.
            arguments_sealed=row["arguments_sealed"],
            masked=approval.masked,
            digest=approval.digest,
            edited_by=actor.id,
            at=tx.now,
        )
    )
    shown = masked(call.arguments, json.loads(row["redact"]), key=tx.keys.fingerprint)
    voided = [
        vote.reviewer
        for vote in decisions_of(tx.connection, approval.id)
        if vote.revision == approval.revision
    ]
    changed = change(
        tx,
        approval,
        {
            "revision": approval.revision + 1,
            "digest": digest_of(call),
            "arguments_digest": sha256(call.arguments),
            "arguments_sealed": seal(
                tx.keys.seal, call.arguments, approval_id=approval.id, kind="arguments"
            ),
            "masked": shown,
        },
        event="edited",
        actor=actor,
        told={
            "arguments": shown,
            "data": {"changes": _listed(approval.masked, shown), "voided": voided},
        },
    )
    return _moved(tx, approval, changed)


def _listed(before: str, after: str) -> list[dict[str, Any]]:
    """The field diff of two masked forms, as the history keeps it."""
    return [
        {
            "path": text(one.path),
            **({} if one.before is ABSENT else {"before": one.before}),
            **({} if one.after is ABSENT else {"after": one.after}),
        }
        for one in changes(json.loads(before), json.loads(after))
    ]


def extend(
    tx: Transaction, approval_id: str, *, reviewer: Reviewer, seconds: int, via: Via
) -> Decided:
    """Give the reviewers more time: the deadline moves `seconds` further, within 30 days in all."""
    found = _reviewable(tx, approval_id, None)
    if not isinstance(found, Approval):
        return found
    refusal = may_review(tx.connection, found, reviewer, approving=False, via=via)
    if refusal is not None:
        return NotAllowed(refusal)
    until = min(found.expires_at + seconds * 1000, found.created_at + LONGEST_WAIT * 1000)
    if seconds <= 0 or until <= found.expires_at:
        return NotAllowed("The deadline can only move further, within 30 days in all.")
    changed = change(
        tx,
        found,
        {"expires_at": until},
        event="extended",
        actor=Actor.reviewer(reviewer, via),
        told={"data": {"expires_at": until}},
    )
    return _moved(tx, found, changed)


def settle(
    tx: Transaction,
    approval_id: str,
    *,
    reviewer: Reviewer,
    settlement: Settlement,
    note: str,
    via: Via,
) -> Decided:
    """A reviewer found out what became of an unknown outcome. Settled once."""
    found = load(tx.connection, approval_id)
    if found is None:
        return NotFound()
    if found.execution is not Execution.OUTCOME_UNKNOWN or found.settlement is not None:
        return AlreadyDecided(found)
    refusal = may_review(tx.connection, found, reviewer, approving=True, via=via)
    refusal = refusal or contradiction(tx, found)
    if refusal is not None:
        return NotAllowed(refusal)
    changed = change(
        tx,
        found,
        {"settlement": str(settlement)},
        event="settled",
        actor=Actor.reviewer(reviewer, via),
        told={
            "outcome": str(settlement),
            "reason": note.replace("\x00", "")[:LONGEST_REASON],
        },
    )
    tx.forget(UNSETTLED)
    if changed is not None and changed.effect is not None:
        effect_ended(tx, found.id, effects.settled(settlement))
    return _moved(tx, found, changed)


def settle_effect(
    tx: Transaction,
    holder: str,
    *,
    reviewer: Reviewer,
    settlement: Settlement,
    note: str,
    via: Via,
) -> SettledEffect:
    """A reviewer found out whether a call did what its effect key names. Settled once. An approval
    whose outcome is unknown is settled with it.
    """
    mark = effects.held_by(tx.connection, holder)
    if mark is not None:
        mark = effects.look(tx, mark.server, mark.key)
    if mark is None or mark.holder != holder:
        return NotFound()
    if mark.state is not EffectState.UNKNOWN:
        return EffectKnown(mark.holder, str(mark.state))
    approval = load(tx.connection, holder)
    if approval is not None and approval.execution is Execution.OUTCOME_UNKNOWN:
        settled = settle(tx, holder, reviewer=reviewer, settlement=settlement, note=note, via=via)
        if isinstance(settled, NotAllowed | NotFound):
            return settled
        return EffectSettled(mark.holder, settlement)
    wanted = mark.terms.not_owner
    refusal = permission.refusal(
        mark.terms,
        reviewer,
        grant=mark.grant,
        owner=permission.owner_of(tx.connection, grant=mark.grant) if wanted else "",
        approving=True,
    )
    if refusal is not None:
        return NotAllowed(refusal)
    actor = Actor.reviewer(reviewer, via)
    tx.append(
        Event(
            event="settled",
            approval_id=holder if approval is not None else None,
            revision=approval.revision if approval is not None else None,
            call_id=holder if approval is None else None,
            actor_kind=actor.kind,
            actor=actor.id,
            verified=actor.verified,
            via=actor.via,
            grant=mark.grant,
            server=mark.server,
            tool=mark.tool,
            outcome=str(settlement),
            reason=note.replace("\x00", "")[:LONGEST_REASON],
            data=canonical({"effect": mark.key}).decode(),
        )
    )
    effect_ended(tx, holder, effects.settled(settlement))
    return EffectSettled(mark.holder, settlement)


def _reviewable(
    tx: Transaction, approval_id: str, revision: int | None
) -> Approval | NotFound | AlreadyDecided | Stale | NotAllowed:
    found = load(tx.connection, approval_id)
    if found is None:
        return NotFound()
    found = fresh(tx, found)
    if found.state is not State.PENDING:
        return AlreadyDecided(found)
    if revision is not None and revision != found.revision:
        return Stale(found)
    changed = contradiction(tx, found)
    return found if changed is None else NotAllowed(changed)


def _moved(tx: Transaction, before: Approval, after: Approval | None) -> Decided:
    return Moved(after) if after is not None else _lost(tx, before)


def _lost(tx: Transaction, before: Approval) -> Decided:
    """Another writer changed the row between our look and our move: say how it stands."""
    return AlreadyDecided(load(tx.connection, before.id) or before)
