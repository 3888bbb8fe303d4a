"""What a reviewer is shown of an approval: one model for page, Slack and command line.

Composed by us from the row and its neighbours, never from the agent's prose. `digest` proves what
was shown: it covers all but what changes by waiting. Reads only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import Connection, select

from approvals import effects, processes
from approvals.able import unable
from approvals.differences import (
    ROOT,
    Difference,
    Path,
    Places,
    changes,
    leaves,
    names_of,
    text,
    texts_of,
)
from approvals.digest import canonical, sha256
from approvals.effects import EffectState
from approvals.lookalike import SIGNS, TWINS, notes, signs, twins
from approvals.model import (
    Approval,
    Choice,
    Decision,
    Millis,
    Reviewer,
    State,
    short_id,
    tally,
)
from approvals.permission import owner_of
from approvals.redact import hidden, scanned, visible
from approvals.reviewers import everyone
from approvals.rows import (
    APPROVAL,
    LISTED,
    REVISION,
    UNSETTLED,
    approval_of,
    decisions_of,
    load,
    unsettled_like,
)

LONG: Final = 600  # characters of one value shown in full; longer ones are shown head and tail
_HEAD: Final = 400
_TAIL: Final = 120
_LEAD: Final = 24  # characters shown before the first that differs
OVERSIZED: Final = 20_000  # characters of all arguments from which the card says so
SIMILAR: Final = 5
_MOST_BESIDE: Final = 20  # other calls a card names
_LOOKED_BACK: Final = 50  # earlier decided calls a call is compared with
_TARGETS: Final = (
    *("id", "name", "path", "url", "uri", "to", "email", "recipient", "account", "customer"),
    *("repo", "repository", "branch", "project", "file", "table", "database", "host", "command"),
)
"""Keys whose value a call is mostly about, the likeliest first; `customer_id` counts as id."""


@dataclass(frozen=True, slots=True)
class Value:
    """One argument, made safe to show. `cut` tells that `text` is not all of it."""

    path: str
    type: str  # "text", "number", "true or false", "nothing", "object", "list", "absent"
    text: str  # hidden characters visible
    size: int  # characters in full
    cut: bool
    hidden: int  # characters a reader would not have seen
    odd: tuple[str, ...] = ()  # letters, spelled, that may be taken for others; see `lookalike`


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One argument that differs. Where a long text is cut, what stays is from where it differs."""

    path: str
    before: Value
    after: Value

    def brief(self, room: int) -> tuple[str | None, str | None]:
        """Both sides in about so many characters, from shortly before they differ; None: absent."""
        same = _same(self.before.text, self.after.text)
        return _around(self.before, same, room), _around(self.after, same, room)


@dataclass(frozen=True, slots=True)
class Since:
    """How this call differs from an earlier one of the same tool by the same grant."""

    approval_id: str
    at: Millis
    by: str
    reason: str
    changes: tuple[FieldChange, ...]  # empty: the arguments are the same


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


@dataclass(frozen=True, slots=True)
class _Past:
    """An earlier decided call, read and understood once."""

    approval: Approval
    shown: Any  # its masked arguments, decoded
    target: str | None


@dataclass(slots=True)
class SharedFacts:
    """What the cards of one listing share, read once. For one connection and one moment: made for
    a listing and dropped with it.
    """

    connection: Connection
    _past: dict[tuple[str, str, str], tuple[_Past, ...]] = field(default_factory=dict)
    _doubt: bool | None = None
    _people: tuple[Reviewer, ...] | None = None
    _owners: dict[str, str] = field(default_factory=dict)

    _alive: frozenset[str] | None = None

    def people(self) -> tuple[Reviewer, ...]:
        """Everybody on record."""
        if self._people is None:
            self._people = everyone(self.connection)
        return self._people

    def owner(self, grant: str) -> str:
        """The reviewer whose agent holds this grant."""
        if grant not in self._owners:
            self._owners[grant] = owner_of(self.connection, grant=grant) or ""
        return self._owners[grant]

    def earlier(self, approval: Approval) -> list[_Past]:
        """Earlier decided calls of this tool by this grant, the latest decision first."""
        call = approval.call
        key = (call.grant, call.server, call.tool)
        if key not in self._past:
            self._past[key] = _read_past(self.connection, *key)
        # By creation, as read: what is left out is the oldest, whether or not this one is in it.
        found = [one for one in self._past[key] if one.approval.id != approval.id][:_LOOKED_BACK]
        return sorted(found, key=lambda one: one.approval.decided_at or 0, reverse=True)

    def waits(self, approval: Approval, now: Millis) -> bool:
        """Whether its agent waits in place, at a gateway that lives."""
        if self._alive is None:
            self._alive = processes.living(self.connection, now)
        return processes.waits(approval, now, self._alive)

    def unsettled(self, approval: Approval) -> Approval | None:
        """Another approval whose outcome is unknown and which this call may repeat."""
        if self._doubt is None:
            found = self.connection.execute(select(APPROVAL.c.id).where(UNSETTLED).limit(1))
            self._doubt = found.first() is not None
        if not self._doubt:
            return None
        server = approval.call.server
        unknown = unsettled_like(self.connection, approval.digest, None, server)
        return None if unknown is None or unknown.id == approval.id else unknown


