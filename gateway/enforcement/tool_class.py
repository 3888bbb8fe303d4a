"""The class a person settled for a tool: a row that stands as long as the pin it was settled for.

A class decides how risky the tool's calls are, so settling one may lower that: every change is a
row of the history, and the newest of a tool's rows is the one that counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from approvals.digest import canonical
from approvals.model import Event, Millis
from approvals.pins import PIN
from approvals.record import signed
from approvals.record.database import Transaction
from approvals.record.tables import ToolClassRow
from gateway.risk.assessment import Category

EVENT: Final = "tool_classified"
_TABLE = ToolClassRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolClass:
    """What a person said a tool is."""

    server: str
    name: str
    definition_hash: str  # call_hash of the pin it was settled for: it counts for no other
    category: Category
    settled_by: str
    settled_at: Millis


def settle(
    tx: Transaction, server: str, name: str, category: Category | None, *, pinned: str, by: str
) -> bool:
    """Say what a tool is, as long as it is pinned with this hash; None takes back what was said.
    False: it is not pinned so, or nothing was said to take back.
    """
    where = (PIN.c.server == server, PIN.c.kind == "tool", PIN.c.name == name)
    row = signed.row(tx.connection, PIN, *where, PIN.c.hash == pinned)
    if row is None:
        return False
    event = _event(server, name, pinned, category, kind="reviewer", by=by)
    key = {"server": server, "name": name}
    if category is None:
        return signed.drop(tx, _TABLE, key, event=event)
    said = {
        "definition_hash": row["call_hash"],
        "category": str(category),
        "settled_by": by,
        "settled_at": tx.now,
    }
    signed.put(tx, _TABLE, key | said, event=event)
    return True


def drop(tx: Transaction, server: str, name: str, pinned: str) -> None:
    """The tool is pinned again: what was said of its earlier definition is said no more."""
    event = _event(server, name, pinned, None, kind="gateway", by="")
    signed.drop(tx, _TABLE, {"server": server, "name": name}, event=event)


def settled(connection: Connection) -> frozenset[ToolClass]:
    """Every class that was settled, for whatever pin."""
    rows = signed.rows(connection, _TABLE)
    return frozenset(
        ToolClass(
            server=row["server"],
            name=row["name"],
            definition_hash=row["definition_hash"],
            category=Category(row["category"]),
            settled_by=row["settled_by"],
            settled_at=row["settled_at"],
        )
        for row in rows
        if row["category"] in tuple(Category)
    )


def by_tool(found: Iterable[ToolClass]) -> dict[tuple[str, str], ToolClass]:
    return {(one.server, one.name): one for one in found}


def _event(
    server: str, name: str, pinned: str, category: Category | None, *, kind: str, by: str
) -> Event:
    return Event(
        event=EVENT,
        actor_kind=kind,
        actor=by,
        server=server,
        tool=name,
        presented_digest=pinned,
        data=canonical({"class": None if category is None else str(category)}).decode(),
    )
