"""Pins on record: what a server said of a tool, a prompt, a template and itself, first seen or
accepted; and what it says otherwise, until a person settles that. Not pure.

The first definition seen is pinned. One that differs puts the pin in quarantine and is kept beside
it; going back to the pinned one ends nothing (T-60 and T-61). Functions of a `Transaction`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from json import loads
from typing import Any, Final, Literal

from sqlalchemy import Connection, RowMapping, Table, select, tuple_, update
from sqlmodel import SQLModel

from approvals.digest import canonical, sha256
from approvals.fingerprint import NAMED_KEYS, fingerprint
from approvals.model import Event, Millis
from approvals.record import signed
from approvals.record.tables import PinRow
from approvals.record.transaction import Transaction

Kind = Literal["tool", "prompt", "template", "instructions"]

KINDS: Final[tuple[Kind, ...]] = ("tool", "prompt", "template", "instructions")

PIN: Final[Table] = SQLModel.metadata.tables[str(PinRow.__tablename__)]

TOLD_AGAIN: Final[Millis] = 60_000
"""A pin in quarantine that changes on and on takes the next change up once in so long."""

Subject = tuple[Kind, str]
"""Which pin of a server: its kind and name."""

_LIGHT: Final = tuple(
    column for column in PIN.c if column.name not in ("definition", "seen_definition")
)
_AT_ONCE: Final = 200


def note(
    tx: Transaction,
    server: str,
    kind: Kind,
    said: Mapping[str, Mapping[str, Any]],
    *,
    gone: Iterable[str] = (),
) -> list[RowMapping]:
    """Take note of what the server says by name, and of what it no longer lists; the rows as they
    are now, but of those `gone`.
    """
    subjects: list[Subject] = [(kind, name) for name in said]
    known = {row["name"]: row for row in rows_of(tx.connection, server, subjects)}
    for name, definition in said.items():
        row = known.get(name)
        if row is None:
            _pin(tx, server, (kind, name), definition)
            continue
        free = _noted(tx, row, definition)
        if free:
            tx.connection.execute(_of(row).values(**free))
    missing = list(gone)
    if missing:
        where = (PIN.c.server == server) & (PIN.c.kind == kind)
        tx.connection.execute(
            update(PIN).where(where, PIN.c.name.in_(missing)).values(present=False)
        )
    return rows_of(tx.connection, server, subjects)


def _pin(tx: Transaction, server: str, subject: Subject, definition: Mapping[str, Any]) -> None:
    """Pin what is seen for the first time. What the record once knew, and someone took out of it,
    is not: of that only the name counts as pinned, and a person looks at the rest.
    """
    kind, name = subject
    key = {"server": server, "kind": kind, "name": name}
    lost = signed.known(tx.connection, PIN, key)
    pinned = {"name": name} if lost else definition
    digest, seen = fingerprint(pinned), fingerprint(definition)
    values = {
        **key,
        "hash": digest,
        "call_hash": digest,
        "definition": canonical(pinned).decode(),
        "seen_hash": seen,
        "seen_definition": canonical(definition).decode(),
        "volatile": "[]",
        "carried": False,
        "first_seen": tx.now,
        "changed_at": tx.now if lost else None,
        "back_at": None,
        "accepted_by": "",
        "present": True,
    }
    event = _event("changed" if lost else "pinned", server, subject, seen)
    if lost:
        event = event._replace(reason="Its pin is missing in the record.")
    signed.put(tx, PIN, values, event=event)


def _noted(tx: Transaction, row: RowMapping, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Change the pin as what the server says demands; what else changes is given back."""
    digest = fingerprint(definition, loads(row["volatile"]))
    free: dict[str, Any] = {} if row["present"] else {"present": True}
    quarantined = row["hash"] != row["seen_hash"]
    if row["carried"] and not quarantined and _same_but_unpinned(row, definition):
        # It was never pinned whole: what was left out is taken up now, once.
        written = canonical(definition).decode()
        whole = {
            "hash": digest,
            "definition": written,
            "seen_hash": digest,
            "seen_definition": written,
            "carried": False,
        }
        _put(tx, row, whole, "pinned", digest)
        return free
    if digest == row["hash"]:
        back = quarantined and row["back_at"] is None
        return free | ({"back_at": tx.now} if back else {})
    if row["back_at"] is not None:
        free["back_at"] = None
    if digest == row["seen_hash"] or (quarantined and not told_again(row["changed_at"], tx.now)):
        return free
    said = {"seen_hash": digest, "seen_definition": canonical(definition).decode()}
    _put(tx, row, said, "changed", digest)
    return free | {"changed_at": tx.now}


def told_again(changed_at: Millis | None, now: Millis) -> bool:
    """Whether a pin that is in quarantine since then is told of another change."""
    return changed_at is None or now - changed_at >= TOLD_AGAIN


