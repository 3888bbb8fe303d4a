"""Which version of each signed row is the newest: the history's word, folded and kept in memory.

Rows of the history with a subject form a chain of their own inside the history's: each names the
hash of the one before (`after`). So a row that was taken out, altered or put elsewhere shows, and
an older version of a signed row that is put back is not the one the ledger names. Not pure.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine, select, text

from approvals.model import Millis
from approvals.record.continuity import Continuity
from approvals.record.history import HISTORY, Head, authentic, head
from approvals.record.keys import Keys
from approvals.record.tables import LEDGER
from approvals.record.transaction import FIRST_HASH

RESTARTED: Final = "history"
"""The subject of the row an operator appends to go on after rows were lost: it follows none."""

_OPTION: Final = "signoff_ledger"
_COLUMNS: Final = list(HISTORY.c)


class StaleSnapshot(Exception):
    """The reader's snapshot is older than what this process knows by now: read again."""


@dataclass(frozen=True, slots=True)
class Version:
    """The newest version of a signed row: its number and its MAC, None once it is gone; when the
    history said so, and the seq of its row.
    """

    number: int
    mac: str | None
    at: Millis
    seq: int


class Ledger:
    """The newest versions as of a place in the history. One per open record, shared by threads."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._versions: dict[str, Version] = {}
        self.seq = 0
        self.last = ""
        """The hash of the newest row that was folded."""
        self.trouble: str | None = None
        """What is wrong with the history's rows about signed rows: while there is something, no
        signed row counts.
        """

        self.behind: str | None = None
        """Why the whole history is not believed: it went back. See `watch`."""

    @property
    def halted(self) -> str | None:
        """Why nothing may be executed."""
        return self.behind or self.trouble

    def catch_up(self, connection: Connection) -> None:
        """Fold what was appended since."""
        with self._lock:
            rows = connection.execute(
                select(*_COLUMNS)
                .where(text(LEDGER), HISTORY.c.seq > self.seq)
                .order_by(HISTORY.c.seq)
            )
            for row in rows:
                self._fold(tuple(row))

    def wrote(self, versions: Mapping[str, Version], after: str, last: Head) -> None:
        """This process told of these versions itself, in rows that go on from `after` and are on
        disk: they count although someone takes the rows away again before they are folded.
        """
        with self._lock:
            if last.seq > self.seq and after == self.last and RESTARTED not in versions:
                self._versions.update(versions)
                self.seq, self.last = last.seq, last.hash

    @property
    def head(self) -> Head:
        """The newest row that was folded."""
        return Head(self.seq, self.last or FIRST_HASH)

    def distrust(self, why: str) -> None:
        """From now on no signed row counts, until an operator goes on with the record."""
        with self._lock:
            self.trouble = self.trouble or why

    def version(self, subject: str) -> Version | None:
        """The newest version of this row; None if the history never told of it."""
        return self._versions.get(subject)

    def of_table(self, table: str) -> Iterable[tuple[str, Version]]:
        """Subjects of one table, with their versions."""
        prefix = f'["{table}",'
        return [found for found in self._versions.items() if found[0].startswith(prefix)]

    def _fold(self, row: tuple[Any, ...]) -> None:
        if not authentic(row, self._keys):
            # Not ours, so no part of the chain; what it may stand in for is missing below.
            self.trouble = self.trouble or f"Row {row[0]} of the history is not what was written."
            return
        told = json.loads(row[-4])
        if row[-3] == RESTARTED:
            self.trouble = None
        elif told["after"] != self.last:
            self.trouble = self.trouble or (
                f"Rows of the history before row {row[0]}, about people, agents or tools, are gone."
            )
        self.seq, self.last = row[0], row[-1]
        for subject, number, mac in told["rows"]:
            self._versions[subject] = Version(number, mac, row[1], row[0])


class Pending:
    """The ledger as the writer sees it: with what its batch has appended and not committed."""

    def __init__(self, ledger: Ledger, continuity: Continuity) -> None:
        self.ledger = ledger
        self.continuity = continuity
        self._versions: dict[str, Version] = {}
        self._after = ""
        self._last: Head | None = None

    def clear(self) -> None:
        """A batch begins: what an earlier one appended is committed, or never was."""
        if self._last is not None:
            self._versions = {}
            self._last = None

    def committed(self, base: Head, end: Head, last: Mapping[str, int]) -> None:
        """A batch that went on from `base` is on disk up to `end`."""
        if self._last is not None:
            self.ledger.wrote(self._versions, self._after, self._last)
        self.continuity.wrote(base, end, last, self._last)

    @property
    def head(self) -> Head:
        """The newest row with a subject."""
        return self.ledger.head if self._last is None else self._last

    @property
    def last(self) -> str:
        """Its hash; "" while there is none."""
        return self.ledger.last if self._last is None else self._last.hash

    def add(self, versions: Mapping[str, Version], last: Head) -> None:
        """What the batch tells of signed rows, and the row that does."""
        if self._last is None:
            self._after = self.ledger.last
        self._versions.update(versions)
        self._last = last

    def version(self, subject: str) -> Version | None:
        return self._versions.get(subject) or self.ledger.version(subject)

    def of_table(self, table: str) -> Iterable[tuple[str, Version]]:
        found = dict(self.ledger.of_table(table))
        prefix = f'["{table}",'
        found.update(one for one in self._versions.items() if one[0].startswith(prefix))
        return list(found.items())


def attach(engine: Engine, ledger: Ledger | Pending, keys: Keys) -> None:
    """From now on anyone who reads on this engine finds the ledger, and the key of the MACs."""
    engine.update_execution_options(**{_OPTION: (ledger, keys)})


def ledger_of(connection: Connection) -> tuple[Ledger | Pending, Keys]:
    """The ledger of the record this connection belongs to, as of now.

    Raises:
        LookupError: the connection was not opened by `Database`.
    """
    found = connection.get_execution_options().get(_OPTION)
    if found is None:
        raise LookupError("A signed row is read on a connection of `Database` only.")
    view, keys = cast("tuple[Ledger | Pending, Keys]", found)
    folded = view.ledger if isinstance(view, Pending) else view
    folded.catch_up(connection)
    return view, keys


def halted(connection: Connection) -> str | None:
    """Why nothing may be executed on this record now; None if nothing is wrong with it."""
    view, _ = ledger_of(connection)
    return halted_of(view)


def halted_of(view: Ledger | Pending) -> str | None:
    """The same: no signed row counts either."""
    return view.ledger.halted if isinstance(view, Pending) else view.halted


def is_behind(connection: Connection, version: Version) -> bool:
    """Whether this snapshot was taken before the row that tells of the version was there."""
    return head(connection).seq < version.seq