def view_of(connection: Connection, approval_id: str, *, now: Millis) -> View | None:
    """The view of the approval with this full id; None if there is none."""
    approval = load(connection, approval_id)
    return None if approval is None else view_in(SharedFacts(connection), approval, now=now)


def view_in(listing: SharedFacts, approval: Approval, *, now: Millis) -> View:
    """The view of one of several approvals, as just read on the listing's connection."""
    shown = json.loads(approval.masked)
    arguments = tuple(_values(shown, Places.of(len(approval.masked))))
    beside = approval.metadata_masked
    metadata = tuple(
        replace(one, path=beside_path(one.path))
        for one in _values(json.loads(beside or "{}"), Places.of(len(beside)))
    )
    earlier = listing.earlier(approval)
    unknown = listing.unsettled(approval)
    target = _target(shown)
    votes = decisions_of(listing.connection, approval.id)
    deadline = (
        approval.use_by
        if approval.state is State.APPROVED and approval.use_by is not None
        else approval.expires_at
    )
    since_approved = _since(shown, earlier, (State.APPROVED,))
    since_denied = _since(shown, earlier, (State.DENIED,))
    similar = tuple(_as_earlier(one.approval) for one in earlier[:SIMILAR])
    owner = listing.owner(approval.call.grant)
    missing = tally(votes, approval.terms, approval.revision)
    edit = _edit(listing.connection, approval, shown)
    effect = _effect(listing.connection, approval, now)
    flags = _flags(
        approval,
        shown,
        (*arguments, *metadata),
        target,
        earlier,
        effect,
        unknown=unknown is not None,
    )
    return View(
        approval=approval,
        short_id=short_id(approval.id),
        target=target,
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
        digest=_digest(approval, effect, flags, (since_approved, since_denied), similar, edit),
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
    approval: Approval,
    effect: EffectView | None,
    flags: tuple[str, ...],
    since: tuple[Since | None, ...],
    similar: tuple[Earlier, ...],
    edit: EditSummary | None,
) -> str:
    call = approval.call
    shown = {
        "approval": approval.id,
        "revision": approval.revision,
        "digest": approval.digest,
        "call": [call.server, call.tool, call.grant, call.grant_label, asdict(call.client)],
        "arguments": approval.masked,
        "metadata": approval.metadata_masked,
        "ruling": asdict(approval.ruling),
        "terms": asdict(approval.terms),
        "effect": None if effect is None else [effect.key, effect.state, effect.holder],
        "flags": list(flags),
        "since": [asdict(one) if one else None for one in since],
        "similar": [asdict(one) for one in similar],
        **({"edit": asdict(edit)} if edit is not None else {}),
    }
    return sha256(canonical(shown))


def beside_path(path: str) -> str:
    """`_meta.vendor/key` or `task.ttl`: no argument is called so, for theirs begin with `args`."""
    return path.removeprefix(f"{ROOT}.")


def _values(value: Any, places: Places) -> Iterator[Value]:
    """Every leaf, in canonical order."""
    odd = notes(value)
    for at, leaf in leaves(value):
        place, whole = places.text(at)
        yield replace(_value(leaf, place, whole=whole), odd=odd.get(at, ()))


def value_of(value: Any, at: Path, *, start: int = 0) -> Value:
    """One value, made safe to show: hidden characters visible. Of a long one stay the characters
    from `start` on, and the end.
    """
    return _value(value, text(at), start=start)


def _value(value: Any, place: str, *, start: int = 0, whole: bool = True) -> Value:
    """`whole`: `place` is all of the path."""
    kind, written = _written(value)
    cut = start > 0 or len(written) > LONG
    short = _shortened(written, start) if cut else written
    return Value(
        path=visible(place),
        type=kind,
        text="\n".join(visible(line) for line in short.split("\n")),
        size=len(written),
        cut=cut or not whole,
        hidden=hidden(written) + hidden(place),
    )


