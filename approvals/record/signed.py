"""Rows that permit something: written under a MAC of the installation's key, and read only with it.

The MAC is over the key's id, the table, the primary key, the row's version and the columns that
`proofs` lists as signed. Each write is told in the history with the version it makes, and only the
newest version counts (see `ledger`): anyone who may write the database but has no key can neither
make such a row, nor change one, nor put an older one back. Taking one away closes, and never opens:
readers of what forbids by being there (a freeze) ask `versions`. Not pure.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    UnaryExpression,
    and_,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from approvals.digest import canonical
from approvals.model import Event
from approvals.record.history import Head, head
from approvals.record.keys import Keys
from approvals.record.ledger import (
    Ledger,
    Pending,
    StaleSnapshot,
    Version,
    halted_of,
    is_behind,
    ledger_of,
)
from approvals.record.proofs import PROOFS
from approvals.record.transaction import HeadMoved, Transaction

_FAR: Final = 20_000  # rows
_UNPROVEN: Final = "unproven"
"""In place of the row that one follows: anyone who folds it believes no signed row."""
_TRUTH: Final = {False: 0, True: 1}  # SQLite knows no other truth


def subject(table: Table, row: Mapping[Any, Any]) -> str:
    """The name of a row in the ledger: its table and primary key."""
    return canonical([table.name, *(row[name] for name in _key(table))]).decode()


def mac_of(keys: Keys, table: Table, row: Mapping[Any, Any]) -> str:
    """The MAC of the row as it stands, its version included."""
    proof = PROOFS[table.name]
    signed = {
        name: _TRUTH[value] if isinstance(value, bool) else value
        for name in proof.signed
        if (value := row[name]) is not None
    }
    step = keys.rows.copy()
    made = [keys.rows_id, table.name, [row[name] for name in _key(table)], row["row_version"]]
    step.update(canonical([*made, signed]))
    return f"{keys.rows_id}:{step.hexdigest()}"


def rows(
    connection: Connection,
    table: Table,
    *where: ColumnElement[bool],
    order: Sequence[ColumnElement[Any] | UnaryExpression[Any]] = (),
) -> list[RowMapping]:
    """The rows that match and are authentic. All others are no rows.

    Raises:
        StaleSnapshot: the row changed after this reader began; `Database.read` reads again.
    """
    view, keys = ledger_of(connection)
    if halted_of(view) is not None:
        return []
    found = connection.execute(select(table).where(*where).order_by(*order)).mappings().all()
    counted = PROOFS[table.name].ledger
    return [
        row
        for row in found
        if hmac.compare_digest(mac_of(keys, table, row), row["mac"])
        and (not counted or _is_newest(connection, view, subject(table, row), row["mac"]))
    ]


def row(connection: Connection, table: Table, *where: ColumnElement[bool]) -> RowMapping | None:
    """The one authentic row that matches; None if there is none, or several."""
    found = rows(connection, table, *where)
    return found[0] if len(found) == 1 else None


def versions(connection: Connection, table: Table) -> dict[tuple[Any, ...], Version]:
    """The rows that must be there by the history's word, by primary key: also those that someone
    took away. Of tables with a ledger.
    """
    view, _ = ledger_of(connection)
    return {
        tuple(json.loads(name)[1:]): version
        for name, version in view.of_table(table.name)
        if version.mac is not None
    }


def known(connection: Connection, table: Table, key: Mapping[Any, Any]) -> bool:
    """Whether there must be a row of this key by the history's word. Of tables with a ledger."""
    version = version_of(connection, table, key)
    return version is not None and version.mac is not None


def version_of(connection: Connection, table: Table, key: Mapping[Any, Any]) -> Version | None:
    """What the history says of the row of this key; None: nothing. Of tables with a ledger."""
    view, _ = ledger_of(connection)
    return view.version(subject(table, key))


def put(tx: Transaction, table: Table, values: Mapping[Any, Any], *, event: Event) -> None:
    """Make the row, or change the one that is there: `values` are the primary key and what is new.
    Columns left out keep their value, or get their default. The event tells it.
    """
    put_all(tx, table, [values], event=event)


def put_untold(tx: Transaction, table: Table, values: Mapping[Any, Any]) -> None:
    """As `put`, for a table without a ledger: other rows of the history tell of its rows."""
    whole, there = _completed(tx, table, values)
    _write(tx, table, whole, there=there)


def put_all(
    tx: Transaction, table: Table, many: Iterable[Mapping[Any, Any]], *, event: Event
) -> None:
    """As `put`, several rows told by one event. Nothing is told of no rows."""
    made = []
    for values in many:
        whole, there = _completed(tx, table, values)
        made.append((subject(table, whole), whole["row_version"], whole["mac"]))
        _write(tx, table, whole, there=there)
    tell(tx, made, event=event)