def _same_but_unpinned(row: RowMapping, definition: Mapping[str, Any]) -> bool:
    pinned = loads(row["definition"])
    left_out = (pinned.keys() | definition.keys()) - NAMED_KEYS
    return fingerprint(pinned, left_out) == fingerprint(definition, left_out)


def accept(tx: Transaction, server: str, seen: Mapping[Subject, str], *, by: str) -> bool:
    """Pin the changed definitions with these hashes, all or none: False if one of them is no
    longer what the server last said otherwise.
    """
    rows = _in_quarantine(tx, server, seen)
    if rows is None:
        return False
    for row in rows:
        accepted = {
            "hash": row["seen_hash"],
            "call_hash": row["seen_hash"],
            "definition": row["seen_definition"],
            "accepted_by": by,
            "carried": False,
            "back_at": None,
        }
        _put(tx, row, accepted, "accepted", row["seen_hash"], by=by)
    return True


def keep(tx: Transaction, server: str, seen: Mapping[Subject, str], *, by: str) -> bool:
    """Stay with what is pinned and end the quarantine, all or none as `accept`. Should the server
    still say otherwise, its next listing begins it again.
    """
    rows = _in_quarantine(tx, server, seen)
    if rows is None:
        return False
    for row in rows:
        kept = {
            "seen_hash": row["hash"],
            "seen_definition": row["definition"],
            "accepted_by": by,
            "carried": False,
            "back_at": None,
        }
        _put(tx, row, kept, "kept", row["hash"], by=by)
    return True


def set_volatile(
    tx: Transaction, server: str, subject: Subject, keys: Sequence[str], *, by: str, seen: str
) -> bool:
    """From now on these keys of the definition, and no others, may change freely. Agents go on
    seeing them as pinned. False: there is no such pin, or it has been seen otherwise than with the
    hash `seen`: that may end a quarantine, and only what someone saw ends one.
    """
    found = rows_of(tx.connection, server, [subject])
    if not found or found[0]["seen_hash"] != seen:
        return False
    row, volatile = found[0], sorted(set(keys))
    digest = fingerprint(loads(row["definition"]), volatile)
    said = fingerprint(loads(row["seen_definition"]), volatile)
    values: dict[str, Any] = {"hash": digest, "seen_hash": said, "volatile": _written(volatile)}
    if digest == said:
        values |= {"seen_definition": row["definition"], "back_at": None}
    told = canonical({"keys": volatile}).decode()
    _put(tx, row, values, "pinned_without", digest, by=by, data=told)
    return True


def rows_of(connection: Connection, server: str, subjects: Iterable[Subject]) -> list[RowMapping]:
    """The rows of these pins of a server, whole."""
    wanted = list(subjects)
    found: list[RowMapping] = []
    for at in range(0, len(wanted), _AT_ONCE):
        some = tuple_(PIN.c.kind, PIN.c.name).in_(wanted[at : at + _AT_ONCE])
        found += signed.rows(connection, PIN, PIN.c.server == server, some)
    return found


def states(connection: Connection, server: str | None = None) -> list[RowMapping]:
    """Every pin, or a server's, without the definitions: enough to see which of them moved."""
    query = select(*_LIGHT)
    if server is not None:
        query = query.where(PIN.c.server == server)
    return list(connection.execute(query).mappings())


def seen_digest(seen: Mapping[Subject, str]) -> str:
    """One digest for all these changed definitions: what someone accepts who saw them together."""
    listed = sorted([kind, name, digest] for (kind, name), digest in seen.items())
    return sha256(canonical(listed))


def _in_quarantine(
    tx: Transaction, server: str, seen: Mapping[Subject, str]
) -> list[RowMapping] | None:
    """The rows of these pins; None if one of them is in no quarantine, or in another."""
    rows = {(row["kind"], row["name"]): row for row in rows_of(tx.connection, server, seen)}
    for subject, digest in seen.items():
        row = rows.get(subject)
        if row is None or row["seen_hash"] != digest or row["hash"] == digest:
            return None
    return list(rows.values())


def _put(
    tx: Transaction,
    row: RowMapping,
    values: Mapping[str, Any],
    what: str,
    digest: str,
    *,
    by: str = "",
    data: str | None = None,
) -> None:
    """Change a pin, and tell it."""
    key = {name: row[name] for name in ("server", "kind", "name")}
    event = _event(what, row["server"], (row["kind"], row["name"]), digest, by=by)
    signed.put(tx, PIN, {**key, **values}, event=event._replace(data=data))


def _of(row: RowMapping) -> Any:
    return update(PIN).where(
        PIN.c.server == row["server"], PIN.c.kind == row["kind"], PIN.c.name == row["name"]
    )


def _written(keys: list[str]) -> str:
    return canonical(keys).decode()


def _event(what: str, server: str, subject: Subject, digest: str, *, by: str = "") -> Event:
    kind, name = subject
    return Event(
        event=f"{kind}_{what}",
        actor_kind="reviewer" if by else "gateway",
        actor=by,
        server=server,
        tool=name,
        presented_digest=digest,
    )
