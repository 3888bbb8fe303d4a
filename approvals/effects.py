"""Effect keys: what a call does in the world is done once, however asked and worded.

A key of a server is free (no row), taken while a call does it, done for as long as its rule says,
or unknown until a person settles it. Only the call that took a key changes it; a person may settle
what is unknown. What becomes of the calls that are held for the same key is told by `moves`.
Plain functions of a `Transaction`. Not pure.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Table, and_, or_, select
from sqlmodel import SQLModel

from approvals.digest import canonical, keepable
from approvals.model import (
    Approval,
    Call,
    EffectClaim,
    Event,
    Execution,
    Millis,
    Settlement,
    State,
    Terms,
)
from approvals.processes import PROCESS
from approvals.record import signed
from approvals.record.history import HISTORY, authentic
from approvals.record.statements import COLUMNS
from approvals.record.tables import EffectRow
from approvals.record.transaction import Transaction
from approvals.rows import APPROVAL, LISTED, approval_of, read_terms, write_terms

EFFECT: Final[Table] = SQLModel.metadata.tables[str(EffectRow.__tablename__)]

_SEQ: Final = COLUMNS.index("seq")
_DATA: Final = COLUMNS.index("data")
_BATCH: Final = 500
_LOST_KEPT: Final = 30 * 86_400_000  # milliseconds


_DONE: Final = ("has done this meanwhile.", "has already done this.")


def done_by(mark: Mark, *, meanwhile: bool) -> str:
    """Why a held call cannot run that another one has done: of one that a person may let happen
    again, that it must be asked for again.
    """
    did = _DONE[0 if meanwhile else 1]
    return f"{mark.holder} {did}" + (" A second time needs a person." if mark.again else "")


def done_for_good(why: str) -> bool:
    """Whether a call ended because another did the same, which is done once: asking for it again
    is of no use.
    """
    return why.endswith(_DONE)


class EffectState(StrEnum):
    """Where a key stands that is not free."""

    TAKEN = "taken"  # a call is doing it
    DONE = "done"  # a call did it
    UNKNOWN = "unknown"  # a call may have done it; no one knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A key that is not free, and the call that took it."""

    server: str
    key: str
    state: EffectState
    holder: str  # an approval ("apr_…") or an allowed call ("call_…")
    grant: str
    grant_label: str
    tool: str
    terms: Terms
    keep: int
    again: bool
    taken_at: Millis
    until: Millis | None
    owner: str | None


def look(tx: Transaction, server: str, key: str) -> Mark | None:
    """Where the key stands now; None: it is free."""
    return mark_of(tx.connection, server, key, now=tx.now)


def mark_of(connection: Connection, server: str, key: str, *, now: Millis) -> Mark | None:
    """The same, for readers. What a dead process was doing is unknown, also before it is swept."""
    row = signed.row(connection, EFFECT, EFFECT.c.server == server, EFFECT.c.key == key)
    if row is None:
        return _lost(connection, server, key, now=now)
    lease = connection.execute(
        select(PROCESS.c.lease_until).where(PROCESS.c.id == row["owner"])
    ).scalar()
    state = EffectState(row["state"])
    ended = row["until"] is not None and row["until"] <= now
    if state is EffectState.DONE and ended:
        return None
    orphan = row["owner"] is not None and (lease or 0) <= now
    if state is EffectState.TAKEN and (ended or orphan):
        state = EffectState.UNKNOWN
    return _mark(row, state)


def held_by(connection: Connection, holder: str) -> Mark | None:
    """The key this call has taken, done, or perhaps done."""
    if not keepable(holder):
        return None
    row = signed.row(connection, EFFECT, EFFECT.c.holder == holder)
    return None if row is None else _mark(row, EffectState(row["state"]))


