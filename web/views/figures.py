"""Figures about the work of reviewers and the use of tools, read from the record. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, case, func, literal_column, select

from approvals.model import Millis
from approvals.record.tables import ApprovalRow, DecisionRow, HistoryTable
from web.views.render import took

DAY: Millis = 86_400_000
NONE = "-"
"""What stands where no rate is shown."""
ENOUGH = 5
"""Decisions below which no rate is shown: it would say more about chance than about people."""
_HASTY: Millis = 3_000
_MOST = 50_000  # approvals one page of figures looks at

_approval = ApprovalRow.__table__  # type: ignore[attr-defined]
_decision = DecisionRow.__table__  # type: ignore[attr-defined]
_history = HistoryTable.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Stat:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Bar:
    day: str
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class TableLine:
    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    name: str
    of: str
    heads: tuple[str, ...]
    rows: tuple[TableLine, ...]


@dataclass(frozen=True, slots=True)
class Insights:
    days: int
    stats: tuple[Stat, ...]
    bars: tuple[Bar, ...]
    tables: tuple[Sheet, ...]


def insights(connection: Connection, now: Millis, days: int = 30) -> Insights:
    """What the last days were like for those who decide."""
    since = now - days * DAY
    held = connection.execute(
        select(
            _approval.c.created_at,
            _approval.c.decided_at,
            _approval.c.state,
            _approval.c.server,
            _approval.c.tool,
            _approval.c.grant_label,
        )
        .where(_approval.c.created_at >= since)
        .order_by(_approval.c.created_at.desc())
        .limit(_MOST)
    ).all()
    votes = connection.execute(
        select(_decision.c.reviewer, _decision.c.choice, _decision.c.at, _approval.c.created_at)
        .join(_approval, _approval.c.id == _decision.c.approval_id)
        .where(_decision.c.at >= since)
        .order_by(_decision.c.at.desc())
        .limit(_MOST)
    ).all()
    return Insights(
        days,
        _stats(held),
        _bars([row.created_at for row in held], now, days),
        (
            _by("By tool", "Tool", held, lambda row: f"{row.tool} on {row.server}"),
            _by("By agent", "Agent", held, lambda row: row.grant_label),
            _by_reviewer(votes),
        ),
    )


Held = Sequence[Any]  # rows of the queries above: SQLAlchemy types them by position only


def _stats(held: Held) -> tuple[Stat, ...]:
    waits = _waits(held)
    return (
        Stat("held", f"{len(held):,}"),
        Stat("approved of those decided", _rate(held)),
        Stat("median time to decide", took(_quantile(waits, 0.5)) or NONE),
        Stat("9 of 10 decided within", took(_quantile(waits, 0.9)) or NONE),
        Stat("expired undecided", _share(held, "expired")),
    )


def _waits(held: Held) -> list[Millis]:
    return sorted(
        row.decided_at - row.created_at
        for row in held
        if row.decided_at is not None and row.state in ("approved", "denied")
    )


def _quantile(ordered: list[Millis], share: float) -> Millis | None:
    if len(ordered) < ENOUGH:
        return None
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _rate(held: Held) -> str:
    decided = sum(row.state in ("approved", "denied") for row in held)
    approved = sum(row.state == "approved" for row in held)
    return f"{100 * approved / decided:.0f} %" if decided >= ENOUGH else NONE


def _share(held: Held, state: str) -> str:
    found = sum(row.state == state for row in held)
    return f"{100 * found / len(held):.0f} %" if len(held) >= ENOUGH else NONE


def _bars(times: list[Millis], now: Millis, days: int) -> tuple[Bar, ...]:
    today = now // DAY
    counts: dict[int, int] = defaultdict(int)
    for at in times:
        counts[at // DAY] += 1
    most = max(counts.values(), default=1)
    width = 700 / days
    bars = []
    for index in range(days):
        day = today - days + 1 + index
        height = round(110 * counts[day] / most, 1)
        name = datetime.fromtimestamp(day * DAY / 1000, UTC).strftime("%Y-%m-%d")
        x = round(index * width + 1, 1)
        bars.append(Bar(name, counts[day], x, round(120 - height, 1), round(width - 2, 1), height))
    return tuple(bars)


def _by(name: str, of: str, held: Held, key: Callable[[Any], str]) -> Sheet:
    groups: dict[str, list[Any]] = defaultdict(list)
    for row in held:
        groups[key(row)].append(row)
    largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:20]
    lines = tuple(
        TableLine(
            label,
            (
                f"{len(rows):,}",
                _rate(rows),
                took(_quantile(_waits(rows), 0.5)) or NONE,
                _share(rows, "expired"),
            ),
        )
        for label, rows in largest
    )
    return Sheet(name, of, ("Held", "Approved", "Median wait", "Expired"), lines)


def _by_reviewer(votes: Held) -> Sheet:
    groups: dict[str, list[Any]] = defaultdict(list)
    for row in votes:
        groups[row.reviewer].append(row)
    lines = []
    for reviewer, rows in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:20]:
        approved = sum(row.choice == "approve" for row in rows)
        hasty = sum(row.at - row.created_at < _HASTY for row in rows)
        enough = len(rows) >= ENOUGH
        lines.append(
            TableLine(
                reviewer,
                (
                    f"{len(rows):,}",
                    f"{100 * approved / len(rows):.0f} %" if enough else NONE,
                    f"{100 * hasty / len(rows):.0f} %" if enough else NONE,
                    str(_streak(rows)),
                ),
            )
        )
    heads = ("Decisions", "Approved", "Under 3 s", "Longest run of approvals")
    return Sheet("By reviewer", "Reviewer", heads, tuple(lines))


def _streak(rows: Held) -> int:
    longest = current = 0
    for row in rows:
        current = current + 1 if row.choice == "approve" else 0
        longest = max(longest, current)
    return longest


@dataclass(frozen=True, slots=True)
class ToolUse:
    """How often a tool was called, held and denied."""

    calls: int = 0
    held: int = 0
    denied: int = 0


def use_of_tools(connection: Connection, now: Millis) -> dict[tuple[str, str], ToolUse]:
    """The last seven days of every tool, by (server, name). Looks at the newest rows only."""
    newest = connection.execute(select(func.max(_history.c.seq))).scalar() or 0
    # A reviewer's denial has an approval; a rule's has none and is a call of its own.
    by_rule = (_history.c.event == "denied") & _history.c.approval_id.is_(None)
    ruled = case((by_rule, literal_column("'by rule'")), else_=_history.c.event)
    rows = connection.execute(
        select(_history.c.server, _history.c.tool, ruled, func.count())
        .where(_history.c.seq > newest - 1_000_000, _history.c.at >= now - 7 * DAY)
        .where(_history.c.event.in_(("allowed", "limited", "held", "denied")))
        .group_by(_history.c.server, _history.c.tool, ruled)
    ).all()
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for server, tool, event, count in rows:
        counts[(server, tool)][event] = count
    return {
        key: ToolUse(
            events.get("allowed", 0)
            + events.get("limited", 0)
            + events.get("held", 0)
            + events.get("by rule", 0),
            events.get("held", 0),
            events.get("denied", 0) + events.get("by rule", 0),
        )
        for key, events in counts.items()
    }


def last_calls(connection: Connection) -> dict[str, Millis]:
    """When each grant last called, by its id. Looks at the newest rows only."""
    newest = connection.execute(select(func.max(_history.c.seq))).scalar() or 0
    rows = connection.execute(
        select(_history.c.grant_id, func.max(_history.c.at))
        .where(_history.c.seq > newest - 200_000, _history.c.tool != "")
        .group_by(_history.c.grant_id)
    ).all()
    return {grant: at for grant, at in rows if grant}
