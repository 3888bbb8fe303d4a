"""Grants: the bearer tokens of agents. Stored as a hash, shown once, checked on every request.

A grant is never accepted where reviewers act, and a reviewer's credential never here: the two are
rows of different tables, found by different prefixes, and nothing converts one into the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from json import dumps, loads

from sqlalchemy import Connection, RowMapping, update

from approvals import queue
from approvals.model import Event, Millis
from approvals.moves import GATEWAY
from approvals.record import signed
from approvals.record.clock import Clock
from approvals.record.database import Database, Transaction
from approvals.record.tables import GrantRow

PREFIX = "sgn_"
#: A revocation made by another process (the CLI) is seen after at most this many milliseconds.
FRESH_MS = 1_000
LEAST_HOLD = 5
"""Seconds; what was learned of a client never shortens a hold further."""

_MARGIN = 2  # seconds before a client gives up
_CACHED = 4_096
_TABLE = GrantRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one agent may do: which servers, until when, how long its held calls may wait."""

    id: str
    label: str
    servers: frozenset[str]  # {"*"}: every server
    owner: str
    hold: int | None  # seconds; None: the gateway's default
    patience: int | None = None  # seconds after which its client was seen to give up waiting
    created_at: Millis
    expires_at: Millis | None
    revoked_at: Millis | None

    def usable(self, now: Millis) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def waits(self, hold: int) -> int:
        """For how many of `hold` seconds a held call waits in place: until shortly before its
        client would give up, where that was seen.
        """
        if self.patience is None:
            return hold
        before = self.patience - max(_MARGIN, self.patience // 10)
        return min(hold, max(LEAST_HOLD, before))

    def reaches(self, server: str) -> bool:
        return "*" in self.servers or server in self.servers


def create(
    tx: Transaction,
    *,
    label: str,
    servers: frozenset[str],
    owner: str = "",
    hold: int | None = None,
    expires_at: Millis | None = None,
    by: str = "",
) -> tuple[Grant, str]:
    """Make a grant. The token is returned here and can never be read again."""
    token = PREFIX + secrets.token_urlsafe(32)
    grant = Grant(
        id="grt_" + secrets.token_hex(8),
        label=label,
        servers=servers,
        owner=owner,
        hold=hold,
        created_at=tx.now,
        expires_at=expires_at,
        revoked_at=None,
    )
    signed.put(
        tx,
        _TABLE,
        {
            "id": grant.id,
            "label": label,
            "token_hash": token_hash(token),
            "servers": dumps(sorted(servers)),
            "owner": owner,
            "hold": hold,
            "created_at": tx.now,
            "expires_at": expires_at,
        },
        event=_event("grant_created", grant.id, by, label),
    )
    return grant, token


def revoke(tx: Transaction, grant_id: str, *, by: str = "") -> bool:
    """End a grant, and withdraw its calls that wait or may still run: no one shall decide on what
    no one can collect. False: there is none, or it had ended before.
    """
    found = by_id(tx.connection, grant_id)
    if found is None or found.revoked_at is not None:
        return False
    event = _event("grant_revoked", grant_id, by)
    signed.put(tx, _TABLE, {"id": grant_id, "revoked_at": tx.now}, event=event)
    for approval in queue.open_of(tx, grant_id):
        queue.withdraw(tx, approval.id, grant=grant_id, why="Its grant was revoked.", by=GATEWAY)
    return True


def set_hold(tx: Transaction, grant_id: str, hold: int | None, *, by: str = "") -> bool:
    """Let a grant's held calls wait for so long, and forget what was learned of its client. False:
    there is no such grant.
    """
    if by_id(tx.connection, grant_id) is None:
        return False
    told = "the gateway's default" if hold is None else f"{hold} s"
    event = _event("grant_hold_set", grant_id, by, f"Held calls wait {told}.")
    signed.put(tx, _TABLE, {"id": grant_id, "hold": hold, "patience": None}, event=event)
    return True


def learn(tx: Transaction, grant_id: str, patience: int) -> bool:
    """A grant's client gives up after so many seconds. False: that, or less, was known."""
    moved = tx.connection.execute(
        update(_TABLE)
        .where(
            _TABLE.c.id == grant_id,
            _TABLE.c.patience.is_(None) | (_TABLE.c.patience > patience),
        )
        .values(patience=patience)
    ).rowcount
    if moved == 1:
        told = f"Its client gives up after {patience} s; its calls are let go before."
        gateway = _event("grant_patience_learned", grant_id, "", told)
        tx.append(gateway._replace(actor_kind="gateway"))
    return bool(moved == 1)


def listing(connection: Connection) -> list[Grant]:
    """Every grant, newest first, ended ones included."""
    newest_first = [_TABLE.c.created_at.desc(), _TABLE.c.id]
    return [_grant(row) for row in signed.rows(connection, _TABLE, order=newest_first)]


def by_id(connection: Connection, grant_id: str) -> Grant | None:
    """The grant with this id, usable or not."""
    row = signed.row(connection, _TABLE, _TABLE.c.id == grant_id)
    return None if row is None else _grant(row)


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Grants:
    """Token -> grant, remembered for a second: the hot path asks the database rarely."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[Millis, Grant]] = {}
        self._asking: dict[str, asyncio.Task[Grant | None]] = {}

    async def find(self, token: str) -> Grant | None:
        """The usable grant of this token, or None.

        Looking up by the SHA-256 of a 256-bit random token leaks nothing worth timing.
        """
        now = self._clock.now()
        digest = token_hash(token)
        known = self._known.get(digest)
        if known is not None and now - known[0] < FRESH_MS:
            grant: Grant | None = known[1]
        elif token.startswith(PREFIX):
            # Callers who come together ask the database once. One who leaves takes no one along.
            asking = self._asking.get(digest)
            if asking is None:
                asking = self._asking[digest] = asyncio.create_task(self._ask(digest, now))
            grant = await asyncio.shield(asking)
        else:
            return None
        return grant if grant is not None and grant.usable(now) else None

    async def _ask(self, digest: str, now: Millis) -> Grant | None:
        try:
            grant = await self._database.read(lambda connection: _by_hash(connection, digest))
        finally:
            current = self._asking.get(digest) is asyncio.current_task()
            if current:
                del self._asking[digest]
        if not current:  # told to forget meanwhile
            return grant
        if grant is None:  # not remembered: anyone who guesses pushes out no grant that is used
            self._known.pop(digest, None)
            return None
        if len(self._known) >= _CACHED:
            self._known.clear()
        self._known[digest] = (now, grant)
        return grant

    def forget(self) -> None:
        """Something about grants changed in this process: ask again at once."""
        self._known.clear()
        self._asking.clear()


def _by_hash(connection: Connection, digest: str) -> Grant | None:
    row = signed.row(connection, _TABLE, _TABLE.c.token_hash == digest)
    return None if row is None else _grant(row)


def _grant(values: RowMapping) -> Grant:
    return Grant(
        id=values["id"],
        label=values["label"],
        servers=frozenset(loads(values["servers"])),
        owner=values["owner"],
        hold=values["hold"],
        patience=values["patience"],
        created_at=values["created_at"],
        expires_at=values["expires_at"],
        revoked_at=values["revoked_at"],
    )


def _event(event: str, grant: str, by: str, reason: str = "") -> Event:
    return Event(event=event, actor_kind="operator", actor=by, grant=grant, reason=reason)
