"""A record for tests: real databases, a clock set by hand, and calls to hold. Not a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from approvals import decide, execution, queue
from approvals.digest import canonical
from approvals.model import (
    Approval,
    ArgumentEdit,
    Call,
    Choice,
    Client,
    Decided,
    Execution,
    Millis,
    Moved,
    Reviewer,
    Ruling,
    Terms,
    Vote,
)
from approvals.record.database import Database, Transaction
from approvals.record.history import row_of, walk
from approvals.record.keys import Keys
from approvals.rows import load

T = TypeVar("T")

KEYS = Keys(b"0123456789abcdef0123456789abcdef")
START: Millis = 1_800_000_000_000

ALICE = Reviewer(id="alice", role="approver", verified="session")
BOB = Reviewer(id="bob", role="approver", verified="cli")
CAROL = Reviewer(id="carol", role="approver", verified="slack")

RULING = Ruling(
    rule="/tools/refund/approve_if/0",
    reason="Refunds need a person.",
    policy_hash="p" * 64,
    matched="amount 1200 > 500",
)


class HandClock:
    """Stands still until it is moved."""

    def __init__(self, now: Millis = START) -> None:
        self._now = now

    def now(self) -> Millis:
        return self._now

    def pass_(self, *, seconds: float) -> None:
        self._now += int(seconds * 1000)


ClaimOutcome = execution.Claimed[None] | execution.Postponed[None] | execution.Lost


@dataclass(frozen=True, slots=True)
class Record:
    """An open database and its clock, with the few moves most tests make."""

    database: Database
    clock: HandClock
    url: str

    def write(self, fn: Callable[[Transaction], T]) -> T:
        return self.database.journal.write_now(fn)

    def read(self, fn: Callable[[Connection], T]) -> T:
        return self.database.read_now(fn)

    def now_is(self, approval_id: str) -> Approval:
        """The approval as it stands."""
        found = self.read(lambda connection: load(connection, approval_id, keys=KEYS))
        assert found is not None
        return found

    def hold(self, arguments: Any = None, **fields: Any) -> Approval:
        return self.write(lambda tx: hold(tx, arguments, **fields))

    def decide(
        self,
        approval: Approval,
        reviewer: Reviewer = ALICE,
        choice: Choice = Choice.APPROVE,
        **fields: Any,
    ) -> Decided:
        return self.write(lambda tx: vote(tx, approval, reviewer, choice, **fields))

    def approved(self, arguments: Any = None, **fields: Any) -> Approval:
        """A call held and approved by alice."""
        held = self.hold(arguments, **fields)
        decided = self.decide(held)
        assert isinstance(decided, Moved)
        return decided.approval

    def edit(self, approval: Approval, reviewer: Reviewer, arguments: bytes) -> Approval:
        """What waits, with other arguments."""
        found = self.now_is(approval.id)
        decided = self.write(
            lambda tx: decide.edit(
                tx,
                found.id,
                ArgumentEdit(
                    revision=found.revision, reviewer=reviewer, arguments=arguments, via="cli"
                ),
                judge_again=lambda _tx, _call: None,
            )
        )
        assert isinstance(decided, Moved), decided
        return decided.approval

    def claim(self, approval: Approval, owner: str = "gw1") -> ClaimOutcome:
        return self.write(lambda tx: run(tx, approval, owner))

    def finish(
        self,
        approval: Approval,
        outcome: Execution = Execution.SUCCEEDED,
        *,
        owner: str = "gw1",
        result: bytes | None = b'{"content":[]}',
    ) -> Approval:
        return self.write(
            lambda tx: execution.finish(
                tx,
                approval.id,
                execution.RunEnd(outcome, result, "r" * 64, latency_ms=7),
                owner=owner,
            )
        )

    def events(self, approval: Approval | None = None) -> list[str]:
        """The history's event names, oldest first."""
        rows = self.read(lambda connection: [row_of(row) for row in walk(connection)])
        return [
            row.event.event
            for row in rows
            if approval is None or row.event.approval_id == approval.id
        ]


def call(arguments: Any = None, **fields: Any) -> Call:
    """A call that refunds money, unless said otherwise."""
    given = {"amount": 1200, "payment_id": "pay_1"} if arguments is None else arguments
    return Call(
        **{
            "grant": "grt_1",
            "grant_label": "claude-code",
            "server": "payments",
            "tool": "refund",
            "arguments": canonical(given),
            "tool_hash": "t" * 64,
            "client": Client("claude-code", "2.1"),
            **fields,
        }
    )


def hold(
    tx: Transaction,
    arguments: Any = None,
    *,
    terms: Terms | None = None,
    effect: str | None = None,
    redact: tuple[str, ...] = (),
    attached_until: Millis | None = None,
    attached_to: str | None = None,
    effect_after: str | None = None,
    **fields: Any,
) -> Approval:
    return queue.open_approval(
        tx,
        call=call(arguments, **fields),
        ruling=RULING,
        terms=terms or Terms(),
        effect=effect,
        redact=redact,
        attached_until=attached_until,
        attached_to=attached_to,
        effect_after=effect_after,
    )


def vote(
    tx: Transaction, approval: Approval, reviewer: Reviewer, choice: Choice, **fields: Any
) -> Decided:
    return decide.decide(
        tx,
        approval.id,
        Vote(
            **{
                "revision": approval.revision,
                "reviewer": reviewer,
                "choice": choice,
                "via": "page",
                **fields,
            }
        ),
    )


def run(tx: Transaction, approval: Approval, owner: str) -> ClaimOutcome:
    return execution.claim(tx, approval.id, owner=owner, lease_ms=15_000, recheck=fine)


def fine(_tx: Transaction, _approval: Approval) -> execution.Recheck[None, None]:
    """A re-check that finds nothing against it."""
    return execution.Proceed(None)
