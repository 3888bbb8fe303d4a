"""What this process knows to lie in the history without a gap: what it read, row by row and against
the chain's key, and what it wrote itself.

From it follows, without reading the rows again, that nothing of an approval stands behind a row,
and that the ledger lacks none of its rows. Rows are read by the threads that read; the writer
reads a few at most, for no agent's call is recorded meanwhile. Not pure.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from approvals.record.history import Head, authentic, head, walk
from approvals.record.keys import Keys
from approvals.record.statements import COLUMNS

_APPROVAL_ID: Final = COLUMNS.index("approval_id")
_SUBJECT: Final = COLUMNS.index("subject")
_MOST_TOUCHED: Final = 100_000  # approvals a stretch keeps
_IN_WRITER: Final = 250  # rows the writer may read for one answer: about 2 ms
_TRIES: Final = 3  # a thread that reads may move the stretch meanwhile


class Unproven(Exception):
    """More rows have to be read than the writer may: others read those after `seq`, then again."""

    def __init__(self, seq: int) -> None:
        super().__init__(seq)
        self.seq = seq


@dataclass(slots=True)
class Stretch:
    """Rows that follow each other: the row before the first of them, and the last of them."""

    start: Head
    end: Head
    last: dict[str, int] = field(default_factory=dict)
    """The seq of the newest row of each approval among them."""
    told: Head | None = None
    """The newest row with a subject."""

    def go_on(self, end: Head, last: Mapping[str, int], told: Head | None) -> None:
        """Rows that follow its last."""
        self.end = end
        self.last.update(last)
        self.told = told or self.told


class Continuity:
    """One per open record, shared by threads."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._proven: Stretch | None = None
        self._own: Stretch | None = None
        """What this process wrote without a gap, behind rows of others that no one has read yet."""

    @property
    def anchored(self) -> bool:
        return self._proven is not None

    def anchor(self, place: Head, told: Head) -> None:
        """Everything up to this row is proven, and `told` is the newest of them with a subject."""
        with self._lock:
            self._proven = Stretch(place, place, told=told)
            self._join()

    def forget(self) -> None:
        with self._lock:
            self._proven = None

    def position(self) -> tuple[Head, Head] | None:
        """The last proven row, and the newest of them with a subject; None: nothing is proven."""
        with self._lock:
            proven = self._proven
            if proven is None or proven.told is None:
                return None
            return proven.end, proven.told

    def wrote(self, base: Head, end: Head, last: Mapping[str, int], told: Head | None) -> None:
        """A batch of this process that went on from `base` is on disk up to `end`."""
        with self._lock:
            proven, own = self._proven, self._own
            if proven is not None and proven.end == base:
                self._own = None
                proven.go_on(end, last, told)
                _bound(proven)
                return
            if own is None or own.end != base or len(own.last) > _MOST_TOUCHED:
                own = self._own = Stretch(base, base)
            own.go_on(end, last, told)
            self._join()

    def advance(self, connection: Connection) -> str | None:
        """Read what others wrote since; why it is not what was written, None if it is."""
        newest = head(connection).seq
        with self._lock:
            proven = self._proven
            if proven is None:
                return None
            end, upto = proven.end, self._unread(newest)
        if upto <= end.seq:
            return None
        piece = _read(connection, self._keys, end, upto)
        if isinstance(piece, str):
            return piece
        with self._lock:
            if self._proven is proven and proven.end == end:
                proven.go_on(piece.end, piece.last, piece.told)
                _bound(proven)
                self._join()
        return None

    def cover(self, connection: Connection, seq: int) -> str | None:
        """Read every row after `seq` that is not proven yet; why they are not what was written."""
        why = self.advance(connection)
        proven = self._proven
        if why is not None or proven is None:
            return why
        start = proven.start
        if seq >= start.seq:
            return None
        piece = _read(connection, self._keys, Head(seq, ""), start.seq)
        if isinstance(piece, str):
            return piece
        if piece.end != start:
            return f"Row {start.seq} of the history is not the one that was there."
        with self._lock:
            if proven.start == start:
                proven.start = piece.start
                for approval, newest in piece.last.items():
                    proven.last.setdefault(approval, newest)
        return None

    def reach(self, connection: Connection, upto: Head, *, patient: bool) -> str | None:
        """Prove everything up to the history's head; why it cannot be.

        Raises:
            Unproven: that takes reading many rows, and the writer is not `patient`.
        """
        for _ in range(_TRIES):
            with self._lock:
                proven = self._proven
                if proven is None:
                    return "Nothing of the history is proven."
                end = proven.end
                ahead = self._unread(upto.seq) - end.seq
            if end == upto:
                return None
            if end.seq >= upto.seq:
                break
            if not patient and ahead > _IN_WRITER:
                raise Unproven(end.seq)
            why = self.advance(connection)
            if why is not None:
                return why
        return f"Row {upto.seq} of the history is not the one that was there."

    def is_last(
        self, connection: Connection, approval_id: str, seq: int, *, upto: Head, patient: bool
    ) -> bool:
        """Whether no row of the approval stands behind this one, up to the history's head.

        Raises:
            Unproven: that takes reading many rows, and the writer is not `patient`.
        """
        for _ in range(_TRIES):
            with self._lock:
                proven = self._proven
                if proven is None:
                    break
                start, end, newest = proven.start, proven.end, proven.last.get(approval_id)
                ahead = self._unread(upto.seq) - end.seq
            if end.seq > upto.seq or (newest or 0) > seq:
                return False
            before = max(0, start.seq - seq)
            if end == upto and not before:
                return seq in (newest, start.seq)
            if not patient and ahead + before > _IN_WRITER:
                raise Unproven(seq)
            if self.cover(connection, seq) is not None:
                return False
        else:
            return False
        if not patient and upto.seq - seq > _IN_WRITER:
            raise Unproven(seq)
        piece = _read(connection, self._keys, Head(seq, ""), upto.seq)
        return not isinstance(piece, str) and piece.end == upto and approval_id not in piece.last

    def _unread(self, newest: int) -> int:
        """Up to which row there is something to read: what this process wrote it knows."""
        own, proven = self._own, self._proven
        if own is None or proven is None or not proven.end.seq <= own.start.seq <= newest:
            return newest
        return own.start.seq

    def _join(self) -> None:
        """What this process wrote goes on from what is proven."""
        proven, own = self._proven, self._own
        if proven is None or own is None or proven.end.seq < own.start.seq:
            return
        self._own = None
        same_row = proven.end == own.start or proven.end.seq > own.start.seq
        if not same_row or proven.end.seq >= own.end.seq:
            return
        newer = {key: max(seq, proven.last.get(key, 0)) for key, seq in own.last.items()}
        proven.go_on(own.end, newer, own.told)
        _bound(proven)


def _bound(stretch: Stretch) -> None:
    if len(stretch.last) > _MOST_TOUCHED:
        stretch.start, stretch.last = stretch.end, {}


def _read(connection: Connection, keys: Keys, after: Head, upto: int) -> Stretch | str:
    """The rows after one, up to another; text: which is not there, or not what was written. An
    empty hash of `after` is not compared.
    """
    piece = Stretch(after, after)
    expected, before = after.seq + 1, after.hash
    for row in walk(connection, start=expected, end=upto):
        if row[0] != expected:
            return f"Row {expected} of the history is gone."
        if before and row[-2] != before:
            return f"Row {expected} of the history does not follow the one before it."
        if not authentic(row, keys):
            return f"Row {expected} of the history is not what was written."
        if not before:
            piece.start = Head(after.seq, row[-2])
        if row[_APPROVAL_ID] is not None:
            piece.last[row[_APPROVAL_ID]] = expected
        if row[_SUBJECT] is not None:
            piece.told = Head(expected, row[-1])
        expected, before = expected + 1, row[-1]
    if expected != upto + 1:
        return f"Row {expected} of the history is gone."
    piece.end = Head(upto, before)
    return piece
