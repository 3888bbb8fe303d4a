"""Approvals, for everything asynchronous: guard, page, Slack, command line.

Each method is one write or one read; the rules are in `queue` and its neighbours. Not pure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Protocol

from sqlalchemy import ColumnElement, Connection, func, or_, select, true

from approvals import decide, effects, queue
from approvals.edits import AppliedEdit, edit_of
from approvals.effects import Mark
from approvals.headline import Headline
from approvals.model import (
    Approval,
    ArgumentEdit,
    Call,
    Decided,
    Decision,
    Execution,
    HistoryRow,
    Millis,
    NotFound,
    Reviewer,
    Risk,
    SettledEffect,
    Settlement,
    State,
    Via,
    Vote,
)
from approvals.permission import may_review
from approvals.record.clock import Clock
from approvals.record.database import Database, RecordUnavailable, Transaction
from approvals.record.history import HistoryPage, HistoryQuery, count_matching, search
from approvals.record.keys import Keys
from approvals.reveal import Look, reveal
from approvals.rows import APPROVAL, LISTED, approval_of, decisions_of, load, resolve, risks_of
from approvals.shared_facts import headlines_of
from approvals.taking_back import TakenBack, take_back
from approvals.telling import held_risk
from approvals.view import View, view_of
from approvals.wakeup import POLL, Wakeup


class JudgeAgain(Protocol):
    """Says why an edited call may not take the place of the held one; None if it may.

    Called inside the transaction that would write it. `call` differs from the held call only in
    what the rule lists as editable.
    """

    def __call__(self, tx: Transaction, call: Call, *, held: Approval) -> str | None: ...


class Approvals:
    """The record's asynchronous face. An id may be a short one where it is unambiguous."""

    def __init__(self, database: Database, wakeup: Wakeup, clock: Clock, keys: Keys) -> None:
        self.database = database
        self.wakeup = wakeup
        self.clock = clock
        self.keys = keys

    async def get(self, approval_id: str) -> Approval | None:
        """The approval with its arguments, or None if there is none or the short id is ambiguous.

        It may be overdue and not yet expired: compare `expires_at` before promising anything.
        """

        def find(connection: Connection) -> Approval | None:
            full = resolve(connection, approval_id)
            return None if full is None else load(connection, full, keys=self.keys)

        return await self.database.read(find)

    async def pending(
        self, *, limit: int = 200, reviewer: Reviewer | None = None, after: str | None = None
    ) -> list[Approval]:
        """What waits for a person, riskiest first, then soonest deadline. With a reviewer, only
        what this person may decide; `after` is the id of the last one of the page before. Without
        arguments: `masked` is for people.
        """
        now = self.clock.now()

        def find(connection: Connection) -> list[Approval]:
            rows = connection.execute(
                select(*LISTED)
                .where(*_waiting(now), *(() if after is None else (_behind(connection, after),)))
                .order_by(APPROVAL.c.risk_rank.desc(), APPROVAL.c.expires_at, APPROVAL.c.id)
                .limit(limit if reviewer is None else None)
            ).mappings()
            found = (approval_of(row) for row in rows)
            mine = (one for one in found if reviewer is None or _may(connection, one, reviewer))
            return list(islice(mine, limit))

        return await self.database.read(find)

    async def pending_count(self) -> int:
        """How many calls wait for a person."""
        now = self.clock.now()

        def waiting(connection: Connection) -> int:
            found = connection.execute(select(func.count()).where(*_waiting(now)))
            return int(found.scalar_one())

        return await self.database.read(waiting)

    async def decisions(self, approval_id: str) -> tuple[Decision, ...]:
        """Every vote, all revisions, in order."""

        def find(connection: Connection) -> tuple[Decision, ...]:
            full = resolve(connection, approval_id)
            return () if full is None else decisions_of(connection, full)

        return await self.database.read(find)

    async def decide(self, approval_id: str, vote: Vote) -> Decided:
        """One person's vote; see `approvals.decide.decide`."""

        def act(tx: Transaction) -> Decided:
            full = resolve(tx.connection, approval_id)
            if full is None:
                return NotFound()
            return decide.decide(tx, full, vote)

        return await self.database.journal.write(act)

    async def edit(
        self,
        approval_id: str,
        edit: ArgumentEdit,
        *,
        judge_again: Callable[[Transaction, Call], str | None],
    ) -> Decided:
        """Replace editable arguments; see `approvals.decide.edit`."""

        def act(tx: Transaction) -> Decided:
            full = resolve(tx.connection, approval_id)
            if full is None:
                return NotFound()
            return decide.edit(tx, full, edit, judge_again=judge_again)

        return await self.database.journal.write(act)

    async def edit_of(self, approval_id: str) -> AppliedEdit | None:
        """How the call differs from what its agent asked; see `approvals.edits.edit_of`."""
        return await self.database.read(
            lambda connection: edit_of(connection, approval_id, keys=self.keys)
        )

    async def extend(
        self, approval_id: str, *, reviewer: Reviewer, seconds: int, via: Via
    ) -> Decided:
        """Move the deadline further; see `approvals.decide.extend`."""

        def act(tx: Transaction) -> Decided:
            full = resolve(tx.connection, approval_id)
            if full is None:
                return NotFound()
            return decide.extend(tx, full, reviewer=reviewer, seconds=seconds, via=via)

        return await self.database.journal.write(act)

    async def settle(
        self,
        approval_id: str,
        *,
        reviewer: Reviewer,
        settlement: Settlement,
        note: str,
        via: Via,
    ) -> Decided:
        """Say what became of an unknown outcome; see `approvals.decide.settle`."""

        def act(tx: Transaction) -> Decided:
            full = resolve(tx.connection, approval_id)
            if full is None:
                return NotFound()
            return decide.settle(
                tx, full, reviewer=reviewer, settlement=settlement, note=note, via=via
            )

        return await self.database.journal.write(act)

    async def settle_effect(
        self, holder: str, *, reviewer: Reviewer, settlement: Settlement, note: str, via: Via
    ) -> SettledEffect:
        """Say whether a call did what its key names; see `approvals.decide.settle_effect`."""
        return await self.database.journal.write(
            lambda tx: decide.settle_effect(
                tx, holder, reviewer=reviewer, settlement=settlement, note=note, via=via
            )
        )

    async def unknown_effects(
        self, *, after: tuple[Millis, str] | None = None, limit: int
    ) -> tuple[tuple[Mark, ...], int]:
        """Keys of which no one knows whether their call did it, and how many there are in all."""
        return await self.database.read(
            lambda connection: effects.unknown(connection, after=after, limit=limit)
        )

    async def reveal(self, approval_id: str, *, reviewer: Reviewer, via: Via) -> Look:
        """The arguments without the masks this person may look behind; see `approvals.reveal`."""

        def act(tx: Transaction) -> Look:
            full = resolve(tx.connection, approval_id)
            if full is None:
                return NotFound()
            return reveal(tx, full, reviewer=reviewer, via=via)

        return await self.database.journal.write(act)

    async def take_back(
        self, approval_id: str, *, reviewer: Reviewer, via: Via, reason: str = ""
    ) -> TakenBack:
        """End what was approved and has not started; see `approvals.taking_back.take_back`."""

        def act(tx: Transaction) -> TakenBack:
            full = resolve(tx.connection, approval_id)
            if full is None:
                return NotFound()
            return take_back(tx, full, reviewer=reviewer, via=via, reason=reason)

        return await self.database.journal.write(act)

    async def withdraw(self, approval_id: str, *, grant: str, why: str) -> bool:
        """The agent no longer wants it; False if it is not its call or no longer open."""
        withdrawn = await self.database.journal.write(
            lambda tx: queue.withdraw(tx, approval_id, grant=grant, why=why)
        )
        return withdrawn is not None

    async def wait(self, approval_id: str, *, version: int, timeout: float) -> Approval | None:  # noqa: ASYNC109  # part of a long poll's answer, not a cancellation
        """The approval once its row is newer than `version`; None when the seconds are up.

        Needs the full id. Outlives an outage of the record that ends before them.

        Raises:
            RecordUnavailable: it cannot be read when they are up.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        with self.wakeup.waiting(approval_id) as waiter:
            while True:
                try:
                    found = await self.database.read(
                        lambda connection: load(connection, approval_id, keys=self.keys)
                    )
                except RecordUnavailable:
                    if until - loop.time() <= POLL:
                        raise
                    await asyncio.sleep(POLL)
                    continue
                if found is not None and found.version > version:
                    return found
                left = until - loop.time()
                if left <= 0 or await waiter.wait(left) is None:
                    return None

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """One page of the history, newest first."""
        return await self.database.read(lambda connection: search(connection, query))

    async def risks(self, rows: Iterable[HistoryRow]) -> dict[int, Risk]:
        """The risk of the held call that each row belongs to, by the row's seq."""
        told = {row.seq: held_risk(row.event) for row in rows}
        asked = {row.seq: row.event.approval_id for row in rows if told[row.seq] is None}
        ids = {one for one in asked.values() if one}
        kept: dict[str, Risk] = {}
        if ids:
            kept = await self.database.read(lambda connection: risks_of(connection, ids))
        found = {seq: risk or kept.get(asked.get(seq) or "") for seq, risk in told.items()}
        return {seq: risk for seq, risk in found.items() if risk is not None}

    async def headlines(self, rows: Iterable[HistoryRow]) -> dict[str, Headline]:
        """The held calls these rows belong to, in one sentence each as they stand, by id."""
        ids = {row.event.approval_id for row in rows if row.event.approval_id}
        if not ids:
            return {}
        return await self.database.read(lambda connection: headlines_of(connection, ids))

    async def history_count(self, query: HistoryQuery) -> int | None:
        """How many rows the query has in all; None: it would take too long to say."""
        return await self.database.read(lambda connection: count_matching(connection, query))

    async def view(self, approval_id: str) -> View | None:
        """What a reviewer is shown of it; one model for page, Slack and command line."""
        now = self.clock.now()

        def find(connection: Connection) -> View | None:
            full = resolve(connection, approval_id)
            return None if full is None else view_of(connection, full, now=now)

        return await self.database.read(find)


def _waiting(now: Millis) -> tuple[ColumnElement[bool], ...]:
    return (
        APPROVAL.c.state == str(State.PENDING),
        APPROVAL.c.execution == str(Execution.NONE),
        APPROVAL.c.expires_at > now,
    )


def _behind(connection: Connection, approval_id: str) -> ColumnElement[bool]:
    """What the queue shows behind this approval, whatever has become of it meanwhile."""
    row = connection.execute(
        select(APPROVAL.c.risk_rank, APPROVAL.c.expires_at).where(APPROVAL.c.id == approval_id)
    ).first()
    if row is None:
        return true()
    rank, expires = row
    same = (APPROVAL.c.risk_rank == rank) & or_(
        APPROVAL.c.expires_at > expires,
        (APPROVAL.c.expires_at == expires) & (APPROVAL.c.id > approval_id),
    )
    return or_(APPROVAL.c.risk_rank < rank, same)


def _may(connection: Connection, approval: Approval, reviewer: Reviewer) -> bool:
    """Whether this person may approve it, on the page if not where they are."""
    why = may_review(connection, approval, reviewer, approving=True, via="page")
    return why is None
