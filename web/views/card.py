"""A held call as the page shows it: the record's view, put into the order a reviewer reads. Pure.

Texts here are as the agent, tool or server wrote them; templates show them through `text()` only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from approvals.cautions import cautions, void
from approvals.differences import Places, leaves
from approvals.editing import ChangeRow
from approvals.headline import Headline
from approvals.lookalike import notes
from approvals.model import Approval, Execution, Millis, Reviewer, Risk, Settlement, State
from approvals.permission import refusal
from approvals.phrases import PRESETS
from approvals.reveal import reveals
from approvals.reversal import runs_from, takeable, taken_back
from approvals.values import FieldChange
from approvals.view import Earlier, View, alone, approvers, beside_path, lowered
from web.views.viewers.rows import Argument, argument
from web.views.viewers.sent import SentCall, sent_of

LONGER = ((1800, "30 minutes"), (7200, "2 hours"), (86400, "1 day"))
"""By how much a deadline may be moved at a time; the record bounds the whole."""

_RANK = {"critical": 0, "high": 1, "medium": 2, "low": 3}
_BRIEF = 160  # characters of a changed text in the queue: all of it stands among the arguments
_WHOLE = 10_000  # more than a view ever shows of a value
TAKEN_BACK = "taken_back"
"""The state shown of what a person took back."""
EDITED = "Edited since the agent asked"


@dataclass(frozen=True, slots=True)
class Changed:
    """How this call differs from an earlier one."""

    title: str
    by: str
    at: Millis
    rows: tuple[ChangeRow, ...]  # what is not shown among the arguments
    same: bool = False  # nothing differs
    folded: bool = False  # behind a link


@dataclass(frozen=True, slots=True)
class Before:
    """An earlier decision on the same tool."""

    mark: str  # "yes", "nay" or ""
    word: str
    what: str
    at: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    id: str
    short: str
    digest: str
    revision: int
    view_digest: str
    stamp: str  # changes whenever the card would look different
    order: str  # sorts cards as the queue does
    said: str  # one line for the ear
    asker: str  # who asks, and how risky it is: below the sentence in a notification
    open: bool
    shown_state: str
    risk: Risk
    lowered: str  # that a rule sets a lower risk than the tool's class, or ""
    flags: tuple[str, ...]
    alarms: tuple[str, ...]
    server: str
    tool: str
    headline: Headline
    matched: str
    reason: str
    rule: str
    policy_hash: str
    agent: str
    client: str
    session_calls: int
    waiting: str  # "yes", "no", or "" once it is decided
    attempts: int
    created_at: Millis
    expires_at: Millis
    left: Millis
    lifetime: Millis
    at_zero: str
    quorum: int
    votes: tuple[str, ...]
    effect: str
    similar: tuple[Before, ...]
    changes: tuple[Changed, ...]
    sent: SentCall
    metadata: tuple[Argument, ...]  # what is sent beside them
    cut: bool
    may: bool
    may_not: str
    may_deny: bool
    alone: str  # why it is not decided together with others, or ""
    edited: bool  # its arguments are no longer those the agent asked with
    voted: bool
    confirm: bool
    presets: tuple[str, ...] = PRESETS
    longer: tuple[tuple[int, str], ...] = LONGER
    passed: str  # "approved " where the state tells what came after that, or ""
    decided_by: str
    decided_via: str
    decided_at: Millis | None
    decision_reason: str
    unused_until: Millis | None  # it runs only if the agent, who has left, asks again before
    settleable: bool
    doubtful: str  # the call that perhaps has done what this one does, if this person may settle it
    editable: bool  # the rule lets this person change some of it first
    runs_from: Millis  # until when it waits in case it is taken back; 0: it does not
    runs_in: Millis
    takes_back: bool  # this person may still take the approval back
    reveals: bool  # something is masked that this person may look behind


def card_of(view: View, reviewer: Reviewer, now: Millis, *, full: bool = False) -> Card:
    """The card of a view for this reviewer; `full` shows every value whole."""
    approval = view.approval
    call, risk = approval.call, approval.risk
    is_open = approval.state is State.PENDING and approval.expires_at > now
    sent = _sent(view, full=full)
    metadata = tuple(_metadata(approval, full=full))
    cut = sent.cut or any(one.cut for one in metadata)
    state = shown_state(approval, now)
    return Card(
        id=approval.id,
        short=view.short_id,
        digest=approval.digest,
        revision=approval.revision,
        view_digest=view.digest,
        stamp=f"{approval.version}.{int(view.waiting)}.{int(is_open)}",
        order=f"{_RANK[risk]}:{approval.expires_at:015d}:{approval.id}",
        said=_said(view, state, is_open=is_open),
        asker=f"{call.grant_label or call.grant}, {risk} risk",
        open=is_open,
        shown_state=state,
        risk=risk,
        lowered=lowered(approval),
        flags=view.flags,
        alarms=tuple(_alarms(view)),
        server=call.server,
        tool=call.tool,
        headline=view.headline,
        matched=approval.ruling.matched,
        reason=approval.ruling.reason,
        rule=approval.ruling.rule,
        policy_hash=approval.ruling.policy_hash,
        agent=call.grant_label or call.grant,
        client=f"{call.client.name} {call.client.version}".strip(),
        session_calls=call.session_calls,
        waiting=("yes" if view.waiting else "no") if is_open else "",
        attempts=approval.attempts,
        created_at=approval.created_at,
        expires_at=approval.expires_at,
        left=max(0, approval.expires_at - now),
        lifetime=max(1, approval.expires_at - approval.created_at),
        at_zero=view.at_zero,
        quorum=approval.terms.quorum,
        votes=approvers(view),
        effect=approval.effect or "",
        similar=tuple(_before(one) for one in view.similar),
        changes=tuple(_changes(view, sent, full=full)),
        sent=sent,
        metadata=metadata,
        cut=cut,
        edited=approval.edited,
        confirm=approval.grave,
        alone=alone(view, cut=cut),
        **_decision(view, state, reviewer, now),
        **_permissions(view, reviewer, is_open=is_open),
    )


def _decision(view: View, state: str, reviewer: Reviewer, now: Millis) -> dict[str, Any]:
    """What was decided, and whether it can still be taken back, as fields of the card."""
    approval = view.approval
    return {
        "passed": "" if state in (approval.state, TAKEN_BACK) else f"{approval.state.value} ",
        "decided_by": approval.decided_by,
        "decided_via": approval.decided_via,
        "decided_at": approval.decided_at,
        "decision_reason": approval.reason,
        "unused_until": _unused_until(view, state),
        "runs_from": runs_from(approval) if runs_from(approval) > now else 0,
        "runs_in": max(0, runs_from(approval) - now),
        "takes_back": takeable(approval, now) and _takes_back(view, reviewer),
    }


def _permissions(view: View, reviewer: Reviewer, *, is_open: bool) -> dict[str, Any]:
    """What this reviewer may do here, as fields of the card."""
    approval = view.approval
    terms, grant = approval.terms, approval.call.grant
    may_not = refusal(terms, reviewer, grant=grant, owner=view.owner, approving=True)
    may_not_deny = refusal(
        terms, reviewer, grant=grant, owner=view.owner, approving=False, denying=True
    )
    return {
        "voted": not reviewer.names().isdisjoint(approvers(view)),
        "may": is_open and may_not is None,
        "may_not": may_not or "",
        "may_deny": is_open and may_not_deny is None,
        "editable": is_open and may_not is None and bool(terms.editable),
        "settleable": _settleable(approval, reviewer),
        "doubtful": _doubtful(view, reviewer) if is_open else "",
        "reveals": reveals(approval, reviewer),
    }


def _takes_back(view: View, reviewer: Reviewer) -> bool:
    voted = not reviewer.names().isdisjoint(approvers(view))
    return reviewer.role == "admin" or (voted and reviewer.may_decide)


def shown_state(approval: Approval, now: Millis) -> str:
    """One word for three axes: what a person would say has become of it."""
    if approval.state is State.PENDING:
        return "pending" if approval.expires_at > now else "expired"
    if approval.state is State.APPROVED and approval.execution is not Execution.NONE:
        return approval.execution.value
    if taken_back(approval):
        return TAKEN_BACK
    return approval.state.value


def _unused_until(view: View, state: str) -> Millis | None:
    approval = view.approval
    left = state == "approved" and not view.waiting and approval.terms.when_detached == "keep"
    return approval.use_by if left else None


def _said(view: View, state: str, *, is_open: bool) -> str:
    approval = view.approval
    if is_open:
        return f"{view.headline.text}, {approval.risk} risk"
    by = f" by {approval.decided_by}" if approval.decided_by else ""
    return f"{view.headline.text}: {state.replace('_', ' ')}{by}"


def _alarms(view: View) -> Iterator[str]:
    approval = view.approval
    if view.unable:
        yield view.unable
    if view.unknown_outcome:
        yield (
            f"An identical call ({view.unknown_outcome[:10]}) may already have run: its outcome is "
            "unknown and no one has settled it. Approving may do it twice."
        )
    yield from cautions(view)
    if approval.execution is Execution.OUTCOME_UNKNOWN and approval.settlement is None:
        yield "It was sent, and no answer was recorded. It is not sent again."
    if approval.settlement is not None:
        ran = "it ran" if approval.settlement is Settlement.DONE else "it did not run"
        yield f"The unknown outcome was settled: {ran}."
    if view.voided:
        names = ", ".join(sorted({vote.reviewer for vote in view.voided}))
        yield f"{void(view)} Earlier approvals no longer count: {names}."


def _doubtful(view: View, reviewer: Reviewer) -> str:
    unknown = view.effect is not None and view.effect.state == "unknown"
    may = reviewer.may_decide
    return view.effect.holder if unknown and may and view.effect is not None else ""


def _settleable(approval: Approval, reviewer: Reviewer) -> bool:
    return (
        approval.execution is Execution.OUTCOME_UNKNOWN
        and approval.settlement is None
        and reviewer.may_decide
    )


def _before(earlier: Earlier) -> Before:
    if earlier.state is State.DENIED:
        return Before("nay", "Denied", f"by {earlier.by}{_quoted(earlier.reason)}", earlier.at)
    if earlier.state is State.APPROVED:
        return Before("yes", "Approved", f"by {earlier.by}{_quoted(earlier.reason)}", earlier.at)
    # It was approved and then not run: no reason of a person's stands there.
    return Before("", f"Approved, {earlier.word}", f"by {earlier.by}", earlier.at)


def _quoted(reason: str) -> str:
    return f": {reason}" if reason else ""


def _changes(view: View, sent: SentCall, *, full: bool) -> Iterator[Changed]:
    """What reviewers edited; then what the arguments show in place, and only what they do not."""
    if view.edit is not None:
        rows = tuple(_change(change, full=full) for change in view.edit.changes)
        yield Changed(EDITED, " and ".join(view.edit.by), view.edit.at, rows)
    told = [("approved", view.since_approved), ("denied", view.since_denied)]
    found = [(since, since.named(word)) for word, since in told if since is not None]
    for at, (since, name) in enumerate(found):
        changes = [one for one in since.changes if at > 0 or not sent.shows(_short(one.path))]
        rows = tuple(_change(change, full=full) for change in changes)
        yield Changed(
            f"Since the {name}",
            since.by,
            since.at,
            rows,
            same=not since.changes,
            folded=at > 0,
        )


def _change(change: FieldChange, *, full: bool) -> ChangeRow:
    before, after = change.brief(_WHOLE if full else _BRIEF)
    return ChangeRow(_short(change.path), before, after)


def _short(path: str) -> str:
    return path.removeprefix("args.") or path


def _sent(view: View, *, full: bool) -> SentCall:
    """The arguments against the last approved call, or the last denied one where none was."""
    since = view.since_approved or view.since_denied
    return sent_of(
        json.loads(view.approval.masked),
        None if since is None else since.shown,
        full=full,
        target=view.target.path if view.target else "",
    )


def unmasked(card: Card, arguments: str) -> Card:
    """The card with these arguments, whole, and nothing more to look behind."""
    return replace(card, sent=sent_of(json.loads(arguments), full=True), cut=False, reveals=False)


def _metadata(approval: Approval, *, full: bool) -> Iterator[Argument]:
    places = Places.of(len(approval.metadata_masked))
    beside = json.loads(approval.metadata_masked or "{}")
    odd = notes(beside)
    for at, value in leaves(beside):
        shown = argument(beside_path(places.text(at)[0]), value, full=full)
        yield replace(shown, odd=odd.get(at, ()))
