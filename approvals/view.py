"""What a reviewer is shown of an approval: one model for page, Slack and command line.

Composed by us from the row and its neighbours, never from the agent's prose. `digest` proves what
was shown: it covers all but what changes by waiting. Reads only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, select

from approvals import effects
from approvals.able import unable
from approvals.differences import (
    ROOT,
    Places,
    names_of,
    texts_of,
)
from approvals.digest import canonical, sha256
from approvals.effects import EffectState
from approvals.headline import Headline
from approvals.lookalike import SIGNS, TWINS, signs, twins
from approvals.model import (
    Approval,
    Choice,
    Decision,
    Millis,
    State,
    short_id,
    tally,
)
from approvals.redact import scanned
from approvals.reversal import taken_back
from approvals.rows import (
    APPROVAL,
    REVISION,
    decisions_of,
    load,
)
from approvals.shared_facts import Decoded, SharedFacts, decoded
from approvals.values import FieldChange, Value, field_changes, values_of

OVERSIZED: Final = 20_000  # characters of all arguments from which the card says so
SIMILAR: Final = 5
_MOST_BESIDE: Final = 20  # other calls a card names


@dataclass(frozen=True, slots=True)
class Since:
    """How this call differs from an earlier one of the same tool by the same grant."""

    approval_id: str
    at: Millis
    by: str
    reason: str
    changes: tuple[FieldChange, ...]  # empty: the arguments are the same
    about: str = ""  # the argument that is the same in both, where a later call had another
    shown: Any = None  # that call's masked arguments; the changes tell all of them that differs

    def named(self, word: str) -> str:
        """Which call that is: the last approved one, or of those with the same customer."""
        with_it = f" with the same {self.about}" if self.about else ""
        return f"last {word} call{with_it}"


@dataclass(frozen=True, slots=True)
class EditSummary:
    """What reviewers made of the call that the agent asked for."""

    by: tuple[str, ...]  # in the order of their edits
    at: Millis  # of the latest
    changes: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier decision on the same tool by the same grant."""

    approval_id: str
    state: State
    by: str
    at: Millis
    reason: str
    taken_back: bool = False  # approved, and then `by` ended it

    @property
    def word(self) -> str:
        """What became of it."""
        return "taken back" if self.taken_back else str(self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectView:
    """What a call does in the world, who else did it or may have, and who else waits for it."""

    key: str
    state: str  # "free", "taken", "done", "unknown"
    holder: str = ""  # the call that did it, does it, or perhaps did: "apr_…", "call_…"
    by: str = ""  # that call's agent and tool
    tool: str = ""
    at: Millis | None = None
    again: bool = False  # approved, it is done a second time
    beside: tuple[str, ...] = ()  # other approvals that wait for the same key


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything a surface may show; a surface that cannot show it all offers no Approve button."""

    approval: Approval  # without arguments: `arguments` are for people
    short_id: str
    headline: Headline  # the call in one sentence
    target: Value | None  # what the call is mostly about
    arguments: tuple[Value, ...]  # in canonical order, secrets masked
    metadata: tuple[Value, ...]  # the same for what is sent beside them
    flags: tuple[str, ...]  # "hidden characters", "masked", "new target", "outcome unknown", …
    edit: EditSummary | None  # how reviewers changed what the agent asked
    since_approved: Since | None
    since_denied: Since | None
    similar: tuple[Earlier, ...]  # newest first
    effect: EffectView | None
    twins: tuple[str, ...]  # other open approvals of the very same call
    unknown_outcome: str | None  # the approval whose unknown outcome no one settled yet
    votes: tuple[Decision, ...]  # on this revision
    voided: tuple[Decision, ...]  # on earlier revisions
    missing: int  # distinct people still to approve
    owner: str  # the reviewer whose agent asks; "" if no one is linked
    unable: str  # why no one, or too few people, can approve it; "" when enough can, or it is over
    waiting: bool  # the agent waits in place right now
    seconds_left: int
    at_zero: str  # what happens when the countdown ends
    complete: bool  # nothing is cut: every surface that shows `arguments` shows all
    digest: str


def view_of(connection: Connection, approval_id: str, *, now: Millis) -> View | None:
    """The view of the approval with this full id; None if there is none."""
    approval = load(connection, approval_id)
    return None if approval is None else view_in(SharedFacts(connection), approval, now=now)


def view_in(listing: SharedFacts, approval: Approval, *, now: Millis) -> View:
    """The view of one of several approvals, as just read on the listing's connection."""
    this = decoded(approval)
    shown = this.shown
    arguments = tuple(values_of(shown, Places.of(len(approval.masked))))
    beside = approval.metadata_masked
    metadata = tuple(
        replace(one, path=beside_path(one.path))
        for one in values_of(json.loads(beside or "{}"), Places.of(len(beside)))
    )
    earlier = listing.earlier(approval)
    unknown = listing.unsettled(approval)
    votes = decisions_of(listing.connection, approval.id)
    deadline = (
        approval.use_by
        if approval.state is State.APPROVED and approval.use_by is not None
        else approval.expires_at
    )
    since_approved = _since(this, earlier, (State.APPROVED,))
    since_denied = _since(this, earlier, (State.DENIED,))
    similar = tuple(_as_earlier(one.approval) for one in earlier[:SIMILAR])
    owner = listing.owner(approval.call.grant)
    missing = tally(votes, approval.terms, approval.revision)
    edit = _edit(listing.connection, approval, shown)
    effect = _effect(listing.connection, approval, now)
    flags = _flags(this, (*arguments, *metadata), earlier, effect, unknown=unknown is not None)
    return View(
        approval=approval,
        short_id=short_id(approval.id),
        headline=this.headline,
        target=this.target,
        arguments=arguments,
        metadata=metadata,
        flags=flags,
        edit=edit,
        since_approved=since_approved,
        since_denied=since_denied,
        similar=similar,
        effect=effect,
        twins=_twins(listing.connection, approval),
        unknown_outcome=unknown.id if unknown else None,
        votes=tuple(vote for vote in votes if vote.revision == approval.revision),
        voided=tuple(vote for vote in votes if vote.revision != approval.revision),
        missing=missing,
        owner=owner,
        unable=_unable(listing, approval, owner, votes, missing),
        waiting=listing.waits(approval, now),
        seconds_left=max(0, (deadline - now + 999) // 1000),
        at_zero=_at_zero(approval),
        complete=not any(value.cut for value in (*arguments, *metadata)),
        digest=_digest(this, effect, flags, (since_approved, since_denied), similar, edit),
    )


def _unable(
    listing: SharedFacts, approval: Approval, owner: str, votes: tuple[Decision, ...], missing: int
) -> str:
    if approval.state is not State.PENDING:
        return ""
    voted = frozenset(
        vote.reviewer
        for vote in votes
        if vote.revision == approval.revision and vote.choice is Choice.APPROVE
    )
    people = listing.people()
    return unable(approval.terms, people, owner=owner, voted=voted, missing=missing)


def _effect(connection: Connection, approval: Approval, now: Millis) -> EffectView | None:
    """The effect of an open call, and what its key stands at."""
    if approval.effect is None:
        return None
    server, key = approval.call.server, approval.effect
    beside = effects.held_beside(connection, server, key, but=approval.id, limit=_MOST_BESIDE)
    others = tuple(one.id for one in beside)
    mark = effects.mark_of(connection, server, key, now=now)
    if mark is None or mark.holder == approval.id:
        return EffectView(key=key, state="free", beside=others)
    return EffectView(
        key=key,
        state=str(mark.state),
        holder=mark.holder,
        by=mark.grant_label,
        tool=mark.tool,
        at=mark.taken_at,
        again=mark.state is EffectState.DONE,
        beside=others,
    )


def _twins(connection: Connection, approval: Approval) -> tuple[str, ...]:
    """Other open approvals of the very same call, where the rule gives each its own."""
    if not approval.terms.allow_duplicates or approval.state is not State.PENDING:
        return ()
    rows = connection.execute(
        select(APPROVAL.c.id)
        .where(
            APPROVAL.c.asked == approval.asked,
            APPROVAL.c.id != approval.id,
            APPROVAL.c.state == str(State.PENDING),
        )
        .order_by(APPROVAL.c.created_at, APPROVAL.c.id)
        .limit(_MOST_BESIDE)
    )
    return tuple(rows.scalars())


def _digest(
    this: Decoded,
    effect: EffectView | None,
    flags: tuple[str, ...],
    since: tuple[Since | None, ...],
    similar: tuple[Earlier, ...],
    edit: EditSummary | None,
) -> str:
    approval, call = this.approval, this.approval.call
    shown = {
        "approval": approval.id,
        "revision": approval.revision,
        "digest": approval.digest,
        "call": [call.server, call.tool, call.grant, call.grant_label, asdict(call.client)],
        "headline": [[part.kind, part.shown] for part in this.headline.parts],
        "arguments": approval.masked,
        "metadata": approval.metadata_masked,
        "ruling": asdict(approval.ruling),
        "terms": asdict(approval.terms),
        "effect": None if effect is None else [effect.key, effect.state, effect.holder],
        "flags": list(flags),
        "since": [asdict(replace(one, shown=None)) if one else None for one in since],
        "similar": [asdict(one) for one in similar],
        **({"edit": asdict(edit)} if edit is not None else {}),
    }
    return sha256(canonical(shown))


def beside_path(path: str) -> str:
    """`_meta.vendor/key` or `task.ttl`: no argument is called so, for theirs begin with `args`."""
    return path.removeprefix(f"{ROOT}.")


def _since(this: Decoded, earlier: list[Decoded], states: tuple[State, ...]) -> Since | None:
    """The difference to the latest decision of that kind; to the latest about the same target, if
    there is one. Approved and then not used in time is told apart from approved: no one said no to
    it, but nothing says that it was right either.
    """
    found = [past for past in earlier if past.approval.state in states]
    if not found:
        return None
    target = this.target
    past = found[0]
    if target is not None:
        past = next((one for one in found if _about(one, target)), past)
    one = past.approval
    return Since(
        approval_id=one.id,
        at=one.decided_at or 0,
        by=one.decided_by,
        reason=one.reason,
        changes=field_changes(past.shown, this.shown, len(one.masked)),
        about=_short(target.path) if target is not None and past is not found[0] else "",
        shown=past.shown,
    )


def _about(past: Decoded, target: Value) -> bool:
    return past.target is not None and (past.target.path, past.target.text) == (
        target.path,
        target.text,
    )


def _short(path: str) -> str:
    return path.removeprefix(f"{ROOT}.")


def _edit(connection: Connection, approval: Approval, shown: Any) -> EditSummary | None:
    if approval.revision == 1:
        return None
    rows = connection.execute(
        select(REVISION.c.edited_by, REVISION.c.at, REVISION.c.masked)
        .where(REVISION.c.approval_id == approval.id)
        .order_by(REVISION.c.revision)
    ).all()
    if not rows:
        return None
    first = json.loads(rows[0].masked)
    by = tuple(dict.fromkeys(row.edited_by for row in rows))
    return EditSummary(by, rows[-1].at, field_changes(first, shown, len(rows[0].masked)))


def _as_earlier(one: Approval) -> Earlier:
    back, at = taken_back(one), one.decided_at or 0
    return Earlier(one.id, one.state, one.decided_by, at, one.reason, taken_back=back)


def _flags(
    this: Decoded,
    arguments: tuple[Value, ...],
    earlier: list[Decoded],
    effect: EffectView | None,
    *,
    unknown: bool,
) -> tuple[str, ...]:
    approval, shown, target = this.approval, this.shown, this.target
    beside = json.loads(approval.metadata_masked or "{}")
    known = {one.target.text for one in earlier if one.target is not None}
    denied = any(
        one.approval.state is State.DENIED and one.approval.asked == approval.asked
        for one in earlier
    )
    raised = {
        "outcome unknown": unknown or (effect is not None and effect.state == "unknown"),
        "second time": effect is not None and effect.state == "done",
        "denied before": denied,
        "new target": target is not None and bool(earlier) and target.text not in known,
        "hidden characters": any(value.hidden for value in arguments),
        "masked": bool(scanned(shown, approval.redact) or scanned(beside, ())),
        **dict.fromkeys(signs(texts_of([shown, beside]), names_of([shown, beside])), True),
        TWINS: twins(shown) or twins(beside),
        "oversized": sum(value.size for value in arguments) > OVERSIZED,
        "edited": approval.edited,
    }
    return tuple(name for name, on in raised.items() if on)


def _at_zero(approval: Approval) -> str:
    if approval.state is State.APPROVED:
        return "It expires unused. Nothing runs."
    return "It expires, which counts as a denial. Nothing runs."


def lowered(approval: Approval) -> str:
    """That a rule sets a lower risk than the tool's class, in a sentence; "" where none does."""
    if approval.lowered_from is None:
        return ""
    return f"The rule sets this risk. By its class the tool is of {approval.lowered_from} risk."


def alone(view: View, *, cut: bool = False) -> str:
    """Why this call is left out when several are decided at once; "" if it need not be. `cut`: the
    surface shows less of it than the view.
    """
    if view.approval.grave:
        return f"{view.approval.risk.capitalize()} risk is decided one by one."
    if view.approval.edited:
        return "It was edited: look at it by itself."
    if view.approval.terms.quorum > 1 or approvers(view):
        return "It needs several people: decide it by itself."
    if cut or not view.complete:
        return "It is too long to be seen in full here: open it."
    if "masked" in view.flags:
        return "Something in it is masked and may be no secret: look at it by itself."
    if "hidden characters" in view.flags:
        return "It holds characters that would not be seen: look at it by itself."
    if not _LOOKALIKE.isdisjoint(view.flags):
        return "It holds text that may read like another: look at it by itself."
    if view.unknown_outcome:
        return "An identical call may have run already: look at it by itself."
    if view.effect is not None and (view.effect.state != "free" or view.effect.beside):
        return "Other calls have to do with its effect: look at it by itself."
    return ""


_LOOKALIKE: Final = frozenset(SIGNS)


def approvers(view: View) -> tuple[str, ...]:
    """Who has approved this revision so far."""
    return tuple(vote.reviewer for vote in view.votes if vote.choice is Choice.APPROVE)
