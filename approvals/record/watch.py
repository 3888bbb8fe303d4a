"""Whether the record went back behind what this installation has seen of it, or lacks rows of its
history since. Not pure.

Looked at each second by a gateway, kept beside the key each minute and when a process ends. While
it did, nothing is executed: what a set-back record says was approved, or is not frozen, may have
been used, or thawed, since.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, select

from approvals.record.continuity import Continuity
from approvals.record.history import HISTORY, Head, authentic, head
from approvals.record.keys import Keys
from approvals.record.ledger import Ledger, ledger_of
from approvals.record.memory import Memory, Seen

WAY_OUT: Final = (
    "If you put an older copy back yourself, say so: signoff history accept. If not, someone "
    "changed the database."
)


class Watch:
    """One per open record."""

    def __init__(self, memory: Memory, keys: Keys, ledger: Ledger, continuity: Continuity) -> None:
        self._memory = memory
        self._keys = keys
        self._ledger = ledger
        self._continuity = continuity
        self._lock = threading.Lock()
        self._seen = Seen()
        self._kept = self._seen = memory.read()

    @property
    def head(self) -> Head:
        """How far the history was seen to go."""
        return self._seen.head

    @property
    def trouble(self) -> str | None:
        """Why nothing may be executed, as of the last look; None if everything is in order."""
        found = self._ledger.halted
        return None if found is None else f"{found} {WAY_OUT}"

    def look(self, connection: Connection) -> str | None:
        """Compare the record with what was seen of it; `trouble` as it is then."""
        ledger_of(connection)  # catches up
        with self._lock:
            self._ledger.behind = self._compared(connection)
            if self._ledger.trouble is not None:
                self._continuity.forget()
            elif self._ledger.behind is None:
                self._prove(connection)
        return self.trouble

    def keep(self) -> None:
        """Write down how far the history went, unless another process has seen more of it.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            seen = self._seen
            if self._memory.path is None or self.trouble is not None or seen == self._kept:
                return
            before = self._memory.read()
            if before.told is None or before.head.seq < seen.head.seq:
                self._memory.write(replace(seen, signed=True))
            self._kept = seen

    def accept(self, connection: Connection) -> Head:
        """The operator says that the record as it stands is the one to go on with; its head.

        Raises:
            OSError: that cannot be written down.
        """
        ledger_of(connection)
        with self._lock:
            self._seen = self._kept = Seen(
                signed=True, head=head(connection), told=self._ledger.head
            )
            self._continuity.forget()
            self._ledger.behind = None
            self._memory.write(self._seen)
            return self._seen.head

    def _compared(self, connection: Connection) -> str | None:
        seen = self._seen.head
        if seen.seq:
            there = connection.execute(
                select(HISTORY.c.hash).where(HISTORY.c.seq == seen.seq)
            ).scalar()
            if there is None:
                return f"The history ends before row {seen.seq}, which was there."
            if there != seen.hash:
                return f"Row {seen.seq} of the history is not the one that was there."
        last = connection.execute(
            select(*HISTORY.c).order_by(HISTORY.c.seq.desc()).limit(1)
        ).first()
        if last is not None and last.seq > seen.seq and not authentic(tuple(last), self._keys):
            return f"Row {last.seq} of the history, its last, is not what was written."
        return None

    def _prove(self, connection: Connection) -> None:
        """Read what was not read yet, so that the newest row about a signed row is known to be the
        newest: no signed row counts else.
        """
        why = None if self._continuity.anchored else self._anchored()
        why = why or self._continuity.advance(connection)
        position = self._continuity.position()
        if why is None and position is not None:
            end, told = position
            newest = self._ledger.head
            if told.seq <= newest.seq and (told == newest or told.seq < newest.seq):
                if end.seq >= self._seen.head.seq:
                    self._seen = replace(self._seen, head=end, told=told)
                return
            why = _gone(told.seq)
        if why is not None:
            self._continuity.forget()
            self._ledger.distrust(why)

    def _anchored(self) -> str | None:
        """Begin at the newest row about a signed row, for it proves all others before it; or at
        what was seen last, if that is later and no such row came in between.
        """
        seen, newest = self._seen, self._ledger.head
        place = newest
        if seen.told is not None and seen.head.seq >= newest.seq:
            if seen.told != newest:
                return _gone(seen.told.seq)
            place = seen.head
        self._continuity.anchor(place, newest)
        return None


def _gone(seq: int) -> str:
    return f"Row {seq} of the history, about people, agents or tools, is gone."
