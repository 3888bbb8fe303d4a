"""The days a trial has rows of: what its reviewer-minutes a day are reckoned by."""

from __future__ import annotations

import pytest

from approvals.model import Event, HistoryRow
from gateway.admin.backtest import Reach, Span, Trial
from gateway.policy.backtest import Backtest

DAY = 86_400_000
REACH = Reach(since=3 * DAY, until=10 * DAY)


def trial(*at: int, whole: bool = True) -> Trial:
    span = Span()
    for seq, one in enumerate(at, 1):
        event = Event(event="held", actor_kind="agent")
        span.add(HistoryRow(seq=seq, at=one, event=event, prev_hash="", hash=""))
    outcome = Backtest(
        calls=len(at), newly_held=(), newly_denied=(), newly_passed=(), not_replayed=(), held=28,
        minutes=28.0,
    )  # fmt: skip
    return Trial(outcome=outcome, reach=REACH, span=span, whole=whole)


@pytest.mark.parametrize(
    ("found", "minutes"),
    [
        (trial(3 * DAY, 4 * DAY), 4.0),
        (trial(6 * DAY, 7 * DAY), 7.0),  # the record begins later than it was asked to look
        (trial(3 * DAY, 5 * DAY, whole=False), 14.0),  # it was out of time on the fifth day
        (trial(10 * DAY - 1), 28.0),  # at least a day
    ],
)
def test_minutes_a_day_are_those_of_the_days_it_has_rows_of(found: Trial, minutes: float) -> None:
    assert found.minutes_a_day == minutes
    assert found.days == 7
