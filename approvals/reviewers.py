"""The people who may decide, and what proves them: sign-in links, sessions, API tokens.

Secrets are 256 random bits, stored as SHA-256, shown once. An agent's grant is never one of them:
other table, other prefix. What a person may decide is `permission`'s. What proves a change made in
a session is fixed when the session is made: it never gets a key later. Not pure.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import Connection, RowMapping, Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel

from approvals.digest import canonical, sha256
from approvals.model import Event, Millis, Reviewer, Role
from approvals.record import signed
from approvals.record.clock import Clock
from approvals.record.database import Database, Transaction
from approvals.record.tables import CredentialRow, NonceRow, ReviewerRow

CREDENTIAL: Final[Table] = SQLModel.metadata.tables[str(CredentialRow.__tablename__)]
REVIEWER: Final[Table] = SQLModel.metadata.tables[str(ReviewerRow.__tablename__)]
NONCE: Final[Table] = SQLModel.metadata.tables[str(NonceRow.__tablename__)]

LINK_LASTS: Final = 10 * 60_000
SESSION_LASTS: Final = 12 * 3_600_000
TOKEN_LASTS: Final = 90 * 86_400_000

HOST: Final = "host"
"""The binding of a session whose cookie no other server gets: that of an https host of its own."""
READS: Final = "none"
"""The binding of a session in which nothing can be proven: it reads, and changes nothing."""
MOST_NONCES: Final = 10_000
"""Signed requests of one session: what its used nonces may take in the record."""

_PREFIX: Final = {"link": "lnk_", "session": "ses_", "token": "rvt_"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


@dataclass(frozen=True, slots=True)
class ReviewerSession:
    """A browser that is signed in. `binding` says what proves a change made in it: the public key
    of its page, `HOST` or `READS`. `id` is no secret.
    """

    reviewer: Reviewer
    id: str
    binding: str
    expires_at: Millis


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
    names = sorted(set(identities))
    known = signed.row(tx.connection, REVIEWER, REVIEWER.c.id == reviewer_id)
    signed.put(
        tx,
        REVIEWER,
        {
            "id": reviewer_id,
            "role": role,
            "identities": canonical(names).decode(),
            "created_at": tx.now if known is None else known["created_at"],
            "removed_at": None,
        },
        event=_event("reviewer_added", reviewer_id, role=role, identities=names),
    )
    return Reviewer(id=reviewer_id, role=role, identities=tuple(names))


def remove(tx: Transaction, reviewer_id: str) -> bool:
    """The person may decide no more; every session, link and token ends at once."""
    if all(one.id != reviewer_id for one in everyone(tx.connection)):
        return False
    revoke(tx, reviewer_id, kinds=tuple(_PREFIX))
    signed.put(
        tx,
        REVIEWER,
        {"id": reviewer_id, "removed_at": tx.now},
        event=_event("reviewer_removed", reviewer_id),
    )
    return True


def issue(
    tx: Transaction, reviewer_id: str, kind: str, *, lasts: Millis, binding: str | None = None
) -> str:
    """A fresh secret of this kind for the person; readable only now. `binding`: of a session."""
    secret = _PREFIX[kind] + secrets.token_urlsafe(32)
    signed.put(
        tx,
        CREDENTIAL,
        {
            "token_hash": sha256(secret.encode()),
            "kind": kind,
            "reviewer": reviewer_id,
            "created_at": tx.now,
            "expires_at": tx.now + lasts,
            "binding": binding,
        },
        event=_event(f"{kind}_issued", reviewer_id, expires_at=tx.now + lasts),
    )
    return secret


def redeem(tx: Transaction, code: str, *, binding: str) -> str | None:
    """Turn a sign-in link's code into the secret of a session with this binding, once and in time;
    else None.
    """
    found = prove(tx.connection, code, "link", now=tx.now)
    if found is None:
        return None
    signed.put(
        tx,
        CREDENTIAL,
        {"token_hash": sha256(code.encode()), "used_at": tx.now},
        event=_event("link_used", found.id),
    )
    return issue(tx, found.id, "session", lasts=SESSION_LASTS, binding=binding)


def revoke(tx: Transaction, reviewer_id: str, *, kinds: tuple[str, ...], own: bool = False) -> int:
    """End every credential of these kinds that the person holds. How many there were. `own`: that
    person does it.
    """
    held = signed.rows(
        tx.connection,
        CREDENTIAL,
        CREDENTIAL.c.reviewer == reviewer_id,
        CREDENTIAL.c.kind.in_(kinds),
        CREDENTIAL.c.revoked_at.is_(None),
    )
    _revoke(tx, reviewer_id, held, kinds, own=own)
    return len(held)


def revoke_one(tx: Transaction, secret: str) -> None:
    """End this one credential, as who holds it asks."""
    held = signed.rows(
        tx.connection,
        CREDENTIAL,
        CREDENTIAL.c.token_hash == sha256(secret.encode()),
        CREDENTIAL.c.revoked_at.is_(None),
    )
    for one in held:
        _revoke(tx, one["reviewer"], [one], (one["kind"],), own=True)


def _revoke(
    tx: Transaction,
    reviewer_id: str,
    held: list[RowMapping],
    kinds: tuple[str, ...],
    *,
    own: bool,
) -> None:
    if held:
        told = _event("credentials_revoked", reviewer_id, kinds=sorted(kinds), count=len(held))
        signed.put_all(
            tx,
            CREDENTIAL,
            [{"token_hash": one["token_hash"], "revoked_at": tx.now} for one in held],
            event=told._replace(actor_kind="reviewer") if own else told,
        )


def prove(connection: Connection, secret: str, kind: str, *, now: Millis) -> Reviewer | None:
    """The person this secret proves right now; None for any doubt."""
    found = _valid(connection, secret, kind, now=now)
    return None if found is None else found[1]


def token_until(connection: Connection, reviewer_id: str, *, now: Millis) -> Millis | None:
    """When the last API token of the person ends; None: there is none that opens anything."""
    held = signed.rows(
        connection,
        CREDENTIAL,
        CREDENTIAL.c.reviewer == reviewer_id,
        CREDENTIAL.c.kind == "token",
        CREDENTIAL.c.revoked_at.is_(None),
        CREDENTIAL.c.expires_at > now,
    )
    return max((one["expires_at"] for one in held), default=None)


def session_of(connection: Connection, secret: str, *, now: Millis) -> ReviewerSession | None:
    """The session this secret opens right now; None for any doubt."""
    found = _valid(connection, secret, "session", now=now)
    if found is None:
        return None
    row, reviewer = found
    if not row["binding"]:  # of a release before there were any: they have ended
        return None
    return ReviewerSession(reviewer, session_id(secret), row["binding"], row["expires_at"])


def session_id(secret: str) -> str:
    """What a session is called in the open: its secret does not follow from it."""
    return sha256(b"signoff/session/1:" + secret.encode("utf-8", "replace"))[:32]


Use = Literal["fresh", "used", "full", "ended"]


def use_nonce(tx: Transaction, secret: str, nonce: str) -> Use:
    """Use up a nonce of this session. Only "fresh" permits the request that carries it; "full": the
    session has used as many as one may; "ended": it is none any more.
    """
    session = session_of(tx.connection, secret, now=tx.now)
    if session is None:
        return "ended"
    count = select(func.count()).where(NONCE.c.session == session.id)
    if int(tx.connection.execute(count).scalar() or 0) >= MOST_NONCES:
        return "full"
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    made = (
        dialect.insert(NONCE)
        .values(session=session.id, nonce=nonce, until=session.expires_at)
        .on_conflict_do_nothing()
        .returning(NONCE.c.nonce)
    )
    return "fresh" if tx.connection.execute(made).first() is not None else "used"


def prune_nonces(tx: Transaction, *, before: Millis) -> int:
    """Forget the nonces of sessions that have ended by themselves; how many."""
    return tx.connection.execute(delete(NONCE).where(NONCE.c.until < before)).rowcount


def _valid(
    connection: Connection, secret: str, kind: str, *, now: Millis
) -> tuple[RowMapping, Reviewer] | None:
    """The credential this secret is right now, and whose; None for any doubt."""
    if not secret.isascii() or not secret.startswith(_PREFIX[kind]):
        return None
    hashed = sha256(secret.encode())
    held = signed.row(connection, CREDENTIAL, CREDENTIAL.c.token_hash == hashed)
    if held is None or not hmac.compare_digest(held["token_hash"], hashed):
        return None
    spent = held["used_at"] is not None or held["revoked_at"] is not None
    if spent or held["kind"] != kind or held["expires_at"] <= now:
        return None
    found = find(connection, held["reviewer"])
    return None if found is None else (held, replace(found, verified=kind))


def find(connection: Connection, reviewer_id: str) -> Reviewer | None:
    """The person of exactly this id, who was added and not removed."""
    row = signed.row(
        connection, REVIEWER, REVIEWER.c.id == reviewer_id, REVIEWER.c.removed_at.is_(None)
    )
    return None if row is None else _reviewer(row)


def everyone(connection: Connection) -> tuple[Reviewer, ...]:
    """Everybody who was added and not removed, by name."""
    found = signed.rows(
        connection, REVIEWER, REVIEWER.c.removed_at.is_(None), order=[REVIEWER.c.id]
    )
    return tuple(_reviewer(row) for row in found)


def _reviewer(row: RowMapping) -> Reviewer:
    return Reviewer(id=row["id"], role=row["role"], identities=tuple(json.loads(row["identities"])))


def known_as(connection: Connection, identity: str, *, verified: str) -> Reviewer | None:
    """The one person known by this name ("slack:T1/U1", "oidc:…"); None if no one or several."""
    found = [one for one in everyone(connection) if identity in one.names()]
    if len(found) != 1:
        return None
    one = found[0]
    return Reviewer(id=one.id, role=one.role, identities=one.identities, verified=verified)


def was_removed(connection: Connection, identity: str) -> bool:
    """Whether someone known by this name was removed and no one else goes by it."""
    rows = signed.rows(connection, REVIEWER, REVIEWER.c.removed_at.is_not(None))
    removed = any(identity in (row["id"], *json.loads(row["identities"])) for row in rows)
    return removed and all(identity not in one.names() for one in everyone(connection))


def link(tx: Transaction, reviewer_id: str, identity: str) -> Reviewer:
    """From now on the person is known by this name, too.

    Raises:
        ReviewerRefused: no one of that id, or the name is another's.
    """
    known = next((one for one in everyone(tx.connection) if one.id == reviewer_id), None)
    if known is None:
        raise ReviewerRefused(f"There is no reviewer {reviewer_id}.")
    return add(tx, reviewer_id, role=known.role, identities=(*known.identities, identity))


def _event(event: str, reviewer_id: str, **data: Any) -> Event:
    return Event(
        event=event,
        actor_kind="operator",
        actor=reviewer_id,
        data=canonical({"reviewer": reviewer_id, **data}).decode(),
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
        return await self._database.read(lambda connection: find(connection, reviewer_id))

    async def known_as(self, identity: str, *, verified: str) -> Reviewer | None:
        """The one person known by this proven identity; None if no one or several."""
        return await self._database.read(
            lambda connection: known_as(connection, identity, verified=verified)
        )

    async def was_removed(self, identity: str) -> bool:
        """Whether anyone who went by this name was removed."""
        return await self._database.read(lambda connection: was_removed(connection, identity))

    async def link(self, reviewer_id: str, identity: str) -> Reviewer:
        """Have the person known by this name, too.

        Raises:
            ReviewerRefused: no one of that id, or the name is another's.
        """
        return await self._database.journal.write(lambda tx: link(tx, reviewer_id, identity))

    async def invite(self, reviewer_id: str, *, role: Role | None = None, url: str) -> str:
        """A sign-in link, good once and for ten minutes. With a role, a new person is added first.

        Raises:
            ReviewerRefused: no one of that name, and no role to add one with.
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

    async def redeem(self, code: str, *, binding: str) -> str | None:
        """A session's secret for a link's code; None if it was used, has ended, or is not ours."""
        if not code.startswith(_PREFIX["link"]):
            return None
        return await self._database.journal.write(lambda tx: redeem(tx, code, binding=binding))

    async def session(self, secret: str) -> ReviewerSession | None:
        """The session this secret opens, and who is signed in with it."""
        if not secret.startswith(_PREFIX["session"]):
            return None
        now = self._clock.now()
        return await self._database.read(lambda connection: session_of(connection, secret, now=now))

    async def use_nonce(self, secret: str, nonce: str) -> Use:
        """Use up a nonce of this session, in the record: "fresh" once, whichever replica is asked.

        Raises:
            RecordUnavailable: it is not known to be used up; nothing may be done on its strength.
        """
        return await self._database.journal.write(lambda tx: use_nonce(tx, secret, nonce))

    async def bearer(self, token: str) -> Reviewer | None:
        """Whose API token this is."""
        return await self._proven(token, "token")

    async def token(self, reviewer_id: str, *, lasts: Millis = TOKEN_LASTS) -> str:
        """A fresh API token, shown once.

        Raises:
            ReviewerRefused: no one of that name.
        """

        def act(tx: Transaction) -> str:
            if all(one.id != reviewer_id for one in everyone(tx.connection)):
                raise ReviewerRefused(f"There is no reviewer {reviewer_id}.")
            return issue(tx, reviewer_id, "token", lasts=lasts)

        return await self._database.journal.write(act)

    async def token_until(self, reviewer_id: str) -> Millis | None:
        """When the last of the person's API tokens ends; None: there is none."""
        now = self._clock.now()
        return await self._database.read(
            lambda connection: token_until(connection, reviewer_id, now=now)
        )

    async def end(self, secret: str) -> None:
        """Sign this session out, or revoke this token."""
        await self._database.journal.write(lambda tx: revoke_one(tx, secret))

    async def end_all(self, reviewer_id: str) -> None:
        """Sign the person out everywhere; links not yet used end too. API tokens stay."""
        await self._database.journal.write(
            lambda tx: revoke(tx, reviewer_id, kinds=("session", "link"), own=True)
        )

    async def _proven(self, secret: str, kind: str) -> Reviewer | None:
        if not secret.startswith(_PREFIX[kind]):
            return None
        now = self._clock.now()
        return await self._database.read(
            lambda connection: prove(connection, secret, kind, now=now)
        )
