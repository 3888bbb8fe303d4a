"""The people who may decide, and what proves them: sign-in links, sessions, API tokens.

Secrets are 256 random bits, stored as SHA-256, shown once. An agent's grant is never one of them:
other table, other prefix. What a person may decide is `permission`'s. Not pure.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from typing import Any, Final

from sqlalchemy import Connection, Table, insert, select, update
from sqlmodel import SQLModel

from approvals.clock import Clock
from approvals.digest import canonical, sha256
from approvals.model import Event, Millis, Reviewer, Role
from approvals.store import Database, Transaction
from approvals.tables import CredentialRow, ReviewerRow

CREDENTIAL: Final[Table] = SQLModel.metadata.tables[str(CredentialRow.__tablename__)]
REVIEWER: Final[Table] = SQLModel.metadata.tables[str(ReviewerRow.__tablename__)]

LINK_LASTS: Final = 10 * 60_000
SESSION_LASTS: Final = 12 * 3_600_000
TOKEN_LASTS: Final = 90 * 86_400_000

_PREFIX: Final = {"link": "lnk_", "session": "ses_", "token": "rvt_"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


class ReviewerRefused(Exception):
    """A reviewer cannot be kept like this; the message is for the operator."""


def add(
    tx: Transaction, reviewer_id: str, *, role: Role, identities: tuple[str, ...] = ()
) -> Reviewer:
    """Add the person, or change role and identities of one who is there (or was removed).

    Raises:
        ReviewerRefused: not a name, or an identity that is another's.
    """
    if not _NAME.fullmatch(reviewer_id):
        raise ReviewerRefused(f"{reviewer_id!r} is not a name: letters, digits and . _ @ + -")
    for other in everyone(tx.connection):
        clash = other.names() & {reviewer_id, *identities}
        if other.id != reviewer_id and clash:
            raise ReviewerRefused(f"{min(clash)} is {other.id} already.")
    values = {
        "role": role,
        "identities": canonical(sorted(set(identities))).decode(),
        "removed_at": None,
    }
    changed = tx.connection.execute(
        update(REVIEWER).where(REVIEWER.c.id == reviewer_id).values(values)
    )
    if changed.rowcount == 0:
        tx.connection.execute(insert(REVIEWER).values(id=reviewer_id, created_at=tx.now, **values))
    _tell(tx, "reviewer_added", reviewer_id, role=role, identities=sorted(set(identities)))
    return Reviewer(id=reviewer_id, role=role, identities=tuple(sorted(set(identities))))


def remove(tx: Transaction, reviewer_id: str) -> bool:
    """The person may decide no more; every session, link and token ends at once."""
    removed = tx.connection.execute(
        update(REVIEWER)
        .where(REVIEWER.c.id == reviewer_id, REVIEWER.c.removed_at.is_(None))
        .values(removed_at=tx.now)
    )
    if removed.rowcount == 0:
        return False
    revoke(tx, reviewer_id, kinds=tuple(_PREFIX))
    _tell(tx, "reviewer_removed", reviewer_id)
    return True


def issue(tx: Transaction, reviewer_id: str, kind: str, *, lasts: Millis) -> str:
    """A fresh secret of this kind for the person; readable only now."""
    secret = _PREFIX[kind] + secrets.token_urlsafe(32)
    tx.connection.execute(
        insert(CREDENTIAL).values(
            token_hash=sha256(secret.encode()),
            kind=kind,
            reviewer=reviewer_id,
            created_at=tx.now,
            expires_at=tx.now + lasts,
        )
    )
    _tell(tx, f"{kind}_issued", reviewer_id, expires_at=tx.now + lasts)
    return secret


def redeem(tx: Transaction, code: str) -> str | None:
    """Turn a sign-in link's code into a session's secret, once and in time; else None."""
    found = prove(tx.connection, code, "link", now=tx.now)
    if found is None:
        return None
    used = tx.connection.execute(
        update(CREDENTIAL)
        .where(
            CREDENTIAL.c.token_hash == sha256(code.encode()),
            CREDENTIAL.c.used_at.is_(None),
            CREDENTIAL.c.revoked_at.is_(None),
        )
        .values(used_at=tx.now)
    )
    return issue(tx, found.id, "session", lasts=SESSION_LASTS) if used.rowcount == 1 else None


def revoke(tx: Transaction, reviewer_id: str, *, kinds: tuple[str, ...]) -> int:
    """End every credential of these kinds that the person holds. How many there were."""
    revoked = tx.connection.execute(
        update(CREDENTIAL)
        .where(
            CREDENTIAL.c.reviewer == reviewer_id,
            CREDENTIAL.c.kind.in_(kinds),
            CREDENTIAL.c.revoked_at.is_(None),
        )
        .values(revoked_at=tx.now)
    )
    if revoked.rowcount:
        _tell(tx, "credentials_revoked", reviewer_id, kinds=sorted(kinds), count=revoked.rowcount)
    return revoked.rowcount


def revoke_one(tx: Transaction, secret: str) -> None:
    tx.connection.execute(
        update(CREDENTIAL)
        .where(
            CREDENTIAL.c.token_hash == sha256(secret.encode()), CREDENTIAL.c.revoked_at.is_(None)
        )
        .values(revoked_at=tx.now)
    )


def prove(connection: Connection, secret: str, kind: str, *, now: Millis) -> Reviewer | None:
    """The person this secret proves right now; None for any doubt."""
    if not secret.isascii() or not secret.startswith(_PREFIX[kind]):
        return None
    hashed = sha256(secret.encode())
    row = connection.execute(
        select(CREDENTIAL, REVIEWER.c.role, REVIEWER.c.identities, REVIEWER.c.removed_at)
        .join(REVIEWER, REVIEWER.c.id == CREDENTIAL.c.reviewer)
        .where(CREDENTIAL.c.token_hash == hashed)
    ).first()
    if row is None or not hmac.compare_digest(row.token_hash, hashed):
        return None
    spent = row.used_at is not None or row.revoked_at is not None or row.removed_at is not None
    if spent or row.kind != kind or row.expires_at <= now:
        return None
    return Reviewer(
        id=row.reviewer, role=row.role, identities=tuple(json.loads(row.identities)), verified=kind
    )


def everyone(connection: Connection) -> tuple[Reviewer, ...]:
    """Everybody who was added and not removed, by name."""
    rows = connection.execute(
        select(REVIEWER).where(REVIEWER.c.removed_at.is_(None)).order_by(REVIEWER.c.id)
    )
    return tuple(
        Reviewer(id=row.id, role=row.role, identities=tuple(json.loads(row.identities)))
        for row in rows
    )


def known_as(connection: Connection, identity: str, *, verified: str) -> Reviewer | None:
    """The one person known by this name ("slack:T1/U1", "oidc:…"); None if nobody or several."""
    found = [one for one in everyone(connection) if identity in one.names()]
    if len(found) != 1:
        return None
    one = found[0]
    return Reviewer(id=one.id, role=one.role, identities=one.identities, verified=verified)


def was_removed(connection: Connection, identity: str) -> bool:
    """Whether somebody known by this name was removed and nobody else goes by it."""
    rows = connection.execute(select(REVIEWER).where(REVIEWER.c.removed_at.is_not(None)))
    removed = any(identity in (row.id, *json.loads(row.identities)) for row in rows)
    return removed and all(identity not in one.names() for one in everyone(connection))


def link(tx: Transaction, reviewer_id: str, identity: str) -> Reviewer:
    """From now on the person is known by this name, too.

    Raises:
        ReviewerRefused: nobody of that id, or the name is another's.
    """
    known = next((one for one in everyone(tx.connection) if one.id == reviewer_id), None)
    if known is None:
        raise ReviewerRefused(f"There is no reviewer {reviewer_id}.")
    return add(tx, reviewer_id, role=known.role, identities=(*known.identities, identity))


def _tell(tx: Transaction, event: str, reviewer_id: str, **data: Any) -> None:
    tx.append(
        Event(
            event=event,
            actor_kind="operator",
            actor=reviewer_id,
            data=canonical({"reviewer": reviewer_id, **data}).decode(),
        )
    )


class People:
    """The same, for everything asynchronous."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self, reviewer_id: str, *, role: Role, identities: tuple[str, ...] = ()
    ) -> Reviewer:
        return await self._database.journal.write(
            lambda tx: add(tx, reviewer_id, role=role, identities=identities)
        )

    async def remove(self, reviewer_id: str) -> bool:
        return await self._database.journal.write(lambda tx: remove(tx, reviewer_id))

    async def reviewers(self) -> tuple[Reviewer, ...]:
        return await self._database.read(everyone)

    async def find(self, reviewer_id: str) -> Reviewer | None:
        """The person of exactly this id."""
        people = await self.reviewers()
        return next((one for one in people if one.id == reviewer_id), None)

    async def known_as(self, identity: str, *, verified: str) -> Reviewer | None:
        """The one person known by this proven identity; None if nobody or several."""
        return await self._database.read(
            lambda connection: known_as(connection, identity, verified=verified)
        )

    async def was_removed(self, identity: str) -> bool:
        """Whether whoever went by this name was removed."""
        return await self._database.read(lambda connection: was_removed(connection, identity))

    async def link(self, reviewer_id: str, identity: str) -> Reviewer:
        """Have the person known by this name, too.

        Raises:
            ReviewerRefused: nobody of that id, or the name is another's.
        """
        return await self._database.journal.write(lambda tx: link(tx, reviewer_id, identity))

    async def invite(self, reviewer_id: str, *, role: Role | None = None, url: str) -> str:
        """A sign-in link, good once and for ten minutes. With a role, a new person is added first.

        Raises:
            ReviewerRefused: nobody of that name, and no role to add one with.
        """

        def act(tx: Transaction) -> str:
            if all(one.id != reviewer_id for one in everyone(tx.connection)):
                if role is None:
                    raise ReviewerRefused(f"There is no reviewer {reviewer_id}.")
                add(tx, reviewer_id, role=role)
            return issue(tx, reviewer_id, "link", lasts=LINK_LASTS)

        code = await self._database.journal.write(act)
        # The fragment stays in the browser: no log and no referrer sees the code.
        return f"{url.rstrip('/')}/signin#{code}"

    async def redeem(self, code: str) -> str | None:
        """A session's secret for a link's code; None if it was used, has ended, or is not ours."""
        if not code.startswith(_PREFIX["link"]):
            return None
        return await self._database.journal.write(lambda tx: redeem(tx, code))

    async def session(self, secret: str) -> Reviewer | None:
        """Who is signed in with this session."""
        return await self._proven(secret, "session")

    async def bearer(self, token: str) -> Reviewer | None:
        """Whose API token this is."""
        return await self._proven(token, "token")

    async def token(self, reviewer_id: str, *, lasts: Millis = TOKEN_LASTS) -> str:
        """A fresh API token, shown once.

        Raises:
            ReviewerRefused: nobody of that name.
        """

        def act(tx: Transaction) -> str:
            if all(one.id != reviewer_id for one in everyone(tx.connection)):
                raise ReviewerRefused(f"There is no reviewer {reviewer_id}.")
            return issue(tx, reviewer_id, "token", lasts=lasts)

        return await self._database.journal.write(act)

    async def end(self, secret: str) -> None:
        """Sign this session out, or revoke this token."""
        await self._database.journal.write(lambda tx: revoke_one(tx, secret))

    async def end_all(self, reviewer_id: str) -> None:
        """Sign the person out everywhere; links not yet used end too. API tokens stay."""
        await self._database.journal.write(
            lambda tx: revoke(tx, reviewer_id, kinds=("session", "link"))
        )

    async def _proven(self, secret: str, kind: str) -> Reviewer | None:
        if not secret.startswith(_PREFIX[kind]):
            return None
        now = self._clock.now()
        return await self._database.read(
            lambda connection: prove(connection, secret, kind, now=now)
        )
