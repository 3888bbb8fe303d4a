"""People who were removed, and agents whose grant was revoked, have no say and no calls left."""

from __future__ import annotations

from functools import partial

from approvals import execution, reviewers
from approvals.model import Counted, Execution, Moved, NotAllowed, State, Terms
from gateway.enforcement import grants
from tests.support.record import ALICE, BOB, CAROL, Record


def on_record(record: Record, *names: str) -> None:
    for name in names:
        record.write(partial(reviewers.add, reviewer_id=name, role="approver"))


def test_a_removed_reviewers_vote_no_longer_counts(record: Record) -> None:
    on_record(record, "alice", "bob", "carol")
    held = record.hold(terms=Terms(quorum=2))
    assert isinstance(record.decide(held, BOB), Counted)
    record.write(lambda tx: reviewers.remove(tx, "bob"))
    assert isinstance(record.decide(held, CAROL), Counted)
    assert record.now_is(held.id).state is State.PENDING
    assert isinstance(record.decide(held, ALICE), Moved)


def test_the_vote_of_somebody_who_may_only_look_now_no_longer_counts(record: Record) -> None:
    on_record(record, "alice", "bob", "carol")
    held = record.hold(terms=Terms(quorum=2))
    record.decide(held, BOB)
    record.write(lambda tx: reviewers.add(tx, "bob", role="viewer"))
    assert isinstance(record.decide(held, CAROL), Counted)


def test_what_too_few_who_may_still_decide_approved_does_not_run(record: Record) -> None:
    on_record(record, "alice")
    approved = record.approved()
    record.write(lambda tx: reviewers.remove(tx, "alice"))
    lost = record.claim(approved)
    assert isinstance(lost, execution.Lost)
    assert lost.why == "Only 0 of 1 who approved it may still decide."
    assert record.now_is(approved.id).state is State.SUPERSEDED


def test_somebody_removed_between_proof_and_vote_decides_nothing(record: Record) -> None:
    on_record(record, "alice")
    held = record.hold()
    record.write(lambda tx: reviewers.remove(tx, "alice"))
    assert record.decide(held, ALICE) == NotAllowed("You may no longer decide.")


def test_a_revoked_grants_calls_are_withdrawn_with_it(record: Record) -> None:
    grant, _ = record.write(lambda tx: grants.create(tx, label="a", servers=frozenset({"*"})))
    waiting = record.hold({"n": 1}, grant=grant.id)
    approved = record.approved({"n": 2}, grant=grant.id)
    running = record.approved({"n": 3}, grant=grant.id)
    others = record.hold({"n": 4})
    assert isinstance(record.claim(running), execution.Claimed)
    assert record.write(lambda tx: grants.revoke(tx, grant.id, by="alice"))
    for one in (waiting, approved):
        now = record.now_is(one.id)
        assert (now.state, now.reason) == (State.WITHDRAWN, "Its grant was revoked.")
    assert record.now_is(running.id).execution is Execution.EXECUTING  # it is on its way
    assert record.now_is(others.id).state is State.PENDING
    assert not record.write(lambda tx: grants.revoke(tx, grant.id))
