"""Tasks on record: what runs next, what was answered, what is used up; on both databases."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from approvals import execution, retention, tasks
from approvals.model import Approval, Execution, State
from approvals.record.transaction import Transaction
from approvals.seal import SealBroken
from approvals.tasks import Task
from tests.support.record import KEYS, ClaimOutcome, Record

ENVELOPE: dict[str, Any] = {"meta": {"traceparent": "00-1"}, "protocol": "2026-07-28", "extra": {}}
QUESTION = b'{"result":{"resultType":"input_required","inputRequests":{"a":{},"b":{}}}}'


def followed(record: Record, approval: Approval) -> Approval:
    return record.write(lambda tx: tasks.follow(tx, approval, ENVELOPE))


def task(record: Record, approval: Approval) -> Task:
    found = record.read(lambda connection: tasks.find(connection, approval.id, keys=KEYS))
    assert found is not None
    return found


def runnable(record: Record) -> list[str]:
    return record.read(lambda connection: tasks.runnable(connection, record.clock.now()))


def any_live(record: Record) -> bool:
    return record.read(tasks.any_live)


def asked(record: Record) -> Approval:
    """A task whose server has asked back."""
    approved = record.approved()
    followed(record, approved)
    record.claim(approved)
    return record.finish(approved, Execution.INPUT_REQUIRED, result=QUESTION)


def test_a_task_is_its_approval_with_the_envelope_it_is_sent_in(record: Record) -> None:
    held = record.hold({"n": 1})
    after = followed(record, held)
    found = task(record, held)
    assert found.approval.id == held.id
    assert found.approval.call.arguments == b'{"n":1}'
    assert (found.envelope, found.answers, found.result) == (ENVELOPE, {}, None)
    assert after.attached_until == held.expires_at  # its agent counts as waiting
    again = {**ENVELOPE, "meta": {"traceparent": "00-2"}}
    record.write(lambda tx: tasks.follow(tx, after, again))
    assert task(record, held).envelope == again


def test_only_what_is_followed_and_approved_is_run_by_the_gateway(record: Record) -> None:
    plain, held = record.approved({"n": 1}), record.hold({"n": 2})
    followed(record, held)
    assert runnable(record) == []
    assert any_live(record)
    record.decide(record.now_is(held.id))
    assert runnable(record) == [held.id]
    assert plain.state is State.APPROVED
    record.claim(held)
    assert runnable(record) == []
    assert any_live(record)
    record.finish(held)
    assert not any_live(record)


def test_an_approval_past_its_time_is_not_run(record: Record) -> None:
    approved = record.approved()
    followed(record, approved)
    record.clock.pass_(seconds=approved.terms.use_within)
    assert runnable(record) == []


def test_a_question_runs_on_when_all_of_it_is_answered(record: Record) -> None:
    approval = asked(record)
    assert (approval.round, approval.execution) == (1, Execution.INPUT_REQUIRED)
    assert task(record, approval).result == QUESTION
    assert runnable(record) == []
    record.write(lambda tx: tasks.answer(tx, approval.id, asked=1, answers={"a": 1}, whole=False))
    assert task(record, approval).answers == {"a": 1}
    assert runnable(record) == []
    both = {"a": 1, "b": 2}
    record.write(lambda tx: tasks.answer(tx, approval.id, asked=1, answers=both, whole=True))
    assert task(record, approval).answers == both
    assert runnable(record) == [approval.id]


def test_answers_to_one_question_are_never_taken_for_the_next(record: Record) -> None:
    approval = asked(record)
    record.write(lambda tx: tasks.answer(tx, approval.id, asked=1, answers={"a": 1}, whole=True))
    went_on = record.write(lambda tx: go_on(tx, approval, 1))
    assert isinstance(went_on, execution.Claimed)
    again = record.finish(approval, Execution.INPUT_REQUIRED, result=QUESTION)
    assert again.round == 2
    assert task(record, approval).answers == {}
    assert runnable(record) == []
    record.write(lambda tx: tasks.answer(tx, approval.id, asked=1, answers={"a": 9}, whole=True))
    assert runnable(record) == []
    assert isinstance(record.write(lambda tx: go_on(tx, approval, 1)), execution.Lost)


def test_answers_that_did_not_reach_the_server_stand(record: Record) -> None:
    approval = asked(record)
    record.write(lambda tx: tasks.answer(tx, approval.id, asked=1, answers={"a": 1}, whole=True))
    record.write(lambda tx: go_on(tx, approval, 1))
    back = record.finish(approval, Execution.INPUT_REQUIRED, result=None)
    assert (back.round, task(record, approval).answers) == (1, {"a": 1})
    assert task(record, approval).result == QUESTION
    assert runnable(record) == [approval.id]


def go_on(tx: Transaction, approval: Approval, asked: int) -> ClaimOutcome:
    return execution.claim(
        tx,
        approval.id,
        owner="gw1",
        lease_ms=15_000,
        recheck=lambda _tx, _approval: execution.Proceed(None),
        answering=execution.Answers(asked, {"a": 1}),
    )


def test_cancelling_withdraws_what_waits_and_notes_what_runs(record: Record) -> None:
    waiting, running = record.hold({"n": 1}), record.approved({"n": 2})
    question = asked(record)
    for one in (waiting, running):
        followed(record, one)
    record.claim(running)
    for one in (waiting, running, question):
        record.write(partial(tasks.cancel, approval_id=one.id, why="enough"))
    assert record.now_is(waiting.id).state is State.WITHDRAWN
    assert record.now_is(question.id).state is State.WITHDRAWN
    assert record.now_is(running.id).execution is Execution.EXECUTING
    assert record.events(running)[-1] == "cancel_asked"
    ids = (waiting.id, running.id, "apr_nothing")
    unwanted = record.read(lambda connection: tasks.cancelled(connection, ids))
    assert sorted(unwanted) == sorted([waiting.id, running.id])
    record.finish(running)
    ended = record.now_is(running.id)
    record.write(lambda tx: tasks.cancel(tx, running.id, why="again"))
    assert record.now_is(running.id) == ended


def test_a_task_its_agent_never_heard_of_is_an_ordinary_approval(record: Record) -> None:
    approved = record.approved()
    followed(record, approved)
    record.write(lambda tx: tasks.unfollow(tx, approved.id))
    assert runnable(record) == []
    assert record.read(lambda connection: tasks.find(connection, approved.id, keys=KEYS)) is None


def test_after_retention_a_task_is_forgotten(record: Record) -> None:
    approved = record.approved()
    followed(record, approved)
    record.claim(approved)
    record.finish(approved)
    record.clock.pass_(seconds=3_600)
    record.write(lambda tx: retention.drop_contents(tx, before=tx.now))
    assert record.read(lambda connection: tasks.find(connection, approved.id, keys=KEYS)) is None


def test_an_envelope_of_another_task_does_not_open(record: Record) -> None:
    one, other = record.hold({"n": 1}), record.hold({"n": 2})
    followed(record, one)
    followed(record, other)

    def swap(tx: Transaction) -> None:
        sealed = tx.connection.exec_driver_sql(
            f"SELECT envelope_sealed FROM task WHERE approval_id = '{one.id}'"  # noqa: S608
        ).scalar_one()
        tx.connection.execute(
            tasks.TASK.update()
            .where(tasks.TASK.c.approval_id == other.id)
            .values(envelope_sealed=sealed)
        )

    record.write(swap)
    with pytest.raises(SealBroken):
        task(record, other)


def test_a_request_state_is_used_once(record: Record) -> None:
    until = record.clock.now() + 1_000
    assert record.write(lambda tx: tasks.spend(tx, "s1", until=until))
    assert not record.write(lambda tx: tasks.spend(tx, "s1", until=until))
    assert record.write(lambda tx: tasks.spend(tx, "s2", until=until))
    assert record.write(lambda tx: tasks.prune_spent(tx, before=until)) == 0
    assert record.write(lambda tx: tasks.prune_spent(tx, before=until + 1)) == 2
