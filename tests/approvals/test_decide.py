"""What reviewers do: vote, deny, edit, extend, settle; who may, and who was first."""

from __future__ import annotations

import pytest

from approvals import decide, execution, queue
from approvals.digest import canonical, digest_of
from approvals.model import (
    AlreadyDecided,
    Approval,
    ArgumentEdit,
    Call,
    Choice,
    Counted,
    Decided,
    Event,
    Execution,
    Moved,
    NotAllowed,
    NotFound,
    Reviewer,
    Settlement,
    Stale,
    State,
    Terms,
    Vote,
)
from approvals.permission import GRANT
from approvals.record import signed
from approvals.record.database import Transaction
from approvals.reviewers import add
from approvals.rows import decisions_of
from tests.support.record import ALICE, BOB, CAROL, START, Record, call, vote


def test_one_approval_is_enough_where_the_quorum_is_one(record: Record) -> None:
    held = record.hold(terms=Terms(use_within=900))
    decided = record.decide(held, reason="looks right", view_digest="v" * 64)
    assert isinstance(decided, Moved)
    approved = decided.approval
    assert (approved.state, approved.decided_by, approved.decided_via, approved.reason) == (
        State.APPROVED,
        "alice",
        "page",
        "looks right",
    )
    assert approved.use_by == START + 900_000
    (kept,) = record.read(lambda connection: decisions_of(connection, held.id))
    assert (kept.reviewer, kept.choice, kept.view_digest) == ("alice", Choice.APPROVE, "v" * 64)


def test_a_quorum_of_two_needs_two_people_and_not_one_twice(record: Record) -> None:
    held = record.hold(terms=Terms(quorum=2))
    first = record.decide(held, ALICE)
    assert isinstance(first, Counted)
    assert (first.missing, first.approval.state) == (1, State.PENDING)
    assert record.decide(held, ALICE) == NotAllowed("You have already approved this.")
    assert isinstance(record.decide(held, BOB), Moved)
    assert record.events() == ["held", "voted", "approved"]


def test_a_person_with_two_names_votes_once(record: Record) -> None:
    record.write(lambda tx: add(tx, "alice", role="approver", identities=("slack:T1/U1",)))
    linked = Reviewer(id="alice", role="approver", identities=("slack:T1/U1",))
    unlinked = Reviewer(id="slack:T1/U1", role="approver")
    for one, other in ((linked, unlinked), (unlinked, linked)):
        held = record.hold({"first": one.id}, terms=Terms(quorum=2))
        assert isinstance(record.decide(held, one), Counted)
        assert isinstance(record.decide(held, other), NotAllowed)


def test_one_denial_ends_it_and_the_second_reviewer_cannot_reverse_it(record: Record) -> None:
    held = record.hold(terms=Terms(quorum=2))
    record.decide(held, ALICE)
    assert isinstance(record.decide(held, BOB, Choice.DENY, reason="no"), Moved)
    late = record.decide(held, CAROL)
    assert isinstance(late, AlreadyDecided)
    assert (late.approval.state, late.approval.decided_by, late.approval.reason) == (
        State.DENIED,
        "bob",
        "no",
    )


def test_who_approved_may_still_deny_while_the_quorum_is_open(record: Record) -> None:
    held = record.hold(terms=Terms(quorum=2))
    record.decide(held, ALICE)
    assert isinstance(record.decide(held, ALICE, Choice.DENY, reason="mistake"), Moved)
    (kept,) = record.read(lambda connection: decisions_of(connection, held.id))
    assert kept.choice is Choice.DENY
    assert record.events() == ["held", "voted", "denied"]


