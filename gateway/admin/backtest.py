"""A policy tried on the record's own calls: what it would have said to them, for page and commands.

Reads only. `gateway.policy.backtest` judges; here the calls come from the history.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from approvals.model import HistoryRow, Millis
from approvals.record.history import Far
from gateway.admin.replay import Replay, labels, rows_since
from gateway.enforcement.catalogue import Catalogue
from gateway.policy.backtest import Backtest, Past, Rejudged, backtest, said
from gateway.policy.rules import Policy

_DAY: Millis = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far back a trial reads, and how long it may take."""

    since: Millis
    until: Millis  # now: rows written meanwhile count, too
    latest: int | None = None  # of the history, at most so many rows
    deadline: float | None = None  # of `time.monotonic`; later rows are not read
    far: Far | None = None  # is told how many rows were read

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline


@dataclass(slots=True)
class Span:
    """From when to when the rows are that were read; None while there are none."""

    first: Millis | None = None
    last: Millis | None = None

    def add(self, row: HistoryRow) -> None:
        """Take in a row. They come oldest first."""
        self.first = row.at if self.first is None else self.first
        self.last = row.at


@dataclass(frozen=True, slots=True)
class TrialRow:
    """Calls of one tool that are judged otherwise, from one verdict to another by one rule."""

    server: str
    tool: str
    was: str
    now: str
    rule: str
    rows: tuple[int, ...]  # of the history, the earliest first

    @property
    def calls(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a policy said of the calls within its reach. Limits are not replayed."""

    outcome: Backtest
    reach: Reach
    span: Span
    whole: bool  # False: there was more history than it could read in time

    @property
    def days(self) -> int:
        """Of its reach."""
        return (self.reach.until - self.reach.since) // _DAY

    @property
    def minutes_a_day(self) -> float:
        """Reviewer-minutes a day of everything that would be held, over the days it has rows of;
        at least one.
        """
        first, last = self.span.first or 0, self.span.last or 0
        end = self.reach.until if self.whole else last
        return self.outcome.minutes / (max(_DAY, end - max(self.reach.since, first)) / _DAY)

    @property
    def moved(self) -> tuple[Rejudged, ...]:
        """Every call that would be judged otherwise, what closes first."""
        found = self.outcome
        return (*found.newly_denied, *found.newly_held, *found.newly_passed)

    @property
    def rows(self) -> tuple[TrialRow, ...]:
        """The same, by kind."""
        return grouped(self.moved)


def run(
    connection: Connection,
    policy: Policy,
    catalogue: Catalogue,
    trusted: frozenset[str],
    reach: Reach,
    *,
    standing: Policy | None = None,
) -> Trial:
    """Judge the calls of the history again: against what was said to each then; with `standing`,
    against what that policy says, so that only what the new one changes shows. `trusted`: servers
    whose annotations may loosen rules.
    """
    names = labels(connection)
    replay = Replay(policy, catalogue, names, trusted)
    other = Replay(standing, catalogue, names, trusted) if standing is not None else None
    span = Span()

    def past() -> Iterator[Past]:
        for row in rows_since(connection, reach.since, latest=reach.latest, far=reach.far):
            if reach.is_over:
                return
            span.add(row)
            found = replay.past(row)
            if found is not None and other is not None:
                found = _against(other, row, found)
            if found is not None:
                yield found

    outcome = backtest(policy, past())
    whole = span.last is None or not reach.is_over
    return Trial(outcome=outcome, reach=reach, span=span, whole=whole)


def _against(standing: Replay, row: HistoryRow, found: Past) -> Past | None:
    """The call as the standing policy has judged it."""
    before = standing.past(row)
    if before is None:
        return None
    return replace(found, was=said(standing.policy, before) or found.was)


def grouped(moved: Iterable[Rejudged]) -> tuple[TrialRow, ...]:
    """Calls with the same tool, verdicts and rule as one row, the most calls first."""
    groups: dict[tuple[str, str, str, str, str], list[int]] = {}
    for one in moved:
        call, ruling = one.past.call, one.now.ruling
        key = (call.server, call.tool, one.past.was, type(one.now).__name__.lower(), ruling.rule)
        groups.setdefault(key, []).append(one.past.seq)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return tuple(TrialRow(*key, rows=tuple(sorted(rows))) for key, rows in ordered)
