"""Someone with an account of the database, its owner's even, and no key. Not a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, Executable, RowMapping, Table, insert, select, text, update

from approvals.record.engines import parse, writer_engine


class Intruder:
    """Reads and writes every table behind the gateway's back."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = writer_engine(parse(url), migrating=True)

    def does(self, *statements: Executable) -> None:
        """Run the statements, in one transaction."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            for statement in statements:
                connection.execute(statement)
            connection.exec_driver_sql("COMMIT")

    def says(self, *statements: str) -> None:
        self.does(*(text(statement) for statement in statements))

    def reads(self, table: Table, **equal: Any) -> list[RowMapping]:
        wanted = [table.c[name] == value for name, value in equal.items()]
        with self._engine.connect() as connection:
            return list(connection.execute(select(table).where(*wanted)).mappings().all())

    def puts_back(self, table: Table, row: Mapping[Any, Any]) -> None:
        """The row as it was, in place of the one of its key."""
        key = {column.name: row[column.name] for column in table.primary_key}
        same = [table.c[name] == value for name, value in key.items()]
        there = self.reads(table, **key)
        values = dict(row)
        self.does(
            update(table).where(*same).values(values) if there else insert(table).values(values)
        )

    def opens_the_history(self) -> None:
        """Take away what keeps the history append-only."""
        if self._engine.dialect.name == "sqlite":
            self.says("DROP TRIGGER history_no_update", "DROP TRIGGER history_no_delete")
        else:
            self.says("DROP TRIGGER history_append_only ON history")

    def leaves(self) -> None:
        self._engine.dispose()