@pytest.mark.parametrize(
    ("terms", "reviewer", "why"),
    [
        (Terms(), Reviewer(id="v", role="viewer"), "Your role may look, but not decide."),
        (Terms(reviewers=("bob",)), ALICE, "This rule names other reviewers."),
        (Terms(), Reviewer(id="grt_1", role="admin"), "Anyone who asked may not decide."),
        (
            Terms(),
            Reviewer(id="x", role="admin", identities=("grt_1",)),
            "Anyone who asked may not decide.",
        ),
        (
            Terms(not_owner=True),
            Reviewer(id="olga", role="admin"),
            "This rule wants someone other than the agent's owner.",
        ),
        (
            Terms(not_owner=True),
            Reviewer(id="z", role="admin", identities=("olga",)),
            "This rule wants someone other than the agent's owner.",
        ),
    ],
)
def test_who_may_not_decide_is_told_why_and_changes_nothing(
    record: Record, terms: Terms, reviewer: Reviewer, why: str
) -> None:
    record.write(own)
    held = record.hold(terms=terms)
    assert record.decide(held, reviewer) == NotAllowed(why)
    assert record.now_is(held.id) == held


def own(tx: Transaction) -> None:
    signed.put(
        tx,
        GRANT,
        {
            "id": "grt_1",
            "label": "claude-code",
            "token_hash": "h",
            "servers": "[]",
            "owner": "olga",
            "created_at": START,
        },
        event=Event(event="grant_created", actor_kind="operator", grant="grt_1"),
    )


@pytest.mark.parametrize("name", ["alice", "slack:T1/U1", "slack-group:T1/S1"])
def test_a_reviewer_is_meant_by_any_name_they_are_proven_to_have(record: Record, name: str) -> None:
    proven = Reviewer(id="alice", role="approver", identities=("slack:T1/U1", "slack-group:T1/S1"))
    held = record.hold(terms=Terms(reviewers=(name, "bob")))
    assert isinstance(record.decide(held, proven), Moved)


def test_a_decision_after_the_deadline_comes_too_late(record: Record) -> None:
    held = record.hold(terms=Terms(expires=60))
    record.clock.pass_(seconds=60)
    late = record.decide(held)
    assert isinstance(late, AlreadyDecided)
    assert late.approval.state is State.EXPIRED


def test_a_decision_on_an_approval_that_does_not_exist(record: Record) -> None:
    held = record.hold()
    missing = record.write(
        lambda tx: decide.decide(
            tx, "apr_0", Vote(revision=1, reviewer=ALICE, choice=Choice.APPROVE, via="page")
        )
    )
    assert missing == NotFound()
    assert record.now_is(held.id) == held


def agree(_tx: Transaction, _call: Call) -> None:
    return None


def edit(
    record: Record, held: Approval, arguments: object, reviewer: Reviewer = BOB, revision: int = 1
) -> Decided:
    return record.write(
        lambda tx: decide.edit(
            tx,
            held.id,
            ArgumentEdit(
                revision=revision, reviewer=reviewer, arguments=canonical(arguments), via="page"
            ),
            judge_again=agree,
        )
    )


EDITABLE = Terms(quorum=2, editable=("args.amount", "args.items[*].n"))


def test_an_edit_is_a_new_revision_that_voids_earlier_approvals(record: Record) -> None:
    held = record.hold(terms=EDITABLE)
    record.decide(held, ALICE)
    edited = edit(record, held, {"amount": 900, "payment_id": "pay_1"})
    assert isinstance(edited, Moved)
    revised = edited.approval
    assert (revised.revision, revised.state, revised.asked) == (2, State.PENDING, held.asked)
    assert revised.digest == digest_of(call({"amount": 900, "payment_id": "pay_1"}))
    assert isinstance(record.decide(held, CAROL), Stale)
    assert isinstance(record.decide(revised, ALICE), Counted)
    assert isinstance(record.decide(revised, CAROL), Moved)
    claimed = record.claim(revised)
    assert isinstance(claimed, execution.Claimed)
    assert claimed.approval.call.arguments == b'{"amount":900,"payment_id":"pay_1"}'


