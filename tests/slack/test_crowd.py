"""Where approvals are announced, how often reviewers are reminded, and what a burst becomes."""

from __future__ import annotations

import itertools
import json
from functools import partial

import pytest

from approvals import decide
from approvals.digest import canonical
from approvals.model import Approval, ArgumentEdit, Choice, State, Terms
from approvals.reviewers import add
from tests.slack.desk import Desk, actions, desk, opened
from tests.support.fake_slack.message import Message, dropped
from tests.support.record import ALICE, BOB, Record


def digests(here: Desk) -> list[Message]:
    return [one for one in here.slack.shown() if one.blocks[0]["text"]["text"][0].isdigit()]


def cards(here: Desk) -> list[Message]:
    return [one for one in here.slack.shown() if "Refund n " in one.blocks[0]["text"]["text"]]


def burst(record: Record, calls: int, **fields: object) -> list[Approval]:
    held = []
    for n in range(calls):
        held.append(record.hold({"n": n}, **fields))
        record.clock.pass_(seconds=1)
    return held


async def test_more_than_ten_calls_a_minute_of_one_agent_become_one_digest(
    record: Record,
) -> None:
    async with desk(record) as here:
        burst(record, 14)
        other = record.hold({"n": 1}, grant="grt_2")
        await here.told(seconds=60)
        assert len(cards(here)) == 11
        (digest,) = digests(here)
        assert digest.blocks[0]["text"]["text"] == "4 more calls wait for a decision"
        shown = json.dumps(digest.blocks)
        assert "4 \\u00d7 " in shown
        assert '"refund"' in shown
        (link,) = digest.buttons()
        assert (link["action_id"], link["url"]) == ("approval.open", "https://gate.example/")
        own = [one for one in cards(here) if other.id in json.dumps(one.metadata)]
        assert len(own) == 1


async def test_a_digest_counts_down_and_says_when_nothing_waits(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record) as here:
        held = burst(record, 13)
        await here.told(seconds=60)
        record.decide(held[-1])
        record.decide(held[-2], BOB, Choice.DENY)
        await here.told(seconds=60)
        (digest,) = digests(here)
        assert digest.blocks[0]["text"]["text"] == "1 more call waits for a decision"
        assert "2 of 3 are decided" in json.dumps(digest.blocks)
        record.decide(held[-3])
        await here.told(seconds=60)
        (drained,) = [one for one in here.slack.shown() if one.ts == digest.ts]
        assert drained.blocks[0]["text"]["text"] == "None of these 3 calls waits any more."
        assert actions(drained) == []
        assert len(here.slack.called("chat.postMessage")) == 11


