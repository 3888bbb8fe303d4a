"""Cards are posted, kept up to date and commented, no matter who decides and wherever."""

from __future__ import annotations

import json
from functools import partial

from sqlalchemy import Connection, select

from approvals import decide
from approvals.model import Choice, Execution, Moved, Terms
from approvals.record.database import Database, Transaction
from approvals.rows import APPROVAL
from approvals.slack.action_values import parse_value
from approvals.taking_back import take_back
from tests.approvals.test_upgrade import LATER, install
from tests.slack.desk import PAGE, actions, desk
from tests.support.record import ALICE, BOB, CAROL, KEYS, HandClock, Record

DECIDING = {"approval.approve", "approval.deny", "approval.ask", "approval.edit"}


async def test_a_held_call_is_asked_once_with_buttons_that_say_which(record: Record) -> None:
    async with desk(record) as here:
        held = record.hold()
        await here.told()
        card = here.card()
        assert (card.channel, card.thread_ts) == ("C1", None)
        assert card.blocks[0]["text"]["text"] == "claude-code: Refund pay_1, amount 1200"
        assert actions(card) == [
            "approval.approve",
            "approval.deny",
            "approval.ask",
            "approval.open",
        ]
        pressed = parse_value(card.button("approval.approve")["value"])
        assert pressed is not None
        assert pressed.means(held)
        assert card.button("approval.open")["url"] == f"{PAGE}/approvals/{held.id}"
        shown = json.dumps(card.blocks)
        for fact in ("claude-code", "amount 1200 > 500", "Refunds need a person.", "pay_1"):
            assert fact in shown
        assert here.health.faults() == ()
        sent = card.posted
        assert (sent["unfurl_links"], sent["unfurl_media"], sent["parse"]) == (False, False, "none")
        assert card.metadata is not None
        assert card.metadata["event_payload"]["id"] == held.id


async def test_a_decision_on_any_surface_takes_the_buttons_away(record: Record) -> None:
    async with desk(record) as here:
        held = record.hold()
        await here.told()
        record.decide(held, BOB, Choice.DENY, reason="wrong <!channel> account", via="cli")
        await here.told()
        card = here.card()
        assert card.blocks[0]["text"]["text"] == "Denied: Refund pay_1, amount 1200"
        assert actions(card) == []
        shown = json.dumps(card.blocks)
        assert "Denied by bob via cli" in shown
        reason = next(one for one in card.blocks if one["block_id"] == "why")["text"]
        assert reason["type"] == "plain_text"
        assert "wrong <!channel> account" in reason["text"]
        assert card.text == "Denied: Refund pay_1, amount 1200, by bob."
        assert len(here.slack.called("chat.postMessage")) == 1


async def test_votes_execution_and_outcome_are_told_in_the_thread(record: Record) -> None:
    async with desk(record) as here:
        held = record.hold(terms=Terms(quorum=2))
        await here.told()
        assert "0 of 2" in json.dumps(here.card().blocks)
        record.decide(held)
        await here.told()
        assert "1 of 2: alice" in json.dumps(here.card().blocks)
        assert "approval.approve" in actions(here.card())
        record.decide(held, CAROL)
        await here.told()
        assert actions(here.card()) == ["approval.take_back"]  # it has not started
        record.claim(held)
        record.clock.pass_(seconds=3)
        record.finish(held)
        await here.told()
        assert actions(here.card()) == []
        assert here.card().blocks[0]["text"]["text"] == "Done: Refund pay_1, amount 1200"
        assert here.notes() == [
            "alice approved: 1 of 2.",
            "Done. Approved; it ran, and the server answered without an error. It took 3.0 s.",
        ]
        assert {one.thread_ts for one in here.slack.shown(thread=True)} == {here.card().ts}


async def test_what_was_taken_back_is_told_on_the_card_and_in_the_thread(record: Record) -> None:
    async with desk(record) as here:
        held = record.hold()
        await here.told()
        record.decide(held)
        await here.told()
        record.write(lambda tx: take_back(tx, held.id, reviewer=ALICE, via="page"))
        await here.told()
        assert here.card().blocks[0]["text"]["text"] == "Taken back: Refund pay_1, amount 1200"
        assert "Taken back by alice via page" in json.dumps(here.card().blocks)
        assert actions(here.card()) == []
        assert here.notes() == ["alice took the approval back. Nothing ran."]


async def test_an_unknown_outcome_is_said_in_words(record: Record) -> None:
    async with desk(record) as here:
        held = record.hold()
        await here.told()
        record.decide(held)
        approved = record.now_is(held.id)
        record.claim(approved)
        record.finish(approved, Execution.OUTCOME_UNKNOWN, result=None)
        await here.told()
        assert here.card().blocks[0]["text"]["text"] == "Outcome unknown: Refund pay_1, amount 1200"
        assert "it may have run" in here.notes()[-1]


async def test_an_unknown_outcome_is_told_even_if_the_call_never_was(record: Record) -> None:
    async with desk(record) as here:
        approved = record.approved()
        await here.told()
        assert here.slack.messages == []
        record.claim(approved)
        record.finish(approved, Execution.OUTCOME_UNKNOWN, result=None)
        await here.told()
        assert here.card().blocks[0]["text"]["text"] == "Outcome unknown: Refund pay_1, amount 1200"


async def test_what_was_decided_before_slack_heard_of_it_is_not_announced(record: Record) -> None:
    async with desk(record) as here:
        record.decide(record.hold(), choice=Choice.DENY)
        await here.told()
        assert here.slack.messages == []


async def test_many_changes_at_once_cost_one_edit(record: Record) -> None:
    async with desk(record) as here:
        held = record.hold(terms=Terms(quorum=3))
        await here.told()
        for reviewer in (BOB, CAROL):
            record.decide(held, reviewer)
        record.decide(held, choice=Choice.DENY, reason="no")
        await here.told()
        assert len(here.slack.called("chat.update")) == 1
        assert actions(here.card()) == []


async def test_a_record_from_before_slack_goes_on_with_it(url: str) -> None:
    install(url)  # the first schema, with calls that wait
    clock = HandClock(LATER)
    record = Record(Database.open(url, key=KEYS, clock=clock), clock, url)
    waiting = record.read(waits)
    assert waiting
    async with desk(record) as here:
        for one in waiting:
            record.write(partial(extend, approval_id=one))
        new = record.hold({"new": True})
        await here.told()
        posted = [one.metadata["event_payload"]["id"] for one in here.slack.shown() if one.metadata]
        assert sorted(posted) == sorted([*waiting, new.id])
    record.database.close_now()


def waits(connection: Connection) -> list[str]:
    query = select(APPROVAL.c.id).where(APPROVAL.c.state == "pending")
    return [str(one) for one in connection.execute(query).scalars()]


def extend(tx: Transaction, approval_id: str) -> None:
    assert isinstance(
        decide.extend(tx, approval_id, reviewer=ALICE, seconds=600, via="page"), Moved
    )
