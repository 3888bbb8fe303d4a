"""The state machine, driven at random over the real store and compared with a model of it.

Each step is a move that people, agents, gateways, the policy or the clock make, through either of
two replicas; or a death: in the middle of a transaction, between two, or with the disk as it was at
that instant. `test_ten_thousand_steps_keep_the_promises` is the long run, on both databases.
"""

from __future__ import annotations

import json
import random
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
import psycopg
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
from sqlalchemy import make_url

from approvals import decide, execution, leases, queue, retention, reversal
from approvals.digest import canonical, digest_of
from approvals.execution import Answers
from approvals.model import (
    MOVES,
    AlreadyDecided,
    Approval,
    ArgumentEdit,
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
from approvals.record.database import Database, RecordUnavailable, Transaction
from approvals.record.history import Intact, head, verify
from approvals.rows import decisions_of
from approvals.taking_back import take_back
from tests.support.record import KEYS, HandClock, Record, call, hold, vote
from tests.support.scratch_record import POSTGRES

PEOPLE = [Reviewer(id=name, role="approver") for name in ("ann", "ben", "cyd")]
OWNERS = st.sampled_from(["gw1", "gw2"])
TERMINAL = set(State) - {State.PENDING, State.APPROVED}
FINAL = {
    Execution.SUCCEEDED,
    Execution.TOOL_ERROR,
    Execution.UPSTREAM_ERROR,
    Execution.OUTCOME_UNKNOWN,
}
SENT = {Execution.EXECUTING, Execution.INPUT_REQUIRED, *FINAL}
OUTCOMES = st.sampled_from([*sorted(FINAL), *[Execution.NOT_EXECUTED] * 3])
Act = Callable[[Transaction], Any]


class Died(Exception):
    """The process is gone before its transaction is committed."""


class Machine(RuleBasedStateMachine):
    """What a witness outside keeps: who was told what, and how often anything was sent."""

    ids = Bundle("ids")
    steps: ClassVar[int] = 0
    told: ClassVar[Counter[str]] = Counter()

    @initialize()
    def open(self) -> None:
        self.clock = HandClock()
        self.place()
        self.replicas = [self.opened(), self.opened()]
        self.record = self.replicas[0]
        self.sent: Counter[tuple[str, int]] = Counter()  # approval and round of questions
        self.seen: dict[str, Approval] = {}
        self.denied: frozenset[int] = frozenset()  # what the policy in force denies, by `n`
        self.checked = 0

    def place(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.url = f"sqlite:///{self.folder / 'signoff.db'}"

    def opened(self) -> Record:
        return Record(Database.open(self.url, key=KEYS, clock=self.clock), self.clock, self.url)

    def closed(self) -> None:
        for replica in self.replicas:
            replica.database.close_now()

    def teardown(self) -> None:
        if not hasattr(self, "record"):
            return
        found = self.record.read(lambda connection: verify(connection, KEYS))
        assert isinstance(found, Intact)
        type(self).told.update(self.record.events())
        self.closed()
        self.gone()

    def gone(self) -> None:
        shutil.rmtree(self.folder)

    # What arrives, and what people say.

    @rule(target=ids, n=st.integers(0, 3), quorum=st.integers(1, 2), expires=st.integers(5, 60))
    def arrive(self, n: int, quorum: int, expires: int) -> str:
        """A call arrives: it attaches to an approval or opens one."""
        terms = Terms(quorum=quorum, expires=expires, use_within=30, editable=("args.note",))
        arguments = {"n": n, "note": "a"}
        digest = digest_of(call(arguments))

        def admit(tx: Transaction) -> str:
            found = queue.find_open(tx, digest)
            if found is not None:
                return queue.attach(tx, found.id, until=tx.now + 5_000).id
            queue.remembered_denial(tx, digest, tx.now)
            return hold(tx, arguments, terms=terms, effect=f"e{n}" if n > 1 else None).id

        return self.record.write(admit)

    @rule(
        one=ids,
        person=st.sampled_from(PEOPLE),
        choice=st.sampled_from([Choice.APPROVE, Choice.APPROVE, Choice.DENY]),
        stale=st.sampled_from([False, False, True]),
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

    @rule(one=ids, note=st.sampled_from(["b", "c"]), beyond=st.sampled_from([False, False, True]))
    def edit(self, one: str, note: str, *, beyond: bool) -> None:
        before = self.record.now_is(one)
        decided = self.record.write(partial(edited, before=before, note=note, beyond=beyond))
        after = self.record.now_is(one)
        if isinstance(decided, Moved):
            assert before.state is State.PENDING
            assert not beyond
            assert after.revision == before.revision + 1
            assert after.digest != before.digest
        else:
            assert after.digest == before.digest

    @rule(one=ids, seconds=st.integers(-1, 30))
    def extend(self, one: str, seconds: int) -> None:
        before = self.record.now_is(one)
        waits = before.state is State.PENDING and before.expires_at > self.clock.now()
        decided = self.record.write(
            lambda tx: decide.extend(tx, one, reviewer=PEOPLE[1], seconds=seconds, via="page")
        )
        assert isinstance(decided, Moved) == (waits and seconds > 0)
        later = self.record.now_is(one).expires_at - before.expires_at
        assert later == (seconds * 1000 if isinstance(decided, Moved) else 0)

    # What gateways send.

    def claiming(self, one: str, owner: str, answering: Answers | None = None) -> Act:
        def recheck(_tx: Transaction, approval: Approval) -> execution.Recheck[None, None]:
            if number(approval) in self.denied:
                return execution.Superseded("The policy denies it now.")
            return execution.Proceed(None)

        return lambda tx: execution.claim(
            tx, one, owner=owner, lease_ms=15_000, recheck=recheck, answering=answering
        )

    @rule(one=ids, owner=OWNERS)
    def claim(self, one: str, owner: str) -> None:
        before = self.record.now_is(one)
        result = self.record.write(self.claiming(one, owner))
        if isinstance(result, execution.Claimed):
            assert before.state is State.APPROVED
            assert before.execution in (Execution.NONE, Execution.NOT_EXECUTED)
            assert (before.use_by or 0) > self.clock.now()
            assert digest_of(result.approval.call) == result.approval.digest
            assert number(before) not in self.denied
            self.sent[one, 0] += 1

    @rule(one=ids)
    def claim_twice_at_once(self, one: str) -> None:
        acts = [self.claiming(one, owner) for owner in ("gw1", "gw2", "gw1")]
        first = self.record.write(lambda tx: [act(tx) for act in acts])
        others = [replica.write(self.claiming(one, "gw2")) for replica in self.replicas]
        won = sum(isinstance(result, execution.Claimed) for result in (*first, *others))
        assert won <= 1
        self.sent[one, 0] += won

    @rule(one=ids, owner=OWNERS, late=st.sampled_from([0, 0, 1]))
    def go_on(self, one: str, owner: str, late: int) -> None:
        """The agent answers what the server asked back, once; or what it asked before that."""
        before = self.record.now_is(one)
        answers = Answers(round=before.round - late, shown={"yes": True})
        result = self.record.write(self.claiming(one, owner, answers))
        if isinstance(result, execution.Claimed):
            assert not late
            assert before.execution is Execution.INPUT_REQUIRED
            self.sent[one, before.round] += 1

    @rule(one=ids, outcome=OUTCOMES, owner=OWNERS)
    def finish(self, one: str, outcome: Execution, owner: str) -> None:
        before = self.record.now_is(one)
        if outcome is Execution.NOT_EXECUTED and before.round:
            return  # the server has had the call: only its question stands again
        after = self.record.finish(before, outcome, owner=owner)
        if before.execution is not Execution.EXECUTING:
            assert after.version == self.record.now_is(one).version
            assert after.execution is before.execution
        elif after.execution is Execution.NOT_EXECUTED:
            self.sent[one, 0] -= 1

    @rule(one=ids, owner=OWNERS, reached=st.booleans())
    def ask_back(self, one: str, owner: str, *, reached: bool) -> None:
        """The server asks; or the answers to its question never reached it."""
        before = self.record.now_is(one)
        if not reached and not before.round:
            return
        asked = b'{"inputRequests":{}}' if reached else None
        after = self.record.finish(before, Execution.INPUT_REQUIRED, owner=owner, result=asked)
        if before.execution is Execution.EXECUTING and after.execution is Execution.INPUT_REQUIRED:
            assert after.round == before.round + reached
            self.sent[one, before.round] -= not reached

    @rule(one=ids)
    def deliver(self, one: str) -> None:
        before = self.record.now_is(one)
        result = self.record.write(lambda tx: execution.deliver(tx, one))
        if result is not None:
            assert before.delivery is Delivery.UNDELIVERED
            assert before.execution in FINAL

    @rule(one=ids)
    def settle(self, one: str) -> None:
        before = self.record.now_is(one)
        decided = self.record.write(partial(settled, one=one))
        unknown = before.execution is Execution.OUTCOME_UNKNOWN and before.settlement is None
        assert isinstance(decided, Moved) == unknown

    @rule(
        one=ids, far=st.integers(0, 4), questions=st.sampled_from([0, 0, 0, 1, 2]), outcome=OUTCOMES
    )
    def carry(self, one: str, far: int, questions: int, outcome: Execution) -> None:
        """The usual way, some of it at once: chance alone seldom gets to its end."""
        for person in PEOPLE[:2]:
            self.decide(one, person, Choice.APPROVE, stale=False)
        if far:
            self.claim(one, "gw1")
        for _ in range(questions if far else 0):
            self.ask_back(one, "gw1", reached=True)
            self.go_on(one, "gw1", 0)
        if far > 1:
            self.finish(one, outcome, "gw1")
        if far > 2:
            self.deliver(one)
        if far > 3:
            self.settle(one)

    @rule(one=ids, grant=st.sampled_from(["grt_1", "grt_2", "grt_2"]))
    def withdraw(self, one: str, grant: str) -> None:
        ended = self.record.write(lambda tx: queue.withdraw(tx, one, grant=grant, why="left"))
        assert ended is None or grant == "grt_1"

    @rule(one=ids, person=st.sampled_from(PEOPLE))
    def take_back(self, one: str, person: Reviewer) -> None:
        """Someone no longer wants what is approved to run."""
        before = self.record.now_is(one)
        votes = self.record.read(lambda connection: decisions_of(connection, one))
        theirs = any(
            (vote.reviewer, vote.revision) == (person.id, before.revision) for vote in votes
        )
        done = self.record.write(lambda tx: take_back(tx, one, reviewer=person, via="page"))
        in_time = reversal.takeable(before, self.clock.now())
        assert isinstance(done, Moved) == (in_time and theirs)
        if isinstance(done, Moved):
            assert before.execution in (Execution.NONE, Execution.NOT_EXECUTED)
            assert self.record.now_is(one).state is State.WITHDRAWN

    @rule(one=ids)
    def leave(self, one: str) -> None:
        self.record.write(lambda tx: queue.detach(tx, one))

    # What happens around them.

    @rule(denied=st.sampled_from([frozenset(), frozenset(), frozenset({0}), frozenset({2, 3})]))
    def reload(self, denied: frozenset[int]) -> None:
        """Another policy: what it denies and has not been sent never will be."""
        self.denied = denied

        def end(tx: Transaction) -> None:
            for approval in queue.standing(tx):
                if number(approval) in denied:
                    assert queue.supersede(tx, approval.id, "policy") is not None

        self.record.write(end)
        left = self.record.write(queue.standing)
        assert denied.isdisjoint(number(approval) for approval in left)

    @rule(seconds=st.sampled_from([1, 1, 5, 40]))
    def pass_time(self, seconds: int) -> None:
        self.clock.pass_(seconds=seconds)

    @rule(owner=OWNERS)
    def sweep(self, owner: str) -> None:
        self.record.write(lambda tx: leases.renew(tx, owner=owner, lease_ms=15_000))
        self.record.write(lambda tx: queue.expire_due(tx, tx.now))
        self.record.write(lambda tx: leases.recover(tx, tx.now))

    @rule()
    def retain(self) -> None:
        """The retention time of what was over a minute ago has passed."""
        self.record.write(lambda tx: retention.drop_contents(tx, before=tx.now - 60_000))

    @rule()
    def ask_the_other_replica(self) -> None:
        self.record = next(one for one in self.replicas if one is not self.record)

    @rule()
    def restart(self) -> None:
        self.closed()
        self.replicas = [self.opened(), self.opened()]
        self.record = self.replicas[0]
        owner = "gw1"
        self.record.write(lambda tx: leases.recover(tx, tx.now, owner=owner))

    def acts(self, one: str) -> list[Act]:
        """One of each kind of change, as a process makes it that does not live to commit."""
        before = self.record.now_is(one)
        return [
            lambda tx: vote(tx, before, PEOPLE[2], Choice.APPROVE),
            lambda tx: vote(tx, before, PEOPLE[2], Choice.DENY),
            partial(edited, before=before, note="d", beyond=False),
            self.claiming(one, "gw1"),
            lambda tx: queue.withdraw(tx, one, grant="grt_1", why="left"),
            lambda tx: queue.supersede(tx, one, "policy"),
            partial(settled, one=one),
            lambda tx: execution.deliver(tx, one),
            lambda tx: take_back(tx, one, reviewer=PEOPLE[0], via="page"),
        ]

    @rule(one=ids, which=st.integers(0, 8))
    def die_in_the_middle(self, one: str, which: int) -> None:
        before, top = self.record.now_is(one), self.record.read(head)
        act = self.acts(one)[which]

        def dies(tx: Transaction) -> None:
            act(tx)
            raise Died

        with pytest.raises(Died):
            self.record.write(dies)
        assert self.record.now_is(one) == before
        assert self.record.read(head) == top

    @rule(one=ids, which=st.integers(0, 8))
    def die_with_the_disk_as_it_is(self, one: str, which: int) -> None:
        """What lies on the disk in the middle of a transaction is all that the next one finds."""
        before, top = self.record.now_is(one), self.record.read(head)
        act = self.acts(one)[which]
        copy = Path(tempfile.mkdtemp())

        def copied(tx: Transaction) -> None:
            act(tx)
            tx.flush()
            for file in self.folder.iterdir():
                if not file.name.endswith("-shm"):
                    shutil.copy(file, copy)
            raise Died

        with pytest.raises(Died):
            self.record.write(copied)
        self.closed()
        self.gone()
        self.folder, self.url = copy, f"sqlite:///{copy / 'signoff.db'}"
        self.replicas = [self.opened(), self.opened()]
        self.record = self.replicas[0]
        assert self.record.now_is(one) == before
        assert self.record.read(head) == top

    @invariant()
    def nothing_is_lost_double_unapproved_or_reversed(self) -> None:
        if not hasattr(self, "record"):
            return
        type(self).steps += 1
        for one, _ in self.sent:
            self.seen.setdefault(one, self.record.now_is(one))
        for one, before in list(self.seen.items()):
            now = self.record.now_is(one)
            if before.state in TERMINAL:
                assert now.state is before.state
            if before.execution in FINAL:
                assert now.execution is before.execution
            if before.state is State.APPROVED and now.state is State.APPROVED:
                assert now.digest == before.digest
            assert now.version >= before.version
            times = [self.sent[one, number] for number in range(now.round + 1)]
            assert all(many in (0, 1) for many in times)
            if now.execution in SENT - {Execution.INPUT_REQUIRED}:
                assert all(times)
            elif now.execution is Execution.INPUT_REQUIRED:
                assert times == [1] * now.round + [0]
            else:
                assert times == [0]
            self.seen[one] = now
        top = self.record.read(head).seq
        assert top >= self.checked
        self.checked = top


def number(approval: Approval) -> int:
    return int(json.loads(approval.masked)["n"])


def edited(tx: Transaction, *, before: Approval, note: str, beyond: bool) -> Decided:
    arguments = {**json.loads(before.masked), "note": note, **({"n": 99} if beyond else {})}
    return decide.edit(
        tx,
        before.id,
        ArgumentEdit(
            revision=before.revision, reviewer=PEOPLE[0], arguments=canonical(arguments), via="page"
        ),
        judge_again=lambda _tx, _call: None,
    )


def settled(tx: Transaction, *, one: str) -> Decided:
    return decide.settle(
        tx, one, reviewer=PEOPLE[0], settlement=Settlement.NOT_DONE, note="", via="cli"
    )


class OnPostgres(Machine):
    """The same on PostgreSQL, where a death is all connections lost."""

    def place(self) -> None:
        self.schema = f"m_{secrets.token_hex(6)}"
        self.plain = make_url(POSTGRES).set(drivername="postgresql")
        self.admin(f"CREATE SCHEMA {self.schema}")
        named = make_url(POSTGRES).update_query_dict({"options": f"-csearch_path={self.schema}"})
        self.url = named.render_as_string(hide_password=False)

    def gone(self) -> None:
        self.admin(f"DROP SCHEMA {self.schema} CASCADE")

    def admin(self, statement: str) -> None:
        url = self.plain.render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(statement)

    @rule(one=Machine.ids, which=st.integers(0, 8))
    def die_with_the_disk_as_it_is(self, one: str, which: int) -> None:
        before, top = self.record.now_is(one), self.record.read(head)
        act = self.acts(one)[which]

        def cut(tx: Transaction) -> None:
            act(tx)
            tx.flush()
            own = tx.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            self.admin(f"SELECT pg_terminate_backend({own})")
            raise Died

        with pytest.raises((Died, RecordUnavailable)):
            self.record.write(cut)
        self.restart()
        assert self.record.now_is(one).state is before.state
        assert self.record.read(head).seq >= top.seq


QUICK = settings(
    max_examples=8,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_any_order_of_moves_keeps_the_promises() -> None:
    run_state_machine_as_test(Machine, settings=QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Machine, pytest.param(OnPostgres, marks=pytest.mark.postgres)])
def test_ten_thousand_steps_keep_the_promises(machine: type[Machine], server: str | None) -> None:
    if machine is OnPostgres and server is None:
        pytest.skip("PostgreSQL does not answer: set SIGNOFF_TEST_POSTGRES (issue 5)")
    machine.steps, machine.told = 0, Counter()
    long = settings(QUICK, max_examples=55, stateful_step_count=100, database=None)
    moves = {move.event for move in MOVES} | {"voted", "edited", "extended", "settled"}
    while machine.steps < 10_000 or not moves <= machine.told.keys():
        assert machine.steps < 50_000, f"never made: {moves - machine.told.keys()}"
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"\nseed {seed}", end=" ")
        run_state_machine_as_test(hypothesis.seed(seed)(machine), settings=long)
    print(f"{machine.__name__}: {machine.steps} steps, 0 promises broken; {dict(machine.told)}")
