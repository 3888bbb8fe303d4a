"""Races, started together by a barrier: exactly one wins, the others are told who did."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from approvals import decide, execution, queue, taking_back
from approvals.digest import canonical, digest_of
from approvals.model import (
    AlreadyDecided,
    Approval,
    ArgumentEdit,
    Choice,
    Counted,
    Decided,
    Execution,
    Moved,
    Reviewer,
    Stale,
    State,
    Terms,
)
from approvals.record.database import Database, Transaction
from approvals.record.history import Intact, verify
from tests.support.patience import PATIENCE
from tests.support.record import ALICE, BOB, KEYS, Record, call, hold, run, vote

ROUNDS = 5
Act = Callable[[Transaction], Any]


def together(databases: Sequence[Database], acts: Sequence[Act]) -> list[Any]:
    """Run the writes at the same moment, each in a thread, spread over the databases."""
    barrier = threading.Barrier(len(acts))
    results: list[Any] = [None] * len(acts)

    def work(place: int) -> None:
        barrier.wait(PATIENCE)
        database = databases[place % len(databases)]
        results[place] = database.journal.write_now(acts[place])

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return results


@pytest.fixture
def replicas(record: Record) -> Any:
    """The same record in two processes' worth of connections."""
    other = Database.open(record.url, key=KEYS, clock=record.clock)
    yield (record.database, other)
    other.close_now()


def approve(held: Approval, reviewer: Reviewer = ALICE) -> Act:
    return lambda tx: vote(tx, held, reviewer, Choice.APPROVE)


def deny(held: Approval) -> Act:
    return lambda tx: vote(tx, held, BOB, Choice.DENY)


def withdraw(held: Approval) -> Act:
    return partial(queue.withdraw, approval_id=held.id, grant="grt_1", why="left")


def supersede(held: Approval) -> Act:
    return partial(queue.supersede, approval_id=held.id, why="policy")


def edit(held: Approval) -> Act:
    def act(tx: Transaction) -> Decided:
        return decide.edit(
            tx,
            held.id,
            ArgumentEdit(
                revision=1,
                reviewer=BOB,
                arguments=canonical({"amount": 1, "payment_id": "pay_1"}),
                via="page",
            ),
            judge_again=lambda _tx, _call: None,
        )

    return act


@pytest.mark.parametrize("other", [approve, deny])
def test_an_approval_against_anything_that_ends_it_has_one_winner(
    record: Record, replicas: tuple[Database, ...], other: Callable[[Approval], Act]
) -> None:
    ends = Counter[State]()
    for n in range(ROUNDS):
        held = record.hold({"n": n})
        against = approve(held, BOB) if other is approve else other(held)
        results = together(replicas, [approve(held), against, approve(held), against])
        assert sum(isinstance(result, Moved) for result in results) == 1
        final = record.now_is(held.id)
        for result in results:
            if isinstance(result, AlreadyDecided):
                assert (result.approval.state, result.approval.decided_by) == (
                    final.state,
                    final.decided_by,
                )
        ends[final.state] += 1
    assert State.PENDING not in ends


@pytest.mark.parametrize(
    ("decide", "state"), [(approve, State.APPROVED), (deny, State.DENIED)], ids=["approve", "deny"]
)
def test_a_decision_against_the_deadline_has_one_winner(
    record: Record,
    replicas: tuple[Database, ...],
    decide: Callable[[Approval], Act],
    state: State,
) -> None:
    for n in range(ROUNDS):
        held = record.hold({"n": n}, terms=Terms(expires=60))
        record.clock.pass_(seconds=59.999 if n % 2 else 60)
        sweep = partial(queue.expire_due, now=held.expires_at)
        decided, *_ = together(replicas, [decide(held), sweep, sweep])
        final = record.now_is(held.id)
        assert final.state is (state if isinstance(decided, Moved) else State.EXPIRED)
        ends = [name for name in record.events(held) if name in (str(state), "expired")]
        assert len(ends) == 1