def test_the_agent_that_repeats_its_call_finds_the_edited_approval(record: Record) -> None:
    held = record.hold(terms=EDITABLE)
    edit(record, held, {"amount": 900, "payment_id": "pay_1"})
    found = record.write(lambda tx: queue.find_open(tx, digest_of(call())))
    assert found is not None
    assert found.id == held.id


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"amount": 1200, "payment_id": "pay_1"}, "Nothing was changed."),
        (
            {"amount": 900, "payment_id": "pay_2"},
            "args.payment_id may not be edited under this rule.",
        ),
        ({"amount": 900}, "args.payment_id may not be edited under this rule."),
        (
            {"amount": 1200, "payment_id": "pay_1", "to": "me"},
            "args.to may not be edited under this rule.",
        ),
        ([1], "The arguments are not a canonical JSON object."),
    ],
)
def test_an_edit_beyond_the_editable_paths_is_refused(
    record: Record, arguments: object, why: str
) -> None:
    held = record.hold(terms=EDITABLE)
    assert edit(record, held, arguments) == NotAllowed(why)
    assert record.now_is(held.id) == held


def test_an_edit_that_the_policy_denies_is_refused(record: Record) -> None:
    held = record.hold(terms=EDITABLE)
    refused = record.write(
        lambda tx: decide.edit(
            tx,
            held.id,
            ArgumentEdit(
                revision=1,
                reviewer=BOB,
                arguments=canonical({"amount": 10**9, "payment_id": "pay_1"}),
                via="page",
            ),
            judge_again=lambda _tx, seen: f"denied: {seen.arguments.decode()}",
        )
    )
    assert refused == NotAllowed('denied: {"amount":1000000000,"payment_id":"pay_1"}')
    assert record.now_is(held.id) == held


def test_a_list_may_grow_only_where_its_whole_is_editable(record: Record) -> None:
    given = {"items": [{"n": 1, "x": "a"}]}
    held = record.hold(given, terms=EDITABLE)
    assert isinstance(edit(record, held, {"items": [{"n": 2, "x": "a"}]}), Moved)
    grown = {"items": [{"n": 2, "x": "a"}, {"n": 3, "x": "b"}]}
    assert edit(record, held, grown, revision=2) == NotAllowed(
        "args.items[1] may not be edited under this rule."
    )


def test_a_deadline_moves_further_and_never_nearer(record: Record) -> None:
    held = record.hold(terms=Terms(expires=60))

    def extend(seconds: int) -> Decided:
        return record.write(
            lambda tx: decide.extend(tx, held.id, reviewer=ALICE, seconds=seconds, via="cli")
        )

    extended = extend(600)
    assert isinstance(extended, Moved)
    assert extended.approval.expires_at == START + 660_000
    assert isinstance(extend(-5), NotAllowed)
    assert isinstance(extend(10**9), Moved)
    assert record.now_is(held.id).expires_at == START + 30 * 86_400_000
    assert isinstance(extend(60), NotAllowed)


def test_an_unknown_outcome_is_settled_once_and_only_by_who_may(record: Record) -> None:
    approved = record.approved(terms=Terms(reviewers=("alice", "bob")))

    def settle(reviewer: Reviewer) -> Decided:
        return record.write(
            lambda tx: decide.settle(
                tx,
                approved.id,
                reviewer=reviewer,
                settlement=Settlement.NOT_DONE,
                note="not in the ledger",
                via="page",
            )
        )

    assert isinstance(settle(ALICE), AlreadyDecided)
    record.claim(approved)
    record.finish(approved, Execution.OUTCOME_UNKNOWN, result=None)
    assert isinstance(settle(CAROL), NotAllowed)
    settled = settle(BOB)
    assert isinstance(settled, Moved)
    assert settled.approval.settlement is Settlement.NOT_DONE
    assert settled.approval.execution is Execution.OUTCOME_UNKNOWN
    assert isinstance(settle(ALICE), AlreadyDecided)


def test_two_people_at_once_reach_the_quorum_together(record: Record) -> None:
    held = record.hold(terms=Terms(quorum=2))
    one, other = record.write(
        lambda tx: (
            vote(tx, held, ALICE, Choice.APPROVE),
            vote(tx, held, BOB, Choice.APPROVE),
        )
    )
    assert isinstance(one, Counted)
    assert isinstance(other, Moved)
