"""The messages in Slack, as the record knows them: written before they are sent. Not pure.

A message is claimed by anyone who sends it, so no two replicas do; one that may have been posted
without our learning of it stays in doubt until someone has looked. Plain functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgres
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlmodel import SQLModel

from approvals.model import Approval, Millis, State
from approvals.record.tables import SlackMessageRow
from approvals.record.transaction import Transaction
from approvals.rows import APPROVAL, LISTED, approval_of

MESSAGE: Final[Table] = SQLModel.metadata.tables[str(SlackMessageRow.__tablename__)]

CARD, COLLAPSED, DIGEST, NOTE = "card", "collapsed", "digest", "note"
OPEN, GONE, FAILED = "open", "gone", "failed"

BUSY: Final = 20_000
"""Milliseconds after which a message that someone was sending is anyone's again: more than a try
of the outbox may take.
"""

MOST_POSTS: Final = 2
"""What people delete while it waits is posted once more."""

CROWD: Final = 10
"""So many calls of one agent within `CROWD_MS` get a card each; what follows gets a digest."""

CROWD_MS: Final = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message as its row has it; see `tables.SlackMessageRow`."""

    id: str
    approval_id: str
    kind: str
    target: str
    parent: str
    channel: str
    ts: str
    revision: int
    version: int
    shown: str
    posts: int
    state: str
    error: str
    busy_until: Millis | None
    doubt_at: Millis | None
    at: Millis

    @property
    def is_there(self) -> bool:
        """It is known to be posted, and can be changed."""
        return bool(self.ts) and self.state == OPEN


def of_approval(connection: Connection, approval_id: str) -> tuple[Sent, ...]:
    """Where the approval is shown, or stands in a digest: one message a channel."""
    return _all(
        connection,
        MESSAGE.c.approval_id == approval_id,
        MESSAGE.c.kind.in_((CARD, COLLAPSED)),
    )


def find(connection: Connection, message_id: str) -> Sent | None:
    found = _all(connection, MESSAGE.c.id == message_id)
    return found[0] if found else None


def place(tx: Transaction, approval: Approval, target: str) -> None:
    """Have the approval shown there: as a card or, in a crowd, in the digest of its agent."""
    wanted = f"{approval.id}/{CARD}/{target}"
    if find(tx.connection, wanted) is not None:
        return
    if not _crowded(tx.connection, approval):
        _put(tx, wanted, approval.id, CARD, target)
        return
    digest = _open_digest(tx.connection, approval.call.grant, target)
    if digest is None:
        digest = f"{approval.id}/{DIGEST}/{target}"
        _put(tx, digest, approval.id, DIGEST, target, parent=approval.call.grant)
    _put(tx, wanted, approval.id, COLLAPSED, target, parent=digest)


def put_note(tx: Transaction, note_id: str, under: Sent) -> None:
    """Have a note posted in the thread of that message."""
    _put(tx, note_id, under.approval_id, NOTE, under.target, parent=under.id, channel=under.channel)


def adopt(tx: Transaction, approval_id: str, channel: str, ts: str) -> bool:
    """A card of ours that the record does not know: from now on it is changed like the others.
    False if it is known. One in doubt is not in doubt any more.
    """
    if _all(tx.connection, MESSAGE.c.channel == channel, MESSAGE.c.ts == ts):
        return False
    doubted = [
        one
        for one in of_approval(tx.connection, approval_id)
        if one.kind == CARD
        and one.doubt_at is not None
        and not one.ts
        and channel in (one.channel, one.target, channel_of(tx.connection, one.target) or channel)
    ]
    if len(doubted) == 1:
        _set(tx, doubted[0].id, channel=channel, ts=ts, doubt_at=None, posts=doubted[0].posts + 1)
        return True
    message_id = f"{approval_id}/{CARD}/{channel}/{ts}"
    _put(tx, message_id, approval_id, CARD, channel, channel=channel, ts=ts)
    _set(tx, message_id, posts=MOST_POSTS)  # anyone who deletes it is right: there is another
    return True


def claim(tx: Transaction, message_id: str) -> Sent | None:
    """Take the message in order to send it, as it was before; None while someone else does.
    Until it is known to be posted it is in doubt from now on.
    """
    found = find(tx.connection, message_id)
    if found is None:
        return None
    values: dict[str, Any] = {"busy_until": tx.now + BUSY}
    if not found.ts:
        values["doubt_at"] = found.doubt_at or tx.now
    taken = tx.connection.execute(
        update(MESSAGE)
        .where(
            MESSAGE.c.id == message_id,
            (MESSAGE.c.busy_until.is_(None)) | (MESSAGE.c.busy_until <= tx.now),
        )
        .values(**values)
    )
    return found if taken.rowcount == 1 else None


def release(tx: Transaction, claimed: Sent, *, certain: bool) -> None:
    """Let go of it, unchanged. `certain`: this try has posted nothing."""
    values: dict[str, Any] = {"doubt_at": claimed.doubt_at} if certain else {}
    _set(tx, claimed.id, busy_until=None, **values)