def _lost(connection: Connection, server: str, key: str, *, now: Millis) -> Mark | None:
    """A key whose row someone took away or changed: by the history it is not free, so no one
    knows whether it was done. It counts as long as any key does.
    """
    version = signed.version_of(connection, EFFECT, {"server": server, "key": key})
    if version is None or version.mac is None or version.at + _LOST_KEPT <= now:
        return None
    return Mark(
        server=server,
        key=key,
        state=EffectState.UNKNOWN,
        holder="a call whose mark was changed by another hand",
        grant="",
        grant_label="",
        tool="",
        terms=Terms(),
        keep=_LOST_KEPT // 1000,
        again=False,
        taken_at=version.at,
        until=None,
        owner=None,
    )


def take(
    tx: Transaction, claim: EffectClaim, call: Call, *, holder: str, terms: Terms, owner: str | None
) -> Mark:
    """The call does it from now on: whatever stood there, the caller has looked at.

    With `owner` the key is this process's to give back; without, the approval's row tells.
    """
    values: dict[str, Any] = {
        "state": str(EffectState.TAKEN),
        "holder": holder,
        "grant_id": call.grant,
        "grant_label": call.grant_label,
        "tool": call.tool,
        "terms": write_terms(terms),
        "keep": claim.keep,
        "again": claim.again,
        "taken_at": tx.now,
        "until": None,
        "owner": owner,
    }
    key = {"server": call.server, "key": claim.key}
    return _put(tx, {**key, **values})


def ask_back(
    tx: Transaction, holder: str, *, until: Millis | None, number: int | None = None
) -> None:
    """The server asked back: the key stays the call's, until then if it is no approval's. `number`
    is the question's, of a call that is no approval: see `awaits`.
    """
    found = held_by(tx.connection, holder)
    if found is not None and found.state is not EffectState.DONE:
        asked = {"state": str(EffectState.TAKEN), "owner": None, "until": until}
        _put(tx, {"server": found.server, "key": found.key, "holder": holder, **asked}, number)


def awaits(tx: Transaction, mark: Mark, *, number: int) -> bool:
    """Whether the call that has the key waits, by the history's word, for the answer to this
    question: what was answered, has ended, or is under way does not go on.
    """
    if mark.state is not EffectState.TAKEN or mark.owner is not None or mark.until is None:
        return False
    key = {"server": mark.server, "key": mark.key}
    version = signed.version_of(tx.connection, EFFECT, key)
    if version is None:
        return False
    stored = tx.connection.execute(select(*HISTORY.c).where(HISTORY.c.seq == version.seq)).first()
    rows = [tuple(stored)] if stored is not None else tx.buffered(_SEQ, version.seq)
    if not rows or not authentic(rows[0], tx.keys):
        return False
    asked = json.loads(rows[0][_DATA]).get("round")  # an earlier release told none
    return asked is None or asked == number


def end(tx: Transaction, holder: str, state: EffectState | None) -> Mark | None:
    """What became of the key this call took: done, unknown, or (None) free again. The mark as it
    is now, or was before it was freed; None if the call holds none, or a person settled it.
    """
    found = held_by(tx.connection, holder)
    if found is None or found.state is EffectState.DONE:
        return None
    key = {"server": found.server, "key": found.key}
    if state is None:
        signed.drop(tx, EFFECT, key, event=_event(found.server, found.key, holder, "free"))
        return found
    until = tx.now + found.keep * 1000 if state is EffectState.DONE else None
    return _put(tx, {**key, "holder": holder, "state": str(state), "until": until, "owner": None})


def _put(tx: Transaction, values: Mapping[str, Any], number: int | None = None) -> Mark:
    """Write where the key stands, and tell it; with the number of the question that is open."""
    event = _event(values["server"], values["key"], values["holder"], values["state"], number)
    signed.put(tx, EFFECT, values, event=event)
    row = signed.row(
        tx.connection,
        EFFECT,
        EFFECT.c.server == values["server"],
        EFFECT.c.key == values["key"],
    )
    if row is None:
        raise RuntimeError("What was signed just now is not there.")
    return _mark(row, EffectState(row["state"]))


