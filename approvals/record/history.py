"""The history: read, searched page by page, and verified. Rows are added by `Transaction.append`.

hash = HMAC-SHA256(history key, prev_hash + JSON list of the row's fields), so a row cannot be
changed, removed, added or moved without the key; `verify` walks the chain in flat memory. Not pure.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Table, TextClause, func, or_, select, text
from sqlmodel import SQLModel

from approvals.model import Event, HistoryRow, Millis
from approvals.record.keys import Keys
from approvals.record.tables import RARE, ApprovalRow, HistoryTable
from approvals.record.transaction import FIRST_HASH
from approvals.record.verify import Meaning

APPROVAL: Final[Table] = SQLModel.metadata.tables[str(ApprovalRow.__tablename__)]
HISTORY: Final[Table] = SQLModel.metadata.tables[str(HistoryTable.__tablename__)]

Far = Callable[[int, int], None]
"""Is told how many rows were looked through, and of how many, by whatever walks the history."""

_NAMES: Final = tuple(column.name for column in HISTORY.c)
_COMMON: Final = ("allowed", "succeeded")  # the events RARE leaves out
_TOLD_AS: Final = {"deny": "denied", "limited": "limited"}  # verdicts that one event tells, alone
_BUDGET: Final = 0.12  # seconds one page may search; then it says how far it got
_COUNTING: Final = 0.25  # seconds counting may take
_STRIDE: Final = 2_000  # seqs looked through before the first look at the time
_STEP: Final = 0.03  # seconds the next stride shall take
_FASTER: Final = 4  # times longer than the last one that a stride may be
_CHUNK: Final = 2_000  # rows held at once by anyone who walks the history


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which rows, newest first. Empty text and None do not filter; `text` searches what people
    typed or read: tool, arguments, reason, rule and actor, ignoring ASCII case.
    """

    grant: str = ""
    tool: str = ""
    server: str = ""
    rule: str = ""
    verdict: str = ""
    event: str = ""
    outcome: str = ""
    actor: str = ""
    digest: str = ""  # of the call or of its arguments
    approval_id: str = ""
    since: Millis | None = None  # inclusive
    until: Millis | None = None  # exclusive
    text: str = ""
    before: int | None = None  # cursor: rows with a smaller seq
    limit: int = 100

    @property
    def filters(self) -> dict[str, str | int]:
        """What is asked for, without cursor and size: as an export states it."""
        found = {
            "grant": self.grant,
            "tool": self.tool,
            "server": self.server,
            "rule": self.rule,
            "verdict": self.verdict,
            "event": self.event,
            "outcome": self.outcome,
            "actor": self.actor,
            "digest": self.digest,
            "approval_id": self.approval_id,
            "since": self.since,
            "until": self.until,
            "text": self.text,
        }
        return {name: value for name, value in found.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Rows newest first. `next` is the cursor of the page after; None at the end of the history.

    A rare filter over millions of rows ends a page early, even empty, rather than late: `reached`
    is then the time back to which everything was searched, and `next` goes on from there. It is
    None for a page that is full or the last.
    """

    rows: tuple[HistoryRow, ...]
    next: int | None
    reached: Millis | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of a history, as told to someone outside: truncation shows against it."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Intact:
    """Every row is where and what it was; the head to keep."""

    rows: int
    head: Head


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row that is not what was written, and what is wrong with it."""

    seq: int
    why: str


def head(connection: Connection) -> Head:
    """The last row; seq 0 and the first hash while there is none."""
    row = connection.execute(
        select(HISTORY.c.seq, HISTORY.c.hash).order_by(HISTORY.c.seq.desc()).limit(1)
    ).first()
    return Head(0, FIRST_HASH) if row is None else Head(row.seq, row.hash)


def search(connection: Connection, query: HistoryQuery, *, seconds: float = _BUDGET) -> HistoryPage:
    """One page, after searching for so many seconds at most, however many rows there are."""
    top = head(connection).seq + 1 if query.before is None else query.before
    bottom = 1
    if query.since is not None:
        bottom = _first_at(connection, query.since)
    if query.until is not None:
        top = min(top, _first_at(connection, query.until))
    wanted = conditions(connection, query)
    began = time.monotonic()
    stride = _STRIDE if wanted else top
    rows: list[HistoryRow] = []
    while top > bottom:
        low, started = max(bottom, top - stride), time.monotonic()
        found = connection.execute(
            select(HISTORY)
            .where(HISTORY.c.seq < top, HISTORY.c.seq >= low, *wanted)
            .order_by(HISTORY.c.seq.desc())
            .limit(query.limit - len(rows))
        )
        rows.extend(row_of(tuple(row)) for row in found)
        if len(rows) == query.limit:
            return HistoryPage(tuple(rows), rows[-1].seq if rows[-1].seq > bottom else None)
        top, now = low, time.monotonic()
        if now - began > seconds - _STEP:
            break
        stride = max(_STRIDE, int(stride * min(_FASTER, _STEP / max(now - started, 1e-6))))
    if top <= bottom:
        return HistoryPage(tuple(rows), None)
    return HistoryPage(tuple(rows), top, _at(connection, top))


def count_matching(
    connection: Connection, query: HistoryQuery, *, seconds: float = _COUNTING
) -> int | None:
    """How many rows a query has, its cursor apart; None when so many seconds do not suffice."""
    newest = head(connection).seq
    bottom = 1 if query.since is None else _first_at(connection, query.since)
    top = newest + 1 if query.until is None else _first_at(connection, query.until)
    wanted = conditions(connection, query)
    if not wanted:
        return max(0, min(top, newest + 1) - bottom)
    found, stride, began = 0, _STRIDE, time.monotonic()
    while top > bottom:
        low, started = max(bottom, top - stride), time.monotonic()
        here = select(func.count()).where(HISTORY.c.seq < top, HISTORY.c.seq >= low, *wanted)
        found += int(connection.execute(here).scalar_one())
        top, now = low, time.monotonic()
        if now - began > seconds and top > bottom:
            return None
        stride = max(_STRIDE, int(stride * min(_FASTER, _STEP / max(now - started, 1e-6))))
    return found


def conditions(
    connection: Connection, query: HistoryQuery
) -> list[ColumnElement[bool] | TextClause]:
    """The query's filters; its times, cursor and size are not among them."""
    event = _event(query)
    equal = {
        "grant_id": query.grant,
        "tool": query.tool,
        "server": query.server,
        "rule": query.rule,
        "verdict": query.verdict,
        "event": event,
        "outcome": query.outcome,
        "actor": query.actor,
        "approval_id": query.approval_id,
    }
    found: list[ColumnElement[bool] | TextClause] = [
        HISTORY.c[name] == value for name, value in equal.items() if value
    ]
    if event and event not in _COMMON:
        found.append(text(RARE))
    if query.digest:
        found.append(_about(connection, query.digest))
    if query.text:
        columns = ("tool", "arguments", "reason", "rule", "actor", "grant_id")
        found.append(
            or_(*(HISTORY.c[name].icontains(query.text, autoescape=True) for name in columns))
        )
    return found


def _event(query: HistoryQuery) -> str:
    """The event asked for, also where only its verdict is: events are found by an index."""
    return query.event or _TOLD_AS.get(query.verdict, "")


def _about(connection: Connection, digest: str) -> ColumnElement[bool]:
    """Rows that carry the digest, and all rows of approvals that carry it."""
    ids = (
        connection.execute(
            select(APPROVAL.c.id)
            .where(or_(APPROVAL.c.digest == digest, APPROVAL.c.asked == digest))
            .limit(200)
        )
        .scalars()
        .all()
    )
    carried = or_(
        HISTORY.c.presented_digest == digest,
        HISTORY.c.arguments_digest == digest,
        HISTORY.c.result_digest == digest,
    )
    return or_(carried, HISTORY.c.approval_id.in_(ids)) if ids else carried


def _at(connection: Connection, seq: int) -> Millis | None:
    return connection.execute(select(HISTORY.c.at).where(HISTORY.c.seq == seq)).scalar_one_or_none()


def _first_at(connection: Connection, at: Millis) -> int:
    """The smallest seq whose row is not before `at`: a search by halves, for seq follows time."""
    low, high = 1, head(connection).seq + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(
            select(HISTORY.c.at).where(HISTORY.c.seq == middle)
        ).scalar_one_or_none()
        if found is None or found < at:
            low = middle + 1
        else:
            high = middle
    return low


def row_of(row: tuple[Any, ...]) -> HistoryRow:
    """A row of the table, columns in their order."""
    return HistoryRow(
        seq=row[0],
        at=row[1],
        event=Event._make((*row[2:-2], row[1])),
        prev_hash=row[-2],
        hash=row[-1],
    )


def walk(
    connection: Connection,
    *,
    start: int = 1,
    end: int | None = None,
    where: Iterable[ColumnElement[bool] | TextClause] = (),
    far: Far | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Raw rows in order, a chunk at a time, columns in the table's order."""
    after, filters = start - 1, tuple(where)
    upto = head(connection).seq if end is None else end
    while True:
        chunk = connection.execute(
            select(HISTORY)
            .where(HISTORY.c.seq > after, HISTORY.c.seq <= upto, *filters)
            .order_by(HISTORY.c.seq)
            .limit(_CHUNK)
        ).all()
        for row in chunk:
            yield tuple(row)
        after = chunk[-1].seq if len(chunk) == _CHUNK else upto
        if far is not None and upto >= start:
            far(after - start + 1, upto - start + 1)
        if after >= upto:
            return


def matching(
    connection: Connection, query: HistoryQuery, *, far: Far | None = None
) -> Iterator[tuple[Any, ...]]:
    """Every raw row the query's filters and times let through, oldest first; for exports."""
    return walk(
        connection,
        start=1 if query.since is None else _first_at(connection, query.since),
        end=None if query.until is None else _first_at(connection, query.until) - 1,
        where=conditions(connection, query),
        far=far,
    )


def hashed(row: tuple[Any, ...]) -> bytes:
    """What the row's hash is made over: its predecessor's hash, then its fields as a JSON list,
    the subject only where there is one.

    The standard library's JSON, on purpose: anyone who verifies has no other.
    """
    told = row[:-2] if row[-3] is not None else row[:-3]
    fields = json.dumps(list(told), ensure_ascii=False, separators=(",", ":"))
    return str(row[-2]).encode() + fields.encode()


def authentic(row: tuple[Any, ...], keys: Keys) -> bool:
    """Whether the holder of the key wrote exactly this row, at this place."""
    try:
        return _made(keys, _hashed_fast(row), row) or _made(keys, hashed(row), row)
    except UnicodeEncodeError:
        return False


def _made(keys: Keys, told: bytes, row: tuple[Any, ...]) -> bool:
    step = keys.chain.copy()
    step.update(told)
    return hmac.compare_digest(step.hexdigest(), str(row[-1]))


def _hashed_fast(row: tuple[Any, ...]) -> bytes:
    """As `hashed`, by what `Transaction.append` writes with; empty where that cannot say it."""
    try:
        return str(row[-2]).encode() + orjson.dumps(row[:-2] if row[-3] is not None else row[:-3])
    except TypeError:
        return b""


def verify(
    connection: Connection,
    keys: Keys,
    *,
    start: int = 1,
    end: int | None = None,
    against: Head | None = None,
    far: Far | None = None,
) -> Intact | Broken:
    """Whether every row from `start` to `end` is what and where it was written; and, of the whole
    history, whether what they say together holds, as the exported verify.py reads it.

    `against` is a head exported earlier: without one, rows cut off the end cannot be missed.
    """
    previous = FIRST_HASH if start == 1 else _hash_at(connection, start - 1)
    expected = start
    meaning = Meaning()
    for row in walk(connection, start=start, end=end, far=far):
        if row[0] != expected:
            return Broken(expected, "The row is missing.")
        if row[-2] != previous:
            return Broken(expected, "The row does not follow its predecessor.")
        if not authentic(row, keys):
            return Broken(expected, "The row is not what was written.")
        if against is not None and row[0] == against.seq and row[-1] != against.hash:
            return Broken(expected, "The row is not the head that was exported.")
        if start == 1:
            meaning.take(dict(zip(_NAMES, row, strict=True)))
            if meaning.problems:
                return Broken(expected, meaning.problems[0].partition(": ")[2] + ".")
        previous = row[-1]
        expected += 1
    last = expected - 1
    if against is not None and last < against.seq and (end is None or end >= against.seq):
        return Broken(expected, "Rows are missing up to the head that was exported.")
    if end is not None and last < end:
        return Broken(expected, "The row is missing.")
    return Intact(expected - start, Head(last, str(previous)))


def _hash_at(connection: Connection, seq: int) -> str | None:
    found = connection.execute(
        select(HISTORY.c.hash).where(HISTORY.c.seq == seq)
    ).scalar_one_or_none()
    return None if found is None else str(found)


def count(connection: Connection) -> int:
    """How many rows there are; equal to the head's seq, or rows are missing."""
    return int(connection.execute(select(func.count()).select_from(HISTORY)).scalar_one())