def is_shown(
    tx: Transaction,
    claimed: Sent,
    *,
    channel: str,
    ts: str,
    approval: Approval | None,
    shown: str,
    new: bool,
) -> None:
    """It is there, and shows this. `new`: it was posted just now."""
    values: dict[str, Any] = {}
    if approval is not None:
        values = {"revision": approval.revision, "version": approval.version}
    _set(
        tx,
        claimed.id,
        busy_until=None,
        doubt_at=None,
        channel=channel,
        ts=ts,
        shown=shown,
        at=tx.now,
        posts=claimed.posts + (1 if new else 0),
        error="",
        **values,
    )


def lost(tx: Transaction, claimed: Sent) -> None:
    """Someone deleted it, and it is being posted again. Stays claimed, and is in doubt."""
    _set(tx, claimed.id, ts="", shown="", doubt_at=tx.now)


def close(tx: Transaction, claimed: Sent, state: str, error: str) -> None:
    """Nothing more is done with it."""
    _set(tx, claimed.id, busy_until=None, doubt_at=None, state=state, error=error[:200])


def reopen(tx: Transaction, approval_id: str) -> None:
    """Try again where Slack refused the channel: someone may have put it right."""
    tx.connection.execute(
        update(MESSAGE)
        .where(
            MESSAGE.c.approval_id == approval_id,
            MESSAGE.c.kind.in_((CARD, DIGEST)),
            MESSAGE.c.state == FAILED,
        )
        .values(state=OPEN)
    )


def collapsed_in(connection: Connection, digest_id: str) -> tuple[Approval, ...]:
    """The calls that a digest stands for, oldest first."""
    rows = connection.execute(
        select(*LISTED)
        .join(MESSAGE, MESSAGE.c.approval_id == APPROVAL.c.id)
        .where(MESSAGE.c.parent == digest_id, MESSAGE.c.kind == COLLAPSED)
        .order_by(APPROVAL.c.created_at, APPROVAL.c.id)
    ).mappings()
    return tuple(approval_of(row) for row in rows)


def channel_of(connection: Connection, target: str) -> str | None:
    """Slack's id of a channel by the name we posted to before."""
    found = connection.execute(
        select(MESSAGE.c.channel)
        .where(MESSAGE.c.target == target, MESSAGE.c.channel != "")
        .order_by(MESSAGE.c.at.desc())
        .limit(1)
    ).scalar()
    return None if found is None else str(found)


def _crowded(connection: Connection, approval: Approval) -> bool:
    at = approval.created_at
    before = (APPROVAL.c.created_at < at) | (
        (APPROVAL.c.created_at == at) & (APPROVAL.c.id < approval.id)
    )
    count = connection.execute(
        select(func.count())
        .select_from(APPROVAL)
        .where(
            APPROVAL.c.grant_id == approval.call.grant,
            APPROVAL.c.state == str(State.PENDING),
            APPROVAL.c.created_at > at - CROWD_MS,
            before,
        )
    ).scalar_one()
    return int(count) >= CROWD


def _open_digest(connection: Connection, grant: str, target: str) -> str | None:
    """The digest of this agent in this channel that still stands for something pending."""
    child = MESSAGE.alias("child")
    pending = exists().where(
        child.c.parent == MESSAGE.c.id,
        child.c.approval_id == APPROVAL.c.id,
        APPROVAL.c.state == str(State.PENDING),
    )
    found = connection.execute(
        select(MESSAGE.c.id)
        .where(
            MESSAGE.c.parent == grant,
            MESSAGE.c.kind == DIGEST,
            MESSAGE.c.target == target,
            MESSAGE.c.state == OPEN,
            pending,
        )
        .order_by(MESSAGE.c.at.desc())
        .limit(1)
    ).scalar()
    return None if found is None else str(found)


def _put(
    tx: Transaction, message_id: str, approval_id: str, kind: str, target: str, **more: str
) -> None:
    row = SlackMessageRow(
        id=message_id, approval_id=approval_id, kind=kind, target=target, at=tx.now
    )
    values = {**row.model_dump(), **more}
    insert = insert_sqlite if tx.connection.dialect.name == "sqlite" else insert_postgres
    tx.connection.execute(insert(MESSAGE).values(**values).on_conflict_do_nothing())


def _set(tx: Transaction, message_id: str, **values: Any) -> None:
    tx.connection.execute(update(MESSAGE).where(MESSAGE.c.id == message_id).values(**values))


def _all(connection: Connection, *where: Any) -> tuple[Sent, ...]:
    rows = connection.execute(select(MESSAGE).where(*where).order_by(MESSAGE.c.id)).mappings()
    return tuple(_sent(row) for row in rows)


def _sent(row: Mapping[Any, Any]) -> Sent:
    return Sent(**{name: row[name] for name in Sent.__slots__})
