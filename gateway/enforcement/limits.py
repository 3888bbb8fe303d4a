"""Counters of the policy's limits: looked at and taken inside the transaction of the verdict.

Windows are aligned to the epoch. A counter never goes back to an earlier window, so a clock that
is set back opens none a second time. Amounts are exact decimals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from json import JSONEncoder

from approvals.model import Call, Millis
from approvals.record.transaction import Transaction
from gateway.policy.limit import Charge, Limit

_encode = JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose counters a call uses."""

    grant: str
    session: str  # "" when the revision has none: the grant is its session
    server: str

    @classmethod
    def of(cls, call: Call) -> Subject:
        return cls(call.grant, call.session, call.server)

    def key(self, limit: Limit) -> str:
        """The counter's row: its name, its window and whom it is counted for."""
        scope: tuple[str, ...] = ()
        match limit.scope:
            case "grant":
                scope = (self.grant,)
            case "session":
                scope = (self.grant, self.session)
            case "server":
                scope = (self.server,)
            case "global":
                pass
        return _encode([limit.counter, limit.window, limit.scope, *scope])


@dataclass(frozen=True, slots=True)
class OverLimit:
    """A limit without room for this call."""

    limit: Limit
    retry_after: int  # whole seconds, at least 1, until its window ends


def take(tx: Transaction, charges: Iterable[Charge], subject: Subject) -> OverLimit | None:
    """Take every charge, or none and say which limit is full."""
    amounts = _amounts(tx, charges, subject)
    if isinstance(amounts, OverLimit):
        return amounts
    for key, (start, used) in amounts.items():
        tx.set_counter(key, start, used)
    return None


def peek(tx: Transaction, charges: Iterable[Charge], subject: Subject) -> OverLimit | None:
    """Whether there is room now, without taking it."""
    amounts = _amounts(tx, charges, subject)
    return amounts if isinstance(amounts, OverLimit) else None


def give_back(
    tx: Transaction, charges: Iterable[Charge], subject: Subject, *, taken_at: Millis
) -> None:
    """Return what a call took that certainly was not sent, if its window is still the current."""
    for key, charge in {subject.key(charge.limit): charge for charge in charges}.items():
        state = tx.counter(key)
        if state is not None and state.window_start == window_start(charge.limit, taken_at):
            tx.set_counter(key, state.window_start, max(Decimal(0), state.used - charge.amount))


def window_start(limit: Limit, at: Millis) -> Millis:
    """The start of the aligned window that holds this moment."""
    length = limit.window * 1000
    return at - at % length


def _amounts(
    tx: Transaction, charges: Iterable[Charge], subject: Subject
) -> dict[str, tuple[Millis, Decimal]] | OverLimit:
    """What each counter would hold after this call. A counter named by several limits counts the
    call once, by its largest charge, and must fit all of them.
    """
    after: dict[str, tuple[Millis, Decimal]] = {}
    before: dict[str, Decimal] = {}
    for charge in charges:
        limit = charge.limit
        key = subject.key(limit)
        start = window_start(limit, tx.now)
        state = tx.counter(key)
        if state is not None and state.window_start >= start:
            start = state.window_start
            before[key] = state.used
        used = before.get(key, Decimal(0)) + charge.amount
        if used > limit.max:
            return OverLimit(limit, _seconds_left(limit, start, tx.now))
        if key not in after or after[key][1] < used:
            after[key] = (start, used)
    return after


def _seconds_left(limit: Limit, start: Millis, now: Millis) -> int:
    left = start + limit.window * 1000 - now
    return max(1, -(-left // 1000))