def drop(tx: Transaction, table: Table, key: Mapping[Any, Any], *, event: Event) -> bool:
    """Take the row away, for good: put back as it was, it counts no more. False: by the history
    there is none.
    """
    view, _ = ledger_of(tx.connection)
    name = subject(table, key)
    version = view.version(name)
    tx.connection.execute(delete(table).where(_is(table, key)))
    if version is None or version.mac is None:
        return False
    tell(tx, [(name, version.number + 1, None)], event=event)
    return True


def sign(tx: Transaction, table: Table, key: Mapping[Any, Any]) -> tuple[str, int, str]:
    """Sign a row as it lies there, by any writer: once in a record's life, when it is upgraded
    from a schema without MACs. What the ledger must be told of it.
    """
    found = tx.connection.execute(select(table).where(_is(table, key))).mappings().one()
    whole = {**found, "row_version": 1}
    mac = mac_of(tx.keys, table, whole)
    tx.connection.execute(update(table).where(_is(table, key)).values(row_version=1, mac=mac))
    return subject(table, key), 1, mac


def tell(tx: Transaction, changed: Sequence[tuple[str, int, str | None]], *, event: Event) -> None:
    """Append the event, and in it the versions it makes: subject, number, MAC (None: gone)."""
    if changed:
        _tell(tx, _pending(tx), changed, event._replace(subject=changed[0][0]))


def keep_near(tx: Transaction) -> None:
    """Tell of nothing, where the newest row that tells of signed rows is far from the history's
    end: anyone who opens the record reads the rows behind it, for no one may have cut it out.
    """
    view = _pending(tx)
    if tx.seq - view.head.seq >= _FAR:
        _tell(tx, view, (), Event(event="checkpoint", actor_kind="gateway", subject="checkpoint"))


def _pending(tx: Transaction) -> Pending:
    view, _ = ledger_of(tx.connection)
    if not isinstance(view, Pending):
        raise TypeError("Only the journal writes signed rows.")
    return view


def _doubt(tx: Transaction, view: Pending) -> str | None:
    """Why the history up to here is not known to be whole: a row about signed rows proves to
    anyone who opens the record later that none is missing before it.
    """
    ledger, known, upto = view.ledger, view.continuity, Head(*tx.base)
    if ledger.halted is not None:
        return ledger.halted
    if not known.anchored:
        known.anchor(ledger.head, ledger.head)
    position = known.position()
    if position is not None and position[0] == upto:
        return None
    if head(tx.connection).seq > upto.seq:
        raise HeadMoved
    why = known.reach(tx.connection, upto, patient=tx.patient)
    if why is not None:
        ledger.distrust(why)
    return why


def _tell(
    tx: Transaction, view: Pending, changed: Sequence[tuple[str, int, str | None]], event: Event
) -> None:
    data = {
        **json.loads(event.data or "{}"),
        "rows": [list(one) for one in changed],
        "after": view.last if _doubt(tx, view) is None else _UNPROVEN,
    }
    seq = tx.append(event._replace(data=canonical(data).decode()))
    made = {name: Version(number, mac, tx.now, seq) for name, number, mac in changed}
    view.add(made, Head(seq, tx.last_hash))


def _write(tx: Transaction, table: Table, whole: Mapping[Any, Any], *, there: bool) -> None:
    if there:
        tx.connection.execute(update(table).where(_is(table, whole)).values(dict(whole)))
    else:
        tx.connection.execute(insert(table).values(dict(whole)))


def _completed(
    tx: Transaction, table: Table, values: Mapping[Any, Any]
) -> tuple[dict[str, Any], bool]:
    """The whole row to write, signed; and whether a row of its key is there to be overwritten."""
    view, keys = ledger_of(tx.connection)
    there = tx.connection.execute(select(table).where(_is(table, values))).mappings().first()
    before = row(tx.connection, table, _is(table, values)) if there is not None else None
    version = view.version(subject(table, values))
    whole = {**(_defaults(table) if before is None else before), **values}
    whole["row_version"] = 1 if version is None else version.number + 1
    whole["mac"] = mac_of(keys, table, whole)
    return whole, there is not None


def _defaults(table: Table) -> dict[str, Any]:
    """What a column holds that no one names."""
    return {
        column.name: column.default.arg
        if isinstance(column.default, ScalarElementColumnDefault)
        else None
        for column in table.c
    }


def _is_newest(connection: Connection, view: Ledger | Pending, name: str, mac: str) -> bool:
    version = view.version(name)
    if version is None:
        return False
    if version.mac is not None and hmac.compare_digest(version.mac, mac):
        return True
    if isinstance(view, Ledger) and is_behind(connection, version):  # a writer sees the newest
        raise StaleSnapshot
    return False


def _is(table: Table, key: Mapping[Any, Any]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == key[name] for name in _key(table)))


def _key(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.primary_key)
