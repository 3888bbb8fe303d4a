"""The state machine, driven at random over the real store and compared with a model of it.

`test_ten_thousand_steps` is the long run; each step is one of the moves people, agents, gateways
and the clock make, and crashes: the database is closed and opened, its leases left to run out.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from approvals import queue
from approvals.digest import canonical
from approvals.history import Intact, head, verify
from approvals.model import (
    AlreadyDecided,
    Approval,
    Choice,
    Counted,
    Decided,
    Delivery,
    Execution,
    Moved,
    NotAllowed,
    Reviewer,
    Settlement,
    Stale,
    State,
    Terms,
    tally,
)
from approvals.rows import decisions_of
from approvals.store import Database
from tests.approvals.record import KEYS, HandClock, Record, call, run

PEOPLE = [Reviewer(id=name, role="approver") for name in ("ann", "ben", "cyd")]
TERMINAL = set(State) - {State.PENDING, State.APPROVED}
FINAL = {
    Execution.SUCCEEDED,
    Execution.TOOL_ERROR,
    Execution.UPSTREAM_ERROR,
    Execution.OUTCOME_UNKNOWN,
}
OUTCOMES = st.sampled_from([*sorted(FINAL), Execution.NOT_EXECUTED])


class Machine(RuleBasedStateMachine):
    """What a witness outside keeps: who was told what, and how often anything ran."""

    ids = Bundle("ids")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.clock = HandClock()
        self.record = self.opened()
        self.runs: dict[str, int] = {}
        self.seen: dict[str, Approval] = {}
        self.checked = 0

    def opened(self) -> Record:
        url = f"sqlite:///{self.folder / 'signoff.db'}"
        return Record(Database.open(url, key=KEYS, clock=self.clock), self.clock, url)

    def teardown(self) -> None:
        found = self.record.read(lambda connection: verify(connection, KEYS))
        assert isinstance(found, Intact)
        self.record.database.close_now()
        shutil.rmtree(self.folder)

    @rule(target=ids, n=st.integers(0, 3), quorum=st.integers(1, 2), expires=st.integers(5, 60))
    def arrive(self, n: int, quorum: int, expires: int) -> str:
        """A call arrives: it attaches, is refused by a denial, or opens an approval."""
        terms = Terms(quorum=quorum, expires=expires, use_within=30, editable=("args.note",))
        arguments = {"n": n, "note": "a"}
        digest = queue.digest_of(call(arguments))
        found = self.record.write(lambda tx: queue.find_open(tx, digest))
        if found is not None:
            self.record.write(lambda tx: queue.attach(tx, found.id))
            return found.id
        return self.record.hold(arguments, terms=terms, effect=f"e{n}" if n > 1 else None).id

    @rule(
        one=ids,
        person=st.sampled_from(PEOPLE),
        choice=st.sampled_from([Choice.APPROVE, Choice.APPROVE, Choice.DENY]),
        stale=st.booleans(),
    )
    def decide(self, one: str, person: Reviewer, choice: Choice, *, stale: bool) -> None:
        before = self.record.now_is(one)
        late = before.expires_at <= self.clock.now()
        revision = before.revision - (1 if stale else 0)
        decided = self.record.decide(before, person, choice, revision=revision)
        after = self.record.now_is(one)
        if before.state is not State.PENDING or late:
            assert isinstance(decided, AlreadyDecided)
            assert decided.approval == after or decided.approval.state is after.state
        elif stale:
            assert isinstance(decided, Stale)
        elif choice is Choice.DENY:
            assert isinstance(decided, Moved)
            assert after.state is State.DENIED
        else:
            self.approved_or_counted(decided, after)

    def approved_or_counted(self, decided: Decided, after: Approval) -> None:
        votes = self.record.read(lambda connection: decisions_of(connection, after.id))
        missing = tally(votes, after.terms, after.revision)
        match decided:
            case Moved():
                assert (after.state, missing) == (State.APPROVED, 0)
            case Counted():
                assert (after.state, decided.missing) == (State.PENDING, missing)
                assert missing > 0
            case _:
                assert isinstance(decided, NotAllowed)  # the same person a second time

    @rule(one=ids, note=st.sampled_from(["b", "c"]), n=st.booleans())
    def edit(self, one: str, note: str, *, n: bool) -> None:
        before = self.record.now_is(one)
        arguments = {**json.loads(before.masked), "note": note, **({"n": 99} if n else {})}
        decided = self.record.write(
            lambda tx: queue.edit(
                tx,
                one,
                revision=before.revision,
                reviewer=PEOPLE[0],
                arguments=canonical(arguments),
                via="page",
                judge_again=lambda _tx, _call: None,
            )
        )
        after = self.record.now_is(one)
        if isinstance(decided, Moved):
            assert before.state is State.PENDING
            assert after.revision == before.revision + 1
            assert after.digest != before.digest
        else:
            assert after.digest == before.digest

    @rule(one=ids, owner=st.sampled_from(["gw1", "gw2"]))
    def claim(self, one: str, owner: str) -> None:
        before = self.record.now_is(one)
        result = self.record.claim(before, owner)
        if isinstance(result, queue.Claimed):
            assert before.state is State.APPROVED
            assert before.execution in (Execution.NONE, Execution.NOT_EXECUTED)
            assert (before.use_by or 0) > self.clock.now()
            assert queue.digest_of(result.approval.call) == result.approval.digest
            self.runs[one] = self.runs.get(one, 0) + 1

    @rule(one=ids)
    def claim_twice_at_once(self, one: str) -> None:
        before = self.record.now_is(one)
        results = self.record.write(
            lambda tx: [run(tx, before, "gw1"), run(tx, before, "gw2"), run(tx, before, "gw1")]
        )
        won = sum(isinstance(result, queue.Claimed) for result in results)
        assert won <= 1
        self.runs[one] = self.runs.get(one, 0) + won

    @rule(one=ids, outcome=OUTCOMES, owner=st.sampled_from(["gw1", "gw2"]))
    def finish(self, one: str, outcome: Execution, owner: str) -> None:
        before = self.record.now_is(one)
        after = self.record.finish(before, outcome, owner=owner)
        if before.execution is not Execution.EXECUTING:
            assert after.version == self.record.now_is(one).version
            assert after.execution is before.execution
        elif after.execution is Execution.NOT_EXECUTED:
            self.runs[one] -= 1

    @rule(one=ids)
    def deliver(self, one: str) -> None:
        before = self.record.now_is(one)
        result = self.record.write(lambda tx: queue.deliver(tx, one))
        if result is not None:
            assert before.delivery is Delivery.UNDELIVERED
            assert before.execution in FINAL

    @rule(one=ids)
    def settle(self, one: str) -> None:
        before = self.record.now_is(one)
        decided = self.record.write(
            lambda tx: queue.settle(
                tx,
                one,
                reviewer=PEOPLE[0],
                settlement=Settlement.NOT_DONE,
                note="",
                via="cli",
            )
        )
        unknown = before.execution is Execution.OUTCOME_UNKNOWN and before.settlement is None
        assert isinstance(decided, Moved) == unknown

    @rule(one=ids)
    def withdraw(self, one: str) -> None:
        self.record.write(lambda tx: queue.withdraw(tx, one, grant="grt_1", why="left"))

    @rule(one=ids)
    def supersede(self, one: str) -> None:
        self.record.write(lambda tx: queue.supersede(tx, one, "policy"))

    @rule(seconds=st.sampled_from([1, 10, 40]))
    def pass_time(self, seconds: int) -> None:
        self.clock.pass_(seconds=seconds)

    @rule()
    def sweep(self) -> None:
        self.record.write(lambda tx: queue.expire_due(tx, tx.now))
        self.record.write(lambda tx: queue.recover_leases(tx, tx.now))

    @rule()
    def crash(self) -> None:
        self.record.database.close_now()
        self.record = self.opened()

    @invariant()
    def nothing_is_lost_double_unapproved_or_reversed(self) -> None:
        if not hasattr(self, "record"):
            return
        for one, before in list(self.seen.items()):
            now = self.record.now_is(one)
            if before.state in TERMINAL:
                assert now.state is before.state
            if before.execution in FINAL:
                assert now.execution is before.execution
            if before.state is State.APPROVED and now.state is State.APPROVED:
                assert now.digest == before.digest
            assert now.version >= before.version
            assert self.runs.get(one, 0) <= 1
            assert (now.execution in {Execution.EXECUTING, *FINAL}) == (self.runs.get(one, 0) == 1)
            self.seen[one] = now
        for one in self.runs:
            self.seen.setdefault(one, self.record.now_is(one))
        top = self.record.read(head).seq
        assert top >= self.checked
        self.checked = top


QUICK = settings(
    max_examples=12,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_any_order_of_moves_keeps_the_promises() -> None:
    run_state_machine_as_test(Machine, settings=QUICK)


@pytest.mark.slow
def test_ten_thousand_steps_keep_the_promises() -> None:
    long = settings(QUICK, max_examples=100, stateful_step_count=100)
    run_state_machine_as_test(Machine, settings=long)