@pytest.mark.parametrize(
    ("ending", "state"), [(supersede, State.SUPERSEDED), (withdraw, State.WITHDRAWN)]
)
def test_what_is_withdrawn_or_superseded_beside_an_approval_never_runs(
    record: Record,
    replicas: tuple[Database, ...],
    ending: Callable[[Approval], Act],
    state: State,
) -> None:
    for n in range(ROUNDS):
        held = record.hold({"n": n})
        approved, *ended = together(replicas, [approve(held), ending(held), ending(held)])
        assert sum(isinstance(one, Approval) for one in ended) == 1
        assert record.now_is(held.id).state is state
        assert isinstance(approved, (Moved, AlreadyDecided))
        assert isinstance(record.claim(held), execution.Lost)


def test_an_approval_never_counts_for_arguments_that_were_edited_meanwhile(
    record: Record, replicas: tuple[Database, ...]
) -> None:
    for n in range(ROUNDS):
        terms = Terms(editable=("args.amount",), expires=1800 + n)
        held = record.hold(grant=f"grt_{n + 10}", terms=terms)
        approved, edited = together(replicas, [approve(held), edit(held)])
        final = record.now_is(held.id)
        if isinstance(edited, Moved):
            assert isinstance(approved, Stale)
            assert (final.state, final.revision) == (State.PENDING, 2)
        else:
            assert isinstance(approved, Moved)
            assert (final.state, final.revision, final.digest) == (State.APPROVED, 1, held.digest)


def test_forty_deciders_at_once_have_one_winner(
    record: Record, replicas: tuple[Database, ...]
) -> None:
    for n in range(3):
        held = record.hold({"n": n})
        people = [Reviewer(id=f"r{place}", role="approver") for place in range(40)]
        acts = [
            partial(
                vote,
                approval=held,
                reviewer=one,
                choice=Choice.DENY if place % 2 else Choice.APPROVE,
            )
            for place, one in enumerate(people)
        ]
        results = together(replicas, acts)
        winners = [result for result in results if isinstance(result, Moved)]
        assert len(winners) == 1
        final = record.now_is(held.id)
        assert final.decided_by == winners[0].approval.decided_by
        assert all(
            result.approval.decided_by == final.decided_by
            for result in results
            if isinstance(result, AlreadyDecided)
        )
    found = record.read(lambda connection: verify(connection, KEYS))
    assert isinstance(found, Intact)


def test_of_two_claimers_one_runs_it(record: Record, replicas: tuple[Database, ...]) -> None:
    for n in range(ROUNDS):
        approved = record.approved({"n": n})
        results = together(
            replicas, [partial(run, approval=approved, owner=f"gw{place}") for place in range(8)]
        )
        assert sum(isinstance(result, execution.Claimed) for result in results) == 1
        assert record.events(approved).count("claimed") == 1


@pytest.mark.parametrize("ending", [supersede, withdraw])
def test_a_claim_against_a_policy_reload_or_the_agents_no_runs_before_it_or_never(
    record: Record, replicas: tuple[Database, ...], ending: Callable[[Approval], Act]
) -> None:
    for n in range(ROUNDS):
        approved = record.approved({"n": n})
        claim: Act = partial(run, approval=approved, owner="gw")
        acts = [claim, ending(approved), claim] if n % 2 else [ending(approved), claim, claim]
        results = together(replicas, acts)
        ran = sum(isinstance(result, execution.Claimed) for result in results)
        ended = sum(isinstance(result, Approval) for result in results)
        assert (ran, ended) in {(1, 0), (0, 1)}
        told = [name for name in record.events(approved) if name not in ("held", "approved")]
        assert len(told) == 1


