"""The queue: open, attach, expire, remember, withdraw, run once, deliver."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import update

from approvals import decide, execution, leases, queue, retention
from approvals.digest import digest_of
from approvals.model import (
    MOVES,
    AlreadyDecided,
    Approval,
    Choice,
    Delivery,
    Execution,
    Millis,
    Moved,
    Settlement,
    State,
    Terms,
    short_id,
)
from approvals.moves import GATEWAY, IllegalMove, move
from approvals.record.database import Transaction
from approvals.rows import APPROVAL, load, resolve
from tests.support.record import ALICE, START, Record, call, fine, run


def test_a_held_call_is_a_row_with_its_exact_arguments(record: Record) -> None:
    held = record.hold({"amount": 2**70, "note": "é\u2028"})
    found = record.now_is(held.id)
    assert found.call == call({"amount": 2**70, "note": "é\u2028"})
    assert found == held
    assert (found.state, found.execution, found.delivery) == (
        State.PENDING,
        Execution.NONE,
        Delivery.UNDELIVERED,
    )
    assert found.expires_at == START + 1_800_000
    assert record.events() == ["held"]


def test_an_identical_call_finds_the_open_approval_and_another_one_does_not(
    record: Record,
) -> None:
    held = record.hold()
    found = record.write(lambda tx: queue.find_open(tx, held.asked))
    assert found is not None
    assert found.id == held.id
    other = digest_of(call({"amount": 1201, "payment_id": "pay_1"}))
    assert record.write(lambda tx: queue.find_open(tx, other)) is None
    foreign = digest_of(call(grant="grt_2"))
    assert record.write(lambda tx: queue.find_open(tx, foreign)) is None


def test_attaching_counts_attempts_and_tells_the_history_of_the_first_three(
    record: Record,
) -> None:
    held = record.hold()
    for _ in range(5):
        record.write(lambda tx: queue.attach(tx, held.id, until=START + 50_000))
    found = record.now_is(held.id)
    assert (found.attempts, found.attached_until) == (6, START + 50_000)
    assert record.events() == ["held", "attached", "attached", "attached"]


def test_presence_comes_and_goes_without_a_history_row(record: Record) -> None:
    held = record.hold()
    record.write(lambda tx: queue.present(tx, held.id, until=START + 9_000))
    assert record.now_is(held.id).attached_until == START + 9_000
    record.write(lambda tx: queue.detach(tx, held.id))
    assert record.now_is(held.id).attached_until == START
    assert record.events() == ["held"]


def test_a_call_nobody_decided_expires_when_anyone_looks(record: Record) -> None:
    held = record.hold(terms=Terms(expires=60))
    record.clock.pass_(seconds=60)
    assert record.write(lambda tx: queue.find_open(tx, held.asked)) is None
    found = record.now_is(held.id)
    assert (found.state, found.reason) == (State.EXPIRED, "No one decided in 1 minute.")
    assert record.events() == ["held", "expired"]


def test_the_sweeper_expires_the_undecided_and_the_unused_and_nothing_else(
    record: Record,
) -> None:
    undecided = record.hold({"n": 1}, terms=Terms(expires=60))
    unused = record.approved({"n": 2}, terms=Terms(use_within=60))
    later = record.hold({"n": 3}, terms=Terms(expires=61))
    ran = record.approved({"n": 4}, terms=Terms(use_within=60))
    record.claim(ran)
    record.clock.pass_(seconds=60)
    expired = record.write(lambda tx: queue.expire_due(tx, tx.now))
    assert {one.id for one in expired} == {undecided.id, unused.id}
    assert record.now_is(later.id).state is State.PENDING
    assert record.now_is(ran.id).state is State.APPROVED
    assert record.now_is(unused.id).reason == ("It was approved, but not used within 1 minute.")


def test_a_denial_answers_the_identical_call_until_it_is_forgotten(record: Record) -> None:
    held = record.hold(terms=Terms(deny_memory=600))
    record.decide(held, choice=Choice.DENY, reason="wrong environment")
    remembered = [
        record.write(lambda tx: queue.remembered_denial(tx, held.asked, tx.now)) for _ in range(2)
    ]
    assert [(one.reason, one.attempts) for one in remembered if one] == [
        ("wrong environment", 2),
        ("wrong environment", 3),
    ]
    record.clock.pass_(seconds=600)
    assert record.write(lambda tx: queue.remembered_denial(tx, held.asked, tx.now)) is None


def test_only_open_calls_count_against_a_grant(record: Record) -> None:
    record.hold({"n": 1})
    record.hold({"n": 2}, terms=Terms(expires=10))
    denied = record.hold({"n": 3})
    record.decide(denied, choice=Choice.DENY)
    record.hold({"n": 4}, grant="grt_2")
    assert record.write(lambda tx: queue.count_open(tx, "grt_1")) == 2
    record.clock.pass_(seconds=11)
    assert record.write(lambda tx: queue.count_open(tx, "grt_1")) == 1


def test_only_its_own_agent_withdraws_a_call(record: Record) -> None:
    held = record.hold()
    assert record.write(lambda tx: queue.withdraw(tx, held.id, grant="grt_2", why="x")) is None
    assert record.now_is(held.id).state is State.PENDING
    withdrawn = record.write(lambda tx: queue.withdraw(tx, held.id, grant="grt_1", why="x"))
    assert withdrawn is not None
    assert withdrawn.state is State.WITHDRAWN
    assert record.write(lambda tx: queue.withdraw(tx, held.id, grant="grt_1", why="x")) is None
    assert isinstance(record.decide(held), AlreadyDecided)


def test_what_the_policy_denies_now_is_superseded_pending_or_approved(record: Record) -> None:
    for approval in (record.hold({"n": 1}), record.approved({"n": 2})):
        moved = record.write(partial(queue.supersede, approval_id=approval.id, why="denied now"))
        assert moved is not None
        assert (moved.state, moved.reason) == (State.SUPERSEDED, "denied now")
    assert record.write(queue.standing) == ()


def test_an_approved_call_runs_with_the_stored_arguments_once(record: Record) -> None:
    approved = record.approved()
    claimed = record.claim(approved)
    assert isinstance(claimed, execution.Claimed)
    assert claimed.approval.call == call()
    assert claimed.approval.execution is Execution.EXECUTING
    again = record.claim(approved, owner="gw2")
    assert isinstance(again, execution.Lost)
    assert again.why == "It is approved, executing."
    finished = record.finish(approved)
    assert finished.execution is Execution.SUCCEEDED
    assert isinstance(record.claim(approved), execution.Lost)
    assert record.events() == ["held", "approved", "claimed", "succeeded"]


@pytest.mark.parametrize("state", ["pending", "denied", "expired", "withdrawn"])
def test_nothing_but_an_approved_call_is_ever_claimed(record: Record, state: str) -> None:
    held = record.hold()
    if state == "denied":
        record.decide(held, choice=Choice.DENY)
    elif state == "expired":
        record.clock.pass_(seconds=1800)
    elif state == "withdrawn":
        record.write(lambda tx: queue.withdraw(tx, held.id, grant="grt_1", why=""))
    lost = record.claim(held)
    assert isinstance(lost, execution.Lost)
    assert lost.why == f"It is {state}, none."


def test_an_approval_nobody_used_in_time_does_not_run(record: Record) -> None:
    approved = record.approved(terms=Terms(use_within=900))
    record.clock.pass_(seconds=900)
    lost = record.claim(approved)
    assert isinstance(lost, execution.Lost)
    assert lost.approval is not None
    assert lost.approval.state is State.EXPIRED


def test_a_recheck_that_says_no_supersedes_and_one_that_says_later_leaves_it(
    record: Record,
) -> None:
    approved = record.approved()

    def later(_tx: Transaction, _approval: Approval) -> execution.Recheck[None, str]:
        return execution.Later("full")

    def no(_tx: Transaction, seen: Approval) -> execution.Recheck[None, None]:
        return execution.Superseded(f"denied: {seen.call.arguments.decode()}")

    waits = record.write(
        lambda tx: execution.claim(tx, approved.id, owner="g", lease_ms=1, recheck=later)
    )
    assert waits == execution.Postponed(execution.Later("full"))
    assert record.now_is(approved.id).state is State.APPROVED
    lost = record.write(
        lambda tx: execution.claim(tx, approved.id, owner="g", lease_ms=1, recheck=no)
    )
    assert isinstance(lost, execution.Lost)
    assert record.now_is(approved.id).state is State.SUPERSEDED
    assert record.now_is(approved.id).reason == 'denied: {"amount":1200,"payment_id":"pay_1"}'


@pytest.mark.parametrize("column", ["digest", "arguments_sealed", "tool_hash"])
def test_a_row_changed_behind_our_back_does_not_run(record: Record, column: str) -> None:
    approved = record.approved()
    other = record.approved({"amount": 9_999_999})

    def tamper(tx: Transaction) -> None:
        stolen = (
            tx.connection.execute(APPROVAL.select().where(APPROVAL.c.id == other.id))
            .mappings()
            .one()[column]
        )
        value = "0" * 64 if column == "tool_hash" else stolen
        tx.connection.execute(
            update(APPROVAL).where(APPROVAL.c.id == approved.id).values({column: value})
        )

    record.write(tamper)
    lost = record.claim(approved)
    assert isinstance(lost, execution.Lost)
    assert lost.why in (
        "The record was changed by another hand: digest is not what the history says.",
        "The record was changed by another hand: fixed is not what the history says.",
        "The stored call is not the call that was approved.",
    )


def test_a_call_refused_before_the_first_byte_may_be_claimed_again(record: Record) -> None:
    approved = record.approved()
    record.claim(approved)
    assert record.finish(approved, Execution.NOT_EXECUTED).execution is Execution.NOT_EXECUTED
    assert isinstance(record.claim(approved, owner="gw2"), execution.Claimed)


def test_a_run_whose_gateway_died_ends_in_an_unknown_outcome(record: Record) -> None:
    approved = record.approved()
    record.claim(approved)
    record.clock.pass_(seconds=14)
    assert record.write(lambda tx: leases.renew(tx, owner="gw1", lease_ms=15_000)) == 1
    record.clock.pass_(seconds=14)
    assert record.write(lambda tx: leases.recover(tx, tx.now)) == ()
    record.clock.pass_(seconds=1)
    (unknown,) = record.write(lambda tx: leases.recover(tx, tx.now))
    assert unknown.execution is Execution.OUTCOME_UNKNOWN
    late = record.finish(approved)
    assert late.execution is Execution.OUTCOME_UNKNOWN
    assert isinstance(record.claim(approved), execution.Lost)


def test_a_process_that_starts_again_knows_that_its_own_runs_are_lost(record: Record) -> None:
    approved = record.approved()
    record.claim(approved)
    assert record.write(lambda tx: leases.recover(tx, tx.now, owner="gw2")) == ()
    (unknown,) = record.write(lambda tx: leases.recover(tx, tx.now, owner="gw1"))
    assert unknown.id == approved.id


def test_the_answer_is_delivered_once_and_to_those_who_waited_beside(record: Record) -> None:
    approved = record.approved()
    record.claim(approved)
    record.finish(approved, result=b'{"content":["x"]}')
    found = record.write(lambda tx: queue.find_open(tx, approved.asked))
    assert found is not None
    record.clock.pass_(seconds=1)

    def deliver(attached_at: Millis | None = None) -> bytes | None:
        return record.write(lambda tx: execution.deliver(tx, approved.id, attached_at=attached_at))

    assert deliver() == b'{"content":["x"]}'
    assert deliver() is None
    assert deliver(START) == b'{"content":["x"]}'
    assert deliver(START + 2_000) is None
    assert record.write(lambda tx: queue.find_open(tx, approved.asked)) is None


def test_an_unsettled_unknown_outcome_is_found_by_call_and_by_effect(record: Record) -> None:
    approved = record.approved(effect="refund:pay_1")
    record.claim(approved)
    record.finish(approved, Execution.OUTCOME_UNKNOWN, result=None)
    other = digest_of(call({"other": True}))

    def found(digest: str, effect: str | None, server: str) -> bool:
        return record.write(lambda tx: queue.unsettled(tx, digest, effect, server)) is not None

    assert found(approved.digest, None, "payments")
    assert found(other, "refund:pay_1", "payments")
    assert not found(other, "refund:pay_2", "payments")
    assert not found(other, "refund:pay_1", "other")
    assert not found(other, None, "payments")
    settled = record.write(
        lambda tx: decide.settle(
            tx,
            approved.id,
            reviewer=ALICE,
            settlement=Settlement.DONE,
            note="seen",
            via="page",
        )
    )
    assert isinstance(settled, Moved)
    assert not found(approved.digest, "refund:pay_1", "payments")


def test_one_effect_runs_once_however_the_call_is_worded(record: Record) -> None:
    first = record.approved({"n": 1}, effect="refund:pay_1")
    second = record.approved({"n": 2}, effect="refund:pay_1")
    elsewhere = record.approved({"n": 3}, effect="refund:pay_1", server="other")
    record.claim(first)
    busy = record.claim(second)
    assert isinstance(busy, execution.Lost)
    assert busy.retry_after == 5
    assert isinstance(record.claim(elsewhere), execution.Claimed)
    record.finish(first)
    assert record.now_is(second.id).state is State.SUPERSEDED
    assert record.now_is(second.id).reason == f"{first.id} has done this meanwhile."
    assert isinstance(record.claim(second), execution.Lost)


def test_a_move_the_table_lacks_is_a_bug_and_not_a_race(record: Record) -> None:
    held = record.hold()
    with pytest.raises(IllegalMove):
        record.write(lambda tx: move(tx, held, "succeeded", actor=GATEWAY))
    assert record.now_is(held.id) == held


def test_terminal_states_have_no_way_out() -> None:
    terminal = set(State) - {State.PENDING, State.APPROVED}
    finished = {
        Execution.SUCCEEDED,
        Execution.TOOL_ERROR,
        Execution.UPSTREAM_ERROR,
        Execution.OUTCOME_UNKNOWN,
    }
    assert not [one for one in MOVES if one.state[0] in terminal or one.execution[0] in finished]


def test_a_move_from_a_version_that_is_gone_changes_nothing(record: Record) -> None:
    held = record.hold()
    record.write(lambda tx: queue.attach(tx, held.id))
    assert record.write(lambda tx: move(tx, held, "denied", actor=GATEWAY)) is None
    assert record.now_is(held.id).state is State.PENDING


def test_two_claims_in_one_batch_have_one_winner(record: Record) -> None:
    approved = record.approved()
    first, second = record.write(lambda tx: (run(tx, approved, "a"), run(tx, approved, "b")))
    assert isinstance(first, execution.Claimed)
    assert isinstance(second, execution.Lost)


def test_notifiers_are_told_of_each_change_in_its_own_transaction(record: Record) -> None:
    record.database.journal.notifiers = ("slack", "webhook")
    approved = record.approved()
    rows = record.read(
        lambda connection: connection.exec_driver_sql(
            "SELECT kind, notifier FROM outbox WHERE approval_id IS NOT NULL"
        ).all()
    )
    assert sorted(tuple(row) for row in rows) == [
        ("approved", "slack"),
        ("approved", "webhook"),
        ("held", "slack"),
        ("held", "webhook"),
    ]
    assert approved.version == 2


def test_an_invented_id_is_never_claimed(record: Record) -> None:
    record.approved()
    lost = record.write(lambda tx: execution.claim(tx, "apr_", owner="g", lease_ms=1, recheck=fine))
    assert lost == execution.Lost("There is no such approval.", None)


def test_retention_drops_the_contents_of_what_is_over_and_of_nothing_else(record: Record) -> None:
    ran = record.approved({"n": 1})
    record.claim(ran)
    record.finish(ran, result=b"{}")
    denied = record.hold({"n": 2})
    record.decide(denied, choice=Choice.DENY)
    record.clock.pass_(seconds=1)
    waits = record.hold({"n": 3})
    runs = record.approved({"n": 4})
    record.claim(runs)
    record.clock.pass_(seconds=1000)
    before = record.clock.now()
    assert record.write(lambda tx: retention.drop_contents(tx, before=before)) == 2
    assert record.write(lambda tx: retention.drop_contents(tx, before=before)) == 0
    kept = {one.id: record.now_is(one.id).call.arguments for one in (ran, denied, waits, runs)}
    assert kept == {ran.id: b"", denied.id: b"", waits.id: b'{"n":3}', runs.id: b'{"n":4}'}
    assert record.write(lambda tx: execution.deliver(tx, ran.id)) is None
    assert record.write(lambda tx: queue.find_open(tx, ran.asked)) is None
    assert record.now_is(ran.id).masked == '{"n":1}'


def test_an_answer_that_was_looked_at_but_not_handed_over_is_still_there(record: Record) -> None:
    approval = record.approved()
    record.claim(approval)
    record.finish(approval)
    now = record.clock.now()
    first = record.write(lambda tx: execution.answer(tx, approval.id, attached_at=now))
    again = record.write(lambda tx: execution.answer(tx, approval.id, attached_at=now))
    assert first == again == b'{"content":[]}'
    record.write(lambda tx: execution.deliver(tx, approval.id))
    record.clock.pass_(seconds=1)
    later = record.clock.now()
    assert record.write(lambda tx: execution.answer(tx, approval.id, attached_at=later)) is None
    assert record.write(lambda tx: execution.answer(tx, approval.id, attached_at=now)) == first


@pytest.mark.parametrize("few", ["", "apr_", "apr_{0}", "{0}", "{0}{1}{2}{3}{4}", "%", "apr_%"])
def test_a_few_letters_mean_no_approval_even_if_only_one_begins_with_them(
    record: Record, few: str
) -> None:
    approval = record.hold()
    letters = approval.id.removeprefix("apr_")
    written = few.format(*letters)
    assert record.read(lambda connection: resolve(connection, written)) is None
    short = short_id(approval.id)
    assert record.read(lambda connection: resolve(connection, short)) == approval.id


@pytest.mark.parametrize("written", ["apr_000\x00", "apr_000\U0010ffff", "apr_000\ud7ff", "\x00"])
def test_what_no_id_can_be_finds_nothing_on_any_database(record: Record, written: str) -> None:
    record.hold()
    assert record.read(lambda connection: resolve(connection, written)) is None
    assert record.read(lambda connection: load(connection, written)) is None