async def test_changes_of_a_digest_are_at_least_three_seconds_apart(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        held = burst(record, 18)
        await here.told(seconds=60)
        for one in held[10:]:
            record.decide(one)
            await here.now_told()
        await here.told(seconds=60)
        (digest,) = [one for one in here.slack.shown() if one.blocks[0]["text"]["text"][0] == "N"]
        edits = [
            call.at for call in here.slack.called("chat.update") if call.params["ts"] == digest.ts
        ]
        assert len(edits) <= 3
        assert all(later - earlier >= 3 for earlier, later in itertools.pairwise(edits))


async def test_a_new_burst_gets_a_new_digest(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record) as here:
        for n in range(12):  # nothing piles up: no digest
            (one,) = burst(record, 1, session=str(n))
            await here.now_told()
            record.decide(one, choice=Choice.DENY)
        await here.told(seconds=60)
        assert len(cards(here)) == 12
        for _ in range(2):
            record.clock.pass_(seconds=120)
            held = burst(record, 11)
            await here.told(seconds=30)
            for one in held:
                record.decide(one, choice=Choice.DENY)
            await here.told(seconds=30)
        assert len([one for one in here.slack.shown() if "None of" in one.text]) == 2


async def test_reviewers_are_reminded_in_the_thread_at_half_time_and_once_near_the_end(
    record: Record,
) -> None:
    terms = Terms(expires=1_000, reviewers=("slack:T1/U1", "slack-group:T1/S1", "slack:T9/U2"))
    async with desk(record) as here:
        record.hold(terms=terms)
        await here.now_told()
        record.clock.pass_(seconds=499)
        await here.now_told()
        assert here.notes() == []
        record.clock.pass_(seconds=1)
        await here.now_told()
        await here.now_told()
        (first,) = here.notes()
        assert first.startswith("Still waiting: half of the time is over. It expires <!date^")
        assert "<@" not in first
        async with opened(record, here.slack) as after:  # a restart in between
            record.clock.pass_(seconds=300)
            await after.now_told()
            await after.now_told()
        _, last = here.notes()
        assert last.startswith("Last reminder: still waiting.")
        assert last.endswith("<@U1> <!subteam^S1>")
        record.clock.pass_(seconds=199)
        await here.now_told()
        assert len(here.notes()) == 2
        assert {one.thread_ts for one in here.slack.shown(thread=True)} == {here.card().ts}


async def test_the_people_a_rule_names_are_called_once_and_again_at_the_end(
    sqlite_record: Record,
) -> None:
    """By the accounts on record: rules name people, not accounts."""
    record = sqlite_record
    for name, account in (("alice", "U1"), ("bob", "U2"), ("carol", "U3")):
        record.write(
            partial(add, reviewer_id=name, role="approver", identities=(f"slack:T1/{account}",))
        )
    terms = Terms(expires=1_000, quorum=2, reviewers=("alice", "bob", "nobody"))
    async with desk(record) as here:
        held = record.hold(terms=terms)
        await here.now_told()
        card = here.card()
        assert "<@U1> <@U2>" in str(card.blocks)
        assert "<@U3>" not in str(card.blocks)
        record.decide(held)  # alice
        await here.now_told()
        assert "<@" not in str(here.card().blocks[-1])
        record.clock.pass_(seconds=800)
        await here.now_told()
        last = here.notes()[-1]
        assert last.startswith("Last reminder")
        assert "<@U2>" in last
        assert "<@U1>" not in last


async def test_nobody_is_reminded_of_what_is_decided(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record) as here:
        held = record.hold(terms=Terms(expires=1_000))
        await here.now_told()
        record.decide(held)
        record.clock.pass_(seconds=600)
        await here.told()
        assert here.notes() == []


async def test_a_reminder_in_doubt_is_not_repeated(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record, seconds=3.0) as here:
        record.hold(terms=Terms(expires=1_000))
        await here.now_told()
        here.slack.script("chat.postMessage", dropped(), dropped(acted=False))
        record.clock.pass_(seconds=500)
        for _ in range(10):
            await here.now_told()
            record.clock.pass_(seconds=5)
        assert len(here.notes()) == 1


async def test_a_reminder_that_was_perhaps_not_sent_is_rather_lost_than_sent_twice(
    sqlite_record: Record,
) -> None:
    record = sqlite_record
    async with desk(record) as here:
        record.hold(terms=Terms(expires=1_000))
        await here.now_told()
        here.slack.script("chat.postMessage", dropped(acted=False))
        record.clock.pass_(seconds=500)
        for _ in range(10):  # the reminder is tried again, and finds itself in doubt
            await here.now_told()
            record.clock.pass_(seconds=5)
        assert here.notes() == []
        assert len(here.slack.called("chat.postMessage")) == 2


async def test_a_reminder_finds_a_deleted_card_and_posts_it_anew(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record) as here:
        record.hold(terms=Terms(expires=1_000))
        await here.now_told()
        here.card().deleted = True
        record.clock.pass_(seconds=500)
        await here.told(seconds=100)
        assert actions(here.card())
        assert {one.thread_ts for one in here.slack.shown(thread=True)} == {here.card().ts}


async def test_the_rules_channel_comes_before_the_default_one(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record) as here:
        record.hold(terms=Terms(channel="#payments"))
        record.hold({"n": 2})
        await here.told()
        assert sorted(one.channel for one in here.slack.shown()) == ["C1", "G1"]


@pytest.mark.parametrize("channel", ["direct", None])
async def test_named_reviewers_are_written_to_directly_and_both_messages_follow_the_decision(
    sqlite_record: Record, channel: str | None
) -> None:
    record = sqlite_record
    record.write(lambda tx: add(tx, "bob", role="approver", identities=("slack:T1/U2",)))
    terms = Terms(reviewers=("slack:T1/U1", "bob", "slack:T9/U3"), channel=channel)
    default = "C1" if channel else None
    async with desk(record, channel=default) as here:
        held = record.hold(terms=terms)
        await here.told()
        assert sorted(one.channel for one in here.slack.shown()) == ["DU1", "DU2"]
        record.decide(held, BOB)
        await here.told()
        assert record.now_is(held.id).state is State.APPROVED
        assert [actions(one) for one in here.slack.shown()] == [["approval.take_back"]] * 2
        assert {one.params["channel"] for one in here.slack.called("chat.update")} == {"DU1", "DU2"}


async def test_a_call_that_belongs_nowhere_is_said(sqlite_record: Record) -> None:
    record = sqlite_record
    async with desk(record, channel=None) as here:
        record.hold(terms=Terms(reviewers=("alice",)))
        await here.told()
        assert here.slack.messages == []
        (fault,) = here.health.faults()
        assert fault.startswith("No channel is set")


async def test_an_edit_gets_new_buttons_and_says_whose_votes_are_void(record: Record) -> None:
    async with desk(record) as here:
        held = record.hold({"amount": 5}, terms=Terms(quorum=2, editable=("args.amount",)))
        await here.told()
        before = here.card().button("approval.approve")["value"]
        blocks = {block["block_id"] for block in here.card().blocks if block["type"] == "actions"}
        record.decide(held, BOB)
        record.write(
            lambda tx: decide.edit(
                tx,
                held.id,
                ArgumentEdit(
                    revision=1, reviewer=ALICE, arguments=canonical({"amount": 4}), via="page"
                ),
                judge_again=lambda _tx, _call: None,
            )
        )
        await here.told()
        card = here.card()
        assert card.button("approval.approve")["value"] != before
        assert blocks.isdisjoint(block["block_id"] for block in card.blocks)
        assert "Earlier approvals no longer count: bob." in json.dumps(card.blocks)
        assert here.notes()[-1] == (
            "alice changed amount: 5 → 4. This is revision 2. Approvals that no longer count: bob."
        )
        assert card.metadata is not None
        assert card.metadata["event_payload"]["revision"] == 2
