"""Anyone who waits for a turn has not failed: it costs no try, no rest, and no one else's time."""

from __future__ import annotations

import pytest

from approvals.outbox import Notice
from approvals.outbox_worker import MOST_TRIES, NotYet, Outbox
from approvals.slack.pacing import UPDATES, Lanes
from tests.support.record import HandClock, Record


class Patient:
    """A notifier whose turn comes after so many calls."""

    def __init__(self, calls: int) -> None:
        self.left = calls
        self.told: list[Notice] = []

    async def sync(self, delivery: Notice) -> None:
        self.left -= 1
        if self.left >= 0:
            raise NotYet("later", after=2.0)
        self.told.append(delivery)


async def test_what_waits_for_its_turn_is_never_given_up(record: Record) -> None:
    patient = Patient(3 * MOST_TRIES)
    outbox = Outbox(record.database, {"slack": patient}, clock=record.clock)
    await outbox.enlist()
    approved = record.approved()
    for _ in range(3 * MOST_TRIES):
        assert await outbox.round("slack") == 0  # no rest: other approvals may have their turn
        record.clock.pass_(seconds=1.9)
        await outbox.round("slack")
        record.clock.pass_(seconds=0.1)
    assert patient.told == []
    await outbox.round("slack")
    assert [(one.kind, one.tries) for one in patient.told] == [("held", 1), ("approved", 1)]
    assert {one.approval_id for one in patient.told} == {approved.id}


async def test_a_channel_has_one_message_a_second_and_others_do_not_wait_for_it() -> None:
    clock = HandClock()
    lanes = Lanes(clock, gap=1_000, patience=0)
    await lanes.turn("post C1")
    with pytest.raises(NotYet) as early:
        await lanes.turn("post C1")
    assert early.value.after == 1.0
    await lanes.turn("post C2")
    for _ in range(3):
        await lanes.turn(UPDATES)
    clock.pass_(seconds=1)
    await lanes.turn("post C1")


async def test_a_closed_lane_opens_when_its_time_is_over() -> None:
    clock = HandClock()
    lanes = Lanes(clock, gap=0, patience=0)
    lanes.close(UPDATES, 30)
    lanes.close(UPDATES, 5)
    clock.pass_(seconds=29)
    with pytest.raises(NotYet):
        await lanes.turn(UPDATES)
    clock.pass_(seconds=1)
    await lanes.turn(UPDATES)