def _written(value: Any) -> tuple[str, str]:
    """What a value is, and all of it as text."""
    match value:
        case str():
            return "text", value
        case bool():
            return "true or false", "true" if value else "false"
        case None:
            return "nothing", "null"
        case int() | float():
            return "number", canonical(value).decode()
        case dict() | list():
            return "object" if isinstance(value, dict) else "list", canonical(value).decode()
        case _:
            return "absent", ""


def _shortened(written: str, start: int) -> str:
    end = start + _HEAD
    rest = max(end, len(written) - _TAIL)
    before = f"… {start} characters before … " if start else ""
    between = f" … {rest - end} more characters … " if rest > end else ""
    return f"{before}{written[start:end]}{between}{written[rest:]}"


def _same(one: str, other: str) -> int:
    """With how many equal characters two texts begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _around(value: Value, same: int, room: int) -> str | None:
    """A value such that it fits: from shortly before its first `same` characters end."""
    if value.type == "absent":
        return None
    if len(value.text) <= room:
        return value.text
    begin = max(0, same - _LEAD)
    end = begin + room
    more = " … more" if value.cut else f" … {len(value.text) - end:,} more"
    shown = f"{'… ' if begin else ''}{value.text[begin:end]}"
    return shown + more if end < len(value.text) else shown


def _read_past(connection: Connection, grant: str, server: str, tool: str) -> tuple[_Past, ...]:
    rows = connection.execute(
        select(*LISTED)
        .where(
            APPROVAL.c.grant_id == grant,
            APPROVAL.c.server == server,
            APPROVAL.c.tool == tool,
            APPROVAL.c.decided_by != "",
        )
        .order_by(APPROVAL.c.created_at.desc(), APPROVAL.c.id)
        .limit(_LOOKED_BACK + 1)
    ).mappings()
    return tuple(_past(approval_of(row)) for row in rows)


def _past(approval: Approval) -> _Past:
    shown = json.loads(approval.masked)
    target = _target(shown)
    return _Past(approval, shown, target.text if target is not None else None)


def _since(shown: Any, earlier: list[_Past], states: tuple[State, ...]) -> Since | None:
    """The difference to the latest decision of that kind. Approved and then not used in time is
    told apart from approved: no one said no to it, but nothing says that it was right either.
    """
    for past in earlier:
        one = past.approval
        if one.state in states:
            differing = _differing(past.shown, shown, len(one.masked))
            return Since(one.id, one.decided_at or 0, one.decided_by, one.reason, differing)
    return None


def _differing(before: Any, after: Any, size: int) -> tuple[FieldChange, ...]:
    places = Places.of(size)
    return tuple(
        _field_change(change, *places.text(change.path)) for change in changes(before, after)
    )


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
    return EditSummary(by, rows[-1].at, _differing(first, shown, len(rows[0].masked)))


def field_change(change: Difference) -> FieldChange:
    """As `view_of` shows a difference, for one of them."""
    return _field_change(change, text(change.path))


def _field_change(change: Difference, place: str, whole: bool = True) -> FieldChange:  # noqa: FBT001, FBT002  # of a path's text
    """Both sides cut at the same place, so that what differs is seen, however far in it stands."""
    before, after = _written(change.before)[1], _written(change.after)[1]
    longest, same = max(len(before), len(after)), _same(before, after)
    start = 0
    if longest > LONG and same > _HEAD - _LEAD:
        start = min(same - _LEAD, longest - _HEAD)
    return FieldChange(
        path=place,
        before=_value(change.before, place, start=start, whole=whole),
        after=_value(change.after, place, start=start, whole=whole),
    )


def _as_earlier(one: Approval) -> Earlier:
    return Earlier(one.id, one.state, one.decided_by, one.decided_at or 0, one.reason)


def _target(shown: Any) -> Value | None:
    """The argument the call is mostly about: a telling key, else the first short text or number."""
    if not isinstance(shown, dict):
        return None
    scalars = {
        key: value
        for key, value in shown.items()
        if isinstance(value, (str, int, float)) and not isinstance(value, bool)
    }
    for wanted in _TARGETS:
        for key, value in scalars.items():
            if key.lower() == wanted or key.lower().endswith(f"_{wanted}"):
                return value_of(value, (key,))
    return next((value_of(value, (key,)) for key, value in scalars.items()), None)


def _flags(
    approval: Approval,
    shown: Any,
    arguments: tuple[Value, ...],
    target: Value | None,
    earlier: list[_Past],
    effect: EffectView | None,
    *,
    unknown: bool,
) -> tuple[str, ...]:
    beside = json.loads(approval.metadata_masked or "{}")
    known = {one.target for one in earlier}
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
