"""The kill switch: a frozen grant, a frozen server, or everything. Frozen calls are refused.

Freezes are rows of the record, so they outlive a restart and reach every replica; each gateway
holds a copy that is at most a second old, and its own changes at once.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection

from approvals.model import Event, Millis
from approvals.record import signed
from approvals.record.database import Database, Transaction
from approvals.record.tables import SettingRow

Kind = Literal["grant", "server", "everything"]
_PREFIX = "freeze:"
_TABLE = SettingRow.__table__  # type: ignore[attr-defined]


def key(kind: Kind, name: str) -> str:
    return f"{_PREFIX}{kind}:{name}"


def freeze(tx: Transaction, kind: Kind, name: str, *, by: str) -> bool:
    """Stop these calls from now on. False: they were stopped already."""
    if key(kind, name) in frozen_now(tx.connection):
        return False
    values = {"key": key(kind, name), "value": by, "at": tx.now}
    signed.put(tx, _TABLE, values, event=_event("frozen", kind, name, by))
    return True


def thaw(tx: Transaction, kind: Kind, name: str, *, by: str) -> bool:
    """Let these calls go on. False: they were not stopped."""
    event = _event("thawed", kind, name, by)
    return signed.drop(tx, _TABLE, {"key": key(kind, name)}, event=event)


def frozen_now(connection: Connection) -> dict[str, Millis]:
    """The keys of everything that is frozen by the history's word, and since when: a freeze whose
    row someone took away still stands.
    """
    return {
        key: version.at
        for (key,), version in signed.versions(connection, _TABLE).items()
        if key.startswith(_PREFIX)
    }


class Freezes:
    """The freezes in force, for the hot path."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, Millis] = {}
        self.halted: str | None = None
        """Why nothing at all is executed, for people: the record went back."""

    async def load(self) -> None:
        """Read them again, and whether the record is still the one it was."""

        def look(connection: Connection) -> tuple[dict[str, Millis], str | None]:
            return frozen_now(connection), self._database.watch.look(connection)

        self._keys, self.halted = await self._database.read(look)

    def is_frozen(self, kind: Kind, name: str = "") -> bool:
        return key(kind, name) in self._keys

    def since(self, kind: Kind, name: str = "") -> Millis | None:
        return self._keys.get(key(kind, name))

    def frozen(self) -> tuple[str, ...]:
        """What is frozen, for people: "everything", "server git", "grant grt_…"."""
        named = (one.removeprefix(_PREFIX).partition(":") for one in sorted(self._keys))
        return tuple(f"{kind} {name}".rstrip() for kind, _, name in named)

    def reason(self, grant: str, server: str) -> str | None:
        """Why a call may not run now, for the agent; None: nothing of it is frozen."""
        if self.halted is not None:
            return "The record is not the one this gateway knew: an operator has to look at it."
        if not self._keys:
            return None
        if self.is_frozen("everything"):
            return "An operator has stopped all calls."
        if self.is_frozen("server", server):
            return "An operator has stopped this server."
        if self.is_frozen("grant", grant):
            return "An operator has stopped this grant."
        return None


def _event(event: str, kind: Kind, name: str, by: str) -> Event:
    return Event(
        event=event,
        actor_kind="reviewer",
        actor=by,
        grant=name if kind == "grant" else "",
        server=name if kind == "server" else "",
        reason=kind,
    )
