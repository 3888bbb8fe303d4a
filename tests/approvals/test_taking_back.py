"""Taking an approval back: who may, until when, and what it leaves behind."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from approvals import effects, outbox, queue, reviewers, tasks
from approvals.detached import deserted
from approvals.execution import Claimed, Lost
from approvals.model import Approval, Choice, Execution, Moved, NotAllowed, Reviewer, State, Terms
from approvals.record.history import Intact, row_of, verify, walk
from approvals.reversal import runs_from, taken_back
from approvals.taking_back import TakenBack, TooLate, take_back
from gateway.enforcement import refusals
from gateway.relay.methods import task_view
from tests.support.record import ALICE, BOB, CAROL, KEYS, Record

ADA = Reviewer(id="ada", role="admin", verified="session")


def back(record: Record, approval: Approval, reviewer: Reviewer = ALICE) -> TakenBack:
    return record.write(
        lambda tx: take_back(tx, approval.id, reviewer=reviewer, via="page", reason="A slip.")
    )


def known(record: Record, reviewer: Reviewer) -> Reviewer:
    names = reviewer.identities
    return record.write(
        lambda tx: reviewers.add(tx, reviewer.id, role=reviewer.role, identities=names)
    )


def test_who_approved_it_takes_it_back_and_nothing_runs(record: Record) -> None:
    approved = record.approved()
    assert isinstance(back(record, approved), Moved)
    now = record.now_is(approved.id)
    assert (now.state, now.execution, now.decided_by, now.decided_via) == (
        *(State.WITHDRAWN, Execution.NONE, "alice", "page"),
    )
    assert taken_back(now)
    assert isinstance(record.claim(approved), Lost)
    assert record.events(approved) == ["held", "approved", "taken_back"]
    rows = record.read(lambda connection: [row_of(row).event for row in walk(connection)])
    assert (rows[-1].actor, rows[-1].reason) == ("alice", "A slip.")
    assert json.loads(rows[-1].data or "{}") == {"right": "approved", "voter": "alice"}


def test_the_agent_is_told_shortly_and_in_our_words(record: Record) -> None:
    approved = record.approved()
    back(record, approved)
    told = refusals.withdrawn(record.now_is(approved.id))
    assert told.text == (
        "Not executed: a reviewer took the approval back before the call started. Nothing ran."
    )
    assert "slip" not in json.dumps(told.meta)


def test_what_the_agent_withdraws_is_told_as_before(record: Record) -> None:
    approved = record.approved()
    record.write(lambda tx: queue.withdraw(tx, approved.id, grant="grt_1", why="left"))
    now = record.now_is(approved.id)
    assert not taken_back(now)
    assert "was withdrawn" in refusals.withdrawn(now).text


def test_one_of_several_who_approved_it_is_enough(record: Record) -> None:
    held = record.hold(terms=Terms(quorum=2))
    record.decide(held, BOB)
    record.decide(held, ALICE)
    assert isinstance(back(record, held, BOB), Moved)


def test_an_administrator_takes_back_what_others_approved(record: Record) -> None:
    approved = record.approved()
    assert isinstance(back(record, approved, ADA), NotAllowed)  # on no record: a role only said
    known(record, ADA)
    assert isinstance(back(record, approved, ADA), Moved)


@pytest.mark.parametrize("reviewer", [BOB, Reviewer(id="vera", role="viewer")])
def test_no_one_else_may(record: Record, reviewer: Reviewer) -> None:
    approved = record.approved()
    assert isinstance(back(record, approved, reviewer), NotAllowed)
    assert isinstance(record.claim(approved), Claimed)


def test_whose_vote_no_longer_counts_may_not(record: Record) -> None:
    known(record, CAROL)
    held = record.hold(terms=Terms(quorum=2))
    record.decide(held, CAROL)
    record.decide(held, ALICE)
    record.write(lambda tx: reviewers.remove(tx, "carol"))
    assert isinstance(back(record, held, CAROL), NotAllowed)


def test_a_person_may_by_another_name_of_theirs(record: Record) -> None:
    held = record.hold()
    record.decide(held, Reviewer(id="slack:T1/U1", role="approver"))
    linked = Reviewer(id="dora", role="approver", identities=("slack:T1/U1",))
    assert isinstance(back(record, held, linked), NotAllowed)  # no row tells that they are one
    assert isinstance(back(record, held, known(record, linked)), Moved)


def test_once_it_has_started_it_is_too_late(record: Record) -> None:
    approved = record.approved()
    record.claim(approved)
    for outcome in (None, Execution.INPUT_REQUIRED):
        if outcome is not None:
            record.finish(approved, outcome)
        late = back(record, approved)
        assert isinstance(late, TooLate)
        assert late.why == "It has started, and can no longer be taken back."


def test_what_was_refused_before_it_left_has_not_started(record: Record) -> None:
    approved = record.approved(effect="refund:1")
    record.claim(approved)
    record.finish(approved, Execution.NOT_EXECUTED, result=None)
    assert isinstance(back(record, approved), Moved)
    free = record.read(
        lambda connection: effects.mark_of(
            connection, "payments", "refund:1", now=record.clock.now()
        )
    )
    assert free is None


def test_what_is_not_approved_is_not_taken_back(record: Record) -> None:
    held = record.hold({"n": 1})
    waits = back(record, held)
    assert isinstance(waits, TooLate)
    assert "deny it instead" in waits.why
    record.decide(held, BOB, Choice.DENY)
    over = back(record, held)
    assert isinstance(over, TooLate)
    approved = record.approved({"n": 2}, terms=Terms(use_within=60))
    record.clock.pass_(seconds=60)
    assert isinstance(back(record, approved), TooLate)
    assert record.now_is(approved.id).state is State.EXPIRED
    twice = record.approved({"n": 3})
    back(record, twice)
    again = back(record, twice)
    assert isinstance(again, TooLate)
    assert "alice took it back already" in again.why


def test_a_repeat_of_the_call_opens_a_new_approval_and_the_agent_is_not_to_blame(
    record: Record,
) -> None:
    approved = record.approved()
    back(record, approved)
    assert record.write(lambda tx: queue.find_open(tx, approved.asked)) is None
    assert record.write(lambda tx: queue.remembered_denial(tx, approved.asked, tx.now)) is None
    assert record.write(lambda tx: queue.withdrawn_since(tx, "grt_1", 0)) == []
    other = record.approved({"n": 2})
    record.write(lambda tx: queue.withdraw(tx, other.id, grant="grt_1", why="left"))
    assert len(record.write(lambda tx: queue.withdrawn_since(tx, "grt_1", 0))) == 1


UNDO = Terms(undo=5, use_within=60, when_detached="execute")


def test_a_rules_undo_is_waited_for_by_every_claim_and_by_no_one_else(record: Record) -> None:
    approved = record.approved(terms=UNDO)
    now = record.now_is(approved.id)
    assert runs_from(now) == record.clock.now() + 5_000
    assert now.use_by == record.clock.now() + 65_000
    record.clock.pass_(seconds=4.5)
    early = record.claim(approved)
    assert isinstance(early, Lost)
    assert (early.why, early.retry_after) == ("It may still be taken back.", 1)
    assert record.now_is(approved.id).state is State.APPROVED
    record.clock.pass_(seconds=0.5)
    assert isinstance(record.claim(approved), Claimed)
    found = record.read(lambda connection: verify(connection, KEYS))
    assert isinstance(found, Intact)
    assert isinstance(record.claim(record.approved({"n": 1})), Claimed)  # no undo: at once


def test_what_waits_to_be_taken_back_is_not_due_to_run(record: Record) -> None:
    deserted_one = record.approved({"n": 1}, terms=UNDO)
    task = record.approved({"n": 2}, terms=UNDO)
    record.write(lambda tx: tasks.follow(tx, task, {"meta": {}, "protocol": "2026-07-28"}))
    plain = record.approved({"n": 3}, terms=Terms(when_detached="execute"))

    def due() -> tuple[list[str], list[str]]:
        now = record.clock.now()
        return record.read(lambda one: (deserted(one, now), tasks.runnable(one, now)))

    assert due() == ([plain.id], [])
    record.clock.pass_(seconds=5)
    assert due() == ([deserted_one.id, plain.id], [task.id])


def test_it_is_taken_back_for_sure_while_undo_lasts(record: Record) -> None:
    approved = record.approved(terms=UNDO)
    record.claim(approved)
    assert isinstance(back(record, approved), Moved)
    record.clock.pass_(seconds=5)
    assert isinstance(record.claim(approved), Lost)
    assert "claimed" not in record.events(approved)


def test_an_agent_that_follows_it_as_a_task_is_told_the_same(record: Record) -> None:
    approved = record.approved(terms=UNDO)
    record.write(lambda tx: tasks.follow(tx, approved, {"meta": {}, "protocol": "2026-07-28"}))

    def told() -> dict[str, Any]:
        task = record.read(lambda connection: tasks.find(connection, approved.id, keys=KEYS))
        assert task is not None
        return task_view.shown(task, now=record.clock.now(), url="http://x")

    assert told()["statusMessage"].startswith("Approved; it starts no sooner than ")
    back(record, approved)
    over = told()
    assert (over["status"], over["result"]["isError"]) == ("completed", True)
    assert "took the approval back" in over["result"]["content"][0]["text"]


def test_it_is_queued_for_everybody_who_was_told_of_the_approval(record: Record) -> None:
    record.database.journal.notifiers = ("slack", "webhook")
    approved = record.approved()
    back(record, approved)
    for notifier in ("slack", "webhook"):
        queued = record.write(partial(outbox.lease, notifier=notifier, limit=9))
        assert [one.kind for one in queued] == ["held", "approved", "taken_back"]