def test_of_two_edits_at_once_one_stands_and_the_other_was_of_an_earlier_revision(
    record: Record, replicas: tuple[Database, ...]
) -> None:
    for n in range(ROUNDS):
        terms = Terms(editable=("args.amount",))
        held = record.hold(grant=f"grt_{n + 10}", terms=terms)
        results = together(replicas, [edit(held), edit(held), edit(held)])
        assert sum(isinstance(result, Moved) for result in results) == 1
        assert sum(isinstance(result, Stale) for result in results) == 2
        assert record.now_is(held.id).revision == 2


def test_two_people_at_once_make_a_quorum_of_two_once(
    record: Record, replicas: tuple[Database, ...]
) -> None:
    for n in range(ROUNDS):
        held = record.hold({"n": n}, terms=Terms(quorum=2))
        acts = [approve(held, person) for person in (ALICE, BOB, ALICE, BOB)]
        results = together(replicas, acts)
        assert sum(isinstance(result, Counted) for result in results) == 1
        assert sum(isinstance(result, Moved) for result in results) == 1
        assert record.events(held).count("approved") == 1


def test_identical_calls_at_once_on_two_replicas_are_one_approval(
    record: Record, replicas: tuple[Database, ...]
) -> None:
    def arrive(tx: Transaction, n: int) -> str:
        found = queue.find_open(tx, digest_of(call({"n": n})))
        return queue.attach(tx, found.id).id if found else hold(tx, {"n": n}).id

    for n in range(ROUNDS):
        results = together(replicas, [partial(arrive, n=n)] * 6)
        assert len(set(results)) == 1
        assert record.now_is(results[0]).attempts == 6


def test_of_two_effects_at_once_one_runs(record: Record, replicas: tuple[Database, ...]) -> None:
    for n in range(ROUNDS):
        one = record.approved({"n": n, "w": 1}, effect=f"refund:{n}")
        other = record.approved({"n": n, "w": 2}, effect=f"refund:{n}")
        results = together(
            replicas,
            [partial(run, approval=approval, owner="gw") for approval in (one, other)],
        )
        assert sum(isinstance(result, execution.Claimed) for result in results) == 1


def test_a_claim_against_the_deadline_runs_or_expires(
    record: Record, replicas: tuple[Database, ...]
) -> None:
    for n in range(ROUNDS):
        approved = record.approved({"n": n}, terms=Terms(use_within=60))
        record.clock.pass_(seconds=59 if n % 2 else 60)
        sweep = partial(queue.expire_due, now=approved.use_by or 0)
        claimed, _ = together(replicas, [partial(run, approval=approved, owner="gw"), sweep])
        final = record.now_is(approved.id)
        assert (final.state is State.APPROVED) == isinstance(claimed, execution.Claimed)


def test_taking_back_against_a_claim_has_one_winner(
    record: Record, replicas: tuple[Database, ...]
) -> None:
    for n in range(2 * ROUNDS):
        approved = record.approved({"n": n}, effect=f"refund:{n}" if n % 2 else None)
        back = partial(taking_back.take_back, approval_id=approved.id, reviewer=ALICE, via="page")
        acts: list[Act] = [partial(run, approval=approved, owner="gw"), back]
        results = together(replicas, acts if n % 4 < 2 else acts[::-1])
        claimed, taken = results if n % 4 < 2 else results[::-1]
        assert isinstance(claimed, execution.Claimed) != isinstance(taken, Moved)
        final = record.now_is(approved.id)
        if isinstance(taken, Moved):
            assert (final.state, final.execution) == (State.WITHDRAWN, Execution.NONE)
            assert isinstance(claimed, execution.Lost)
        else:
            assert isinstance(taken, taking_back.TooLate)
            assert "has started" in taken.why
            assert final.execution is Execution.EXECUTING
        told = [one for one in record.events(approved) if one in ("claimed", "taken_back")]
        assert len(told) == 1
    found = record.read(lambda connection: verify(connection, KEYS))
    assert isinstance(found, Intact)
