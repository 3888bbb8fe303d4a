"""The one time rows are signed that no one signed: when a record comes from a schema without MACs.

Anyone who sets the schema back to have his own rows signed is refused: by the mark beside the key,
and by the history, which must be whole and know of no signed row. Not pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, select
from sqlmodel import SQLModel

from approvals.model import Event
from approvals.record import signed
from approvals.record.clock import Clock
from approvals.record.continuity import Continuity
from approvals.record.history import HISTORY, Broken, Head, verify
from approvals.record.keys import Keys, KeyUnusable
from approvals.record.ledger import Ledger, Pending, attach
from approvals.record.memory import Memory, Seen, SeenUnreadable
from approvals.record.migrate import migrate
from approvals.record.proofs import PROOFS
from approvals.record.statements import Statements
from approvals.record.transaction import FIRST_HASH, Batch, Transaction

FIRST_SIGNED: Final = "0006"
"""The revision that gave rows a MAC."""

_AT_ONCE: Final = 200  # rows told by one row of the history


class RecordSetBack(KeyUnusable):
    """The record is older than what this key file has signed in it."""


def bring_up(engine: Engine, keys: Keys, clock: Clock, memory: Memory) -> None:
    """Migrate, and sign what a schema without MACs held, both in one transaction.

    Raises:
        RecordSetBack: it was signed before, or its history is not whole.
        KeyUnusable: the record was made with another key.
    """
    try:
        seen = memory.read()
    except SeenUnreadable as error:
        raise RecordSetBack(str(error)) from error
    pending = Pending(Ledger(keys), Continuity(keys))
    attach(engine, pending, keys)

    def before(connection: Connection, revision: str | None) -> None:
        if revision is not None and revision < FIRST_SIGNED:
            _may_be_signed(connection, keys, seen)

    def after(connection: Connection, revision: str | None) -> None:
        if revision is not None and revision < FIRST_SIGNED:
            _sign_all(connection, pending, keys, clock)

    migrate(engine, before=before, after=after)
    if not seen.signed:
        memory.write(replace(seen, signed=True))


def _may_be_signed(connection: Connection, keys: Keys, seen: Seen) -> None:
    back = "Its rows are not signed a second time: put a newer copy of the database back."
    if seen.signed:
        raise RecordSetBack(f"The record was set back to an older schema. {back}")
    mark = connection.exec_driver_sql("SELECT value FROM setting WHERE key = 'key'").scalar()
    if mark is not None and mark != keys.mark:
        raise KeyUnusable(
            "The record was made with another key file. Put that one into the data folder."
        )


def _sign_all(connection: Connection, pending: Pending, keys: Keys, clock: Clock) -> None:
    found = verify(connection, keys)
    if isinstance(found, Broken):
        raise RecordSetBack(
            f"The record's history is not whole (row {found.seq}: {found.why}), so its people and "
            "agents are not signed. Put back a copy whose history verifies."
        )
    told = connection.execute(
        select(HISTORY.c.seq).where(HISTORY.c.subject.is_not(None)).limit(1)
    ).first()
    if told is not None:
        raise RecordSetBack(
            "The record was set back to an older schema. Its rows are not signed a second time: "
            "put a newer copy of the database back."
        )
    pending.continuity.anchor(found.head, Head(0, FIRST_HASH))
    driver: Any = connection.connection.dbapi_connection
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    tx = Transaction.in_begun(Batch(connection, driver, Statements(mark), clock.now(), keys))
    for table in SQLModel.metadata.sorted_tables:
        proof = PROOFS[table.name]
        if proof.signed:
            _sign(tx, table, ledger=proof.ledger)
    tx.flush()


def _sign(tx: Transaction, table: Table, *, ledger: bool) -> None:
    key = list(table.primary_key)
    rows = tx.connection.execute(select(*key).order_by(*key)).mappings().all()
    kept = [row for row in rows if table.name != "setting" or row["key"].startswith("freeze:")]
    for start in range(0, len(kept), _AT_ONCE):
        made = [signed.sign(tx, table, row) for row in kept[start : start + _AT_ONCE]]
        if ledger:
            signed.tell(tx, made, event=Event(event="rows_signed", actor_kind="gateway"))
