"""Slack fails in every way it can: nothing is lost, nothing is posted twice, and it is said."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from approvals.model import Choice, State, Terms
from approvals.outbox import LEASE
from approvals.record.database import Database
from approvals.slack import messages
from tests.slack.desk import actions, desk, opened
from tests.support.fake_slack.message import Fault, broken, busy, dropped, says, slow
from tests.support.fake_slack.workspace import EVERYTHING
from tests.support.patience import PATIENCE
from tests.support.record import BOB, KEYS, Record

HISTORY = frozenset(("channels:history", "groups:history", "im:history"))
LONG = Terms(expires=4 * 3_600)


async def test_slack_down_for_an_hour_loses_nothing_and_decides_nothing(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        first = record.hold({"n": 1}, terms=LONG)
        await here.now_told()
        here.slack.down = True
        second = record.hold({"n": 2}, terms=LONG)
        third = record.hold({"n": 3}, terms=LONG)
        record.decide(first, BOB, Choice.DENY)  # on the page, which needs no Slack
        record.decide(third, BOB)
        began = here.now()
        await here.told(seconds=3_600)
        assert here.health.faults() == (
            "Slack cannot be reached: new calls are announced once it can.",
        )
        assert record.now_is(second.id).state is State.PENDING
        assert here.now() - began >= 1_000_000
        here.slack.down = False
        await here.told()
        titles = sorted(one.blocks[0]["text"]["text"] for one in here.slack.shown())
        assert titles == ["Denied: Refund n 1", "claude-code: Refund n 2"]
        assert here.health.faults() == ()
        assert here.rows("SELECT count(*) FROM outbox WHERE kind <> 'reminder'") == [(0,)]


@pytest.mark.parametrize(
    "fault",
    [
        dropped(),
        slow(6.0),
        broken(500, acted=True),
        broken(503, acted=True),
        Fault(acted=True, status=200),
    ],
    ids=["dropped", "slow", "500", "503", "no JSON"],
)
async def test_a_card_that_slack_took_without_saying_so_is_found_again_and_kept_up_to_date(
    sqlite_record: Record, fault: Fault
) -> None:
    record = sqlite_record
    async with desk(record, seconds=3.0) as here:
        here.slack.script("chat.postMessage", fault)
        held = record.hold()
        await here.told()
        assert len(here.slack.messages) == 1
        record.decide(held, BOB, Choice.DENY)
        await here.told()
        assert actions(here.card()) == []
        assert len(here.slack.called("chat.postMessage")) == 1


@pytest.mark.parametrize("fault", [dropped(acted=False), broken(500), says("internal_error")])
async def test_a_card_that_slack_did_not_take_is_posted_again_once(
    sqlite_record: Record, fault: Fault
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        here.slack.script("chat.postMessage", fault, fault)
        record.hold()
        await here.told()
        assert actions(here.card())
        assert len(here.slack.called("chat.postMessage")) == 3


async def test_a_decision_made_while_the_card_was_in_doubt_reaches_it(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record, seconds=3.0) as here:
        here.slack.script("chat.postMessage", slow(6.0))
        held = record.hold()
        await here.now_told()
        record.decide(held, BOB, Choice.DENY)
        await here.told()
        assert here.card().blocks[0]["text"]["text"] == "Denied: Refund pay_1, amount 1200"


async def test_without_leave_to_look_it_waits_a_minute_and_a_stray_card_is_adopted(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record, seconds=3.0) as here:
        here.slack.scopes = EVERYTHING - HISTORY
        here.slack.script("chat.postMessage", slow(6.0))
        held = record.hold()
        began = here.now()
        await here.told()
        assert here.now() - began >= 60_000
        stray, card = here.slack.shown()
        record.decide(held, BOB, Choice.DENY)
        await here.told()
        assert (actions(stray) != [], actions(card)) == (True, [])
        await here.notifier.adopt(held.id, stray.channel, stray.ts)
        assert actions(stray) == []
        await here.notifier.adopt(held.id, stray.channel, stray.ts)
        assert here.rows("SELECT count(*) FROM slack_message WHERE kind = 'card'") == [(2,)]


async def test_a_storm_of_429_ends_with_every_card_posted_once(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record, window=1.0) as here:  # our own pacing off: every second post is refused
        held = [record.hold({"n": n}, grant=f"grt_{n % 3}", terms=LONG) for n in range(24)]
        await here.told()
        refused = len(here.slack.called("chat.postMessage")) - len(here.slack.messages)
        assert refused > 0
        ids = [one.metadata["event_payload"]["id"] for one in here.slack.shown() if one.metadata]
        assert sorted(ids) == sorted(one.id for one in held)


async def test_our_own_pacing_meets_no_429_and_takes_a_second_a_card(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record, window=1.0, gap=1_000) as here:
        for n in range(12):
            record.hold({"n": n}, grant=f"grt_{n % 3}")
        began = here.now()
        await here.told(step=0.5)
        assert len(here.slack.called("chat.postMessage")) == len(here.slack.shown()) == 12
        assert 11_000 <= here.now() - began <= 20_000
        assert here.rows("SELECT max(tries) FROM outbox WHERE kind <> 'reminder'") == [(None,)]


async def test_retry_after_is_granted(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record) as here:
        here.slack.script("chat.postMessage", busy(30))
        record.hold()
        began = here.now()
        assert await here.outbox.round("slack") == 30.0
        record.clock.pass_(seconds=29)
        await here.now_told()
        assert len(here.slack.called("chat.postMessage")) == 1
        await here.told()
        assert here.now() - began >= 30_000
        assert len(here.slack.shown()) == 1


async def test_a_card_that_somebody_deleted_is_posted_once_more_while_it_waits(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        held = record.hold(terms=Terms(quorum=3, expires=LONG.expires))
        await here.told()
        here.card().deleted = True
        record.decide(held)
        await here.told()
        again = here.card()
        assert actions(again)
        again.deleted = True
        record.decide(held, BOB)
        await here.told()
        assert here.slack.shown() == []
        assert here.rows("SELECT state FROM slack_message WHERE kind = 'card'") == [("gone",)]


async def test_a_deleted_card_of_a_decided_call_stays_deleted(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record) as here:
        held = record.hold()
        await here.told()
        here.card().deleted = True
        record.decide(held)
        await here.told()
        assert here.slack.shown() == []
        assert here.health.faults() == ()


async def test_an_archived_channel_is_said_and_what_waits_goes_to_the_default_one(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        here.slack.channels["G1"].archived = True
        held = record.hold(terms=Terms(channel="#payments"))
        await here.told()
        assert here.card().channel == "C1"
        assert here.health.faults() == ("Slack refuses to post into a channel (is_archived).",)
        record.decide(held)
        await here.told()
        assert actions(here.card()) == ["approval.take_back"]
        here.slack.channels["G1"].archived = False
        record.hold({"n": 2}, terms=Terms(channel="#payments"))
        await here.told()
        assert here.health.faults() == ()
        assert len(here.slack.shown("G1")) == 1


@pytest.mark.parametrize("why", ["channel_not_found", "not_in_channel", "is_archived"])
async def test_a_closed_default_channel_is_said_and_not_tried_for_ever(
    sqlite_record: Record, why: str
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        here.slack.script("chat.postMessage", *[says(why)] * 50)
        held = record.hold()
        await here.told()
        assert here.health.faults() == (f"Slack refuses to post into a channel ({why}).",)
        assert len(here.slack.called("chat.postMessage")) == 1
        assert record.now_is(held.id).state is State.PENDING


async def test_a_revoked_token_is_said_and_what_waits_is_posted_under_the_next(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        here.slack.revoked = True
        record.hold(terms=LONG)
        await here.told(seconds=600)
        assert here.health.faults() == ("Slack refuses the bot token (token_revoked).",)
        here.slack.revoked = False
        await here.told()
        assert actions(here.card())
        assert here.health.faults() == ()


async def test_a_card_that_slack_refuses_is_replaced_by_one_that_leads_to_the_page(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        here.slack.script("chat.postMessage", says("invalid_blocks"))
        held = record.hold()
        await here.told()
        assert actions(here.card()) == ["approval.open"]
        record.decide(held)
        await here.told()
        assert here.card().blocks[0]["text"]["text"] == "Approved: Refund pay_1, amount 1200"


async def test_a_gateway_killed_before_the_post_leaves_it_to_the_next(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        held = record.hold()
        record.write(here.lease)
        assert not here.due()
        record.clock.pass_(seconds=LEASE / 1000)
        async with opened(record, here.slack) as after:
            await after.told()
            assert len(here.slack.shown()) == 1
            record.decide(held)
            await after.told()
            assert actions(here.card()) == ["approval.take_back"]


async def test_a_gateway_killed_between_the_post_and_its_note_posts_no_second_card(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record, seconds=60.0) as here:
        here.slack.script("chat.postMessage", slow(30.0))
        held = record.hold()
        dying = asyncio.create_task(here.outbox.round("slack"))
        await here.slack.until(lambda: here.slack.messages)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        assert here.rows("SELECT ts FROM slack_message") == [("",)]
        async with opened(record, here.slack) as after:
            await after.told()
            record.decide(held)
            await after.told()
        assert actions(here.card()) == ["approval.take_back"]
        assert len(here.slack.called("chat.postMessage")) == 1


async def test_two_replicas_post_each_card_once_and_show_the_last_state(record: Record) -> None:
    async with desk(record) as here:
        elsewhere = Record(
            Database.open(record.url, key=KEYS, clock=record.clock), record.clock, record.url
        )
        held = [record.hold({"n": n}, grant=f"grt_{n}") for n in range(8)]
        async with opened(elsewhere, here.slack) as other:

            async def settle() -> None:
                for _ in range(200):
                    await asyncio.gather(here.outbox.round("slack"), other.outbox.round("slack"))
                    waits = here.next_due()
                    if waits is None:
                        return
                    record.clock.pass_(seconds=max(0.0, (waits - here.now()) / 1000))

            with anyio.fail_after(PATIENCE):
                await settle()
                for one in held:
                    record.decide(one, choice=Choice.DENY)
                await settle()
        elsewhere.database.close_now()
        assert len(here.slack.shown()) == 8
        assert [actions(one) for one in here.slack.shown()] == [[]] * 8


async def test_a_channel_put_right_gets_its_card_with_the_reminder(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record) as here:
        here.slack.channels["C1"].archived = True
        record.hold(terms=Terms(expires=1_000))
        await here.now_told()
        assert here.slack.messages == []
        here.slack.channels["C1"].archived = False
        record.clock.pass_(seconds=500)
        await here.now_told()
        assert actions(here.card())
        assert here.health.faults() == ()


async def test_slack_is_said_to_be_well_again_when_nothing_is_left_to_send(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        here.slack.script("chat.postMessage", dropped(acted=False))
        held = record.hold()
        await here.now_told()
        assert here.health.faults() != ()
        record.decide(held)
        await here.told()
        assert here.health.faults() == ()
        assert here.slack.messages == []


async def test_a_press_on_a_card_in_doubt_ends_the_doubt(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record, seconds=3.0) as here:
        here.slack.scopes = EVERYTHING - HISTORY
        here.slack.script("chat.postMessage", slow(6.0))
        held = record.hold(terms=Terms(quorum=2))
        await here.now_told()
        card = here.card()
        await here.notifier.adopt(held.id, card.channel, card.ts)
        record.decide(held)
        await here.told()
        record.decide(held, BOB)
        await here.told()
        assert actions(here.card()) == ["approval.take_back"]
        assert here.notes() == ["alice approved: 1 of 2."]
        assert len(here.slack.called("chat.postMessage")) == 2


def test_a_message_is_sent_by_one_at_a_time_and_by_another_when_that_one_died(
    record: Record,
) -> None:
    held = record.hold()
    message_id = f"{held.id}/card/C1"
    record.write(lambda tx: messages.place(tx, held, "C1"))
    first = record.write(lambda tx: messages.claim(tx, message_id))
    assert first is not None
    assert record.write(lambda tx: messages.claim(tx, message_id)) is None
    record.clock.pass_(seconds=messages.BUSY / 1000)
    second = record.write(lambda tx: messages.claim(tx, message_id))
    assert second is not None
    assert (first.doubt_at, second.doubt_at) == (None, held.created_at)