def _event(server: str, key: str, holder: str, state: str, number: int | None = None) -> Event:
    asked = {} if number is None else {"round": number}
    return Event(
        event="effect_marked",
        actor_kind="gateway",
        via="gateway",
        server=server,
        data=canonical({"effect": key, "holder": holder, "state": state, **asked}).decode(),
    )


def orphaned(
    tx: Transaction, *, process: str, sending: Collection[str], limit: int = _BATCH
) -> tuple[str, ...]:
    """Allowed calls whose end no one will tell any more: of dead processes, of this one but not
    among those it is `sending`, or asked back and not answered in time.
    """
    alive = select(PROCESS.c.id).where(PROCESS.c.lease_until > tx.now)
    dead = EFFECT.c.owner.not_in(alive)
    given_up = and_(EFFECT.c.owner == process, EFFECT.c.holder.not_in(sending))
    lapsed = and_(EFFECT.c.owner.is_(None), EFFECT.c.until <= tx.now)
    rows = signed.rows(
        tx.connection,
        EFFECT,
        EFFECT.c.state == str(EffectState.TAKEN),
        or_(dead, given_up, lapsed),
    )
    return tuple(row["holder"] for row in rows[:limit])


def outcome(execution: Execution) -> EffectState | None:
    """What an end says of the key. Only the server's own error, or nothing sent, frees it."""
    match execution:
        case Execution.SUCCEEDED:
            return EffectState.DONE
        case Execution.TOOL_ERROR | Execution.UPSTREAM_ERROR | Execution.NOT_EXECUTED:
            return None
        case _:
            return EffectState.UNKNOWN


def settled(settlement: Settlement) -> EffectState | None:
    """What a person's finding says of the key."""
    return EffectState.DONE if settlement is Settlement.DONE else None


def unknown(
    connection: Connection, *, after: tuple[Millis, str] | None = None, limit: int
) -> tuple[tuple[Mark, ...], int]:
    """Keys no one knows about, the oldest first, from behind `after`; and how many there are."""
    where = EFFECT.c.state == str(EffectState.UNKNOWN)
    rows = signed.rows(connection, EFFECT, where, order=[EFFECT.c.taken_at, EFFECT.c.holder])
    later = [row for row in rows if after is None or (row["taken_at"], row["holder"]) > after]
    return tuple(_mark(row, EffectState.UNKNOWN) for row in later[:limit]), len(rows)


def prune(tx: Transaction) -> None:
    """Drop what counts no longer, some at a time."""
    over = (EFFECT.c.state == str(EffectState.DONE), EFFECT.c.until <= tx.now)
    for row in signed.rows(tx.connection, EFFECT, *over)[:_BATCH]:
        key = {"server": row["server"], "key": row["key"]}
        event = _event(row["server"], row["key"], row["holder"], "free")
        signed.drop(tx, EFFECT, key, event=event)


def held_beside(
    connection: Connection, server: str, key: str, *, but: str, limit: int = 100
) -> tuple[Approval, ...]:
    """Approvals for the same key of which nothing ran yet, oldest first."""
    rows = connection.execute(
        select(*LISTED)
        .where(
            APPROVAL.c.server == server,
            APPROVAL.c.effect == key,
            APPROVAL.c.id != but,
            APPROVAL.c.state.in_([str(State.PENDING), str(State.APPROVED)]),
            APPROVAL.c.execution.in_([str(Execution.NONE), str(Execution.NOT_EXECUTED)]),
        )
        .order_by(APPROVAL.c.created_at, APPROVAL.c.id)
        .limit(limit)
    ).mappings()
    return tuple(approval_of(row) for row in rows)


def _mark(row: Any, state: EffectState) -> Mark:
    return Mark(
        server=row["server"],
        key=row["key"],
        state=state,
        holder=row["holder"],
        grant=row["grant_id"],
        grant_label=row["grant_label"],
        tool=row["tool"],
        terms=read_terms(row["terms"]),
        keep=row["keep"],
        again=bool(row["again"]),
        taken_at=row["taken_at"],
        until=row["until"],
        owner=row["owner"],
    )
