"""Counters: exactly `max` pass in a window, no matter who asks, over restarts and wrong clocks."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal

import anyio
import pytest

from approvals.record.database import Database, Transaction
from gateway.enforcement.limits import OverLimit, Subject, give_back, peek, take
from gateway.policy.limit import Charge, Limit
from tests.support.patience import PATIENCE
from tests.support.record import KEYS, START, HandClock, Record

ME = Subject(grant="grt_1", session="", server="payments")
MINUTE = 60_000


def limit(most: int | str = 20, *, window: int = 60, counter: str = "calls") -> Limit:
    return Limit(
        counter=counter,
        window=window,
        max=Decimal(most),
        scope="grant",
        pointer="/tools/x/limits/0",
        increment_from=None,
        window_name=f"{window} seconds",
    )


def passes(tx: Transaction, of: Limit, amount: str = "1", subject: Subject = ME) -> bool:
    return take(tx, [Charge(limit=of, amount=Decimal(amount))], subject) is None


async def test_of_two_hundred_at_once_exactly_twenty_pass(record: Record) -> None:
    capped = limit(20)
    with anyio.fail_after(PATIENCE):
        passed = await asyncio.gather(
            *(record.database.journal.write(lambda tx: passes(tx, capped)) for _ in range(200))
        )
    assert sum(passed) == 20


def test_two_processes_and_a_restart_share_one_count(url: str) -> None:
    clock, capped = HandClock(), limit(30)
    passed: list[bool] = []
    for _ in range(2):
        databases = [Database.open(url, key=KEYS, clock=clock) for _ in range(2)]
        barrier = threading.Barrier(4)

        def work(database: Database, barrier: threading.Barrier) -> None:
            barrier.wait(PATIENCE)
            passed.extend(
                database.journal.write_now(lambda tx: passes(tx, capped)) for _ in range(10)
            )

        threads = [
            threading.Thread(target=work, args=(database, barrier)) for database in databases * 2
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        for database in databases:
            database.close_now()
    assert (len(passed), sum(passed)) == (80, 30)


def test_the_next_window_passes_again_and_the_refusal_says_when(record: Record) -> None:
    capped = limit(2)
    record.clock.pass_(seconds=(MINUTE - START % MINUTE) / 1000 + 37.5)
    assert [record.write(lambda tx: passes(tx, capped)) for _ in range(3)] == [True, True, False]
    over = record.write(lambda tx: take(tx, [Charge(limit=capped, amount=Decimal(1))], ME))
    assert over == OverLimit(capped, 23)
    record.clock.pass_(seconds=22.4)
    assert not record.write(lambda tx: passes(tx, capped))
    record.clock.pass_(seconds=0.1)
    assert record.write(lambda tx: passes(tx, capped))


def test_a_clock_set_back_opens_no_window_a_second_time(record: Record) -> None:
    capped = limit(2)
    assert record.write(lambda tx: passes(tx, capped, "2"))
    for back in (-60, -3600, -86400):
        record.clock.pass_(seconds=back)
        assert not record.write(lambda tx: passes(tx, capped))
    record.clock.pass_(seconds=60 + 3600 + 86400)
    assert not record.write(lambda tx: passes(tx, capped))
    record.clock.pass_(seconds=60)
    assert record.write(lambda tx: passes(tx, capped))


def test_amounts_are_exact(record: Record) -> None:
    capped = limit("1")
    assert all(record.write(lambda tx: passes(tx, capped, "0.1")) for _ in range(10))
    assert not record.write(lambda tx: passes(tx, capped, "0.000000000000000001"))


def test_all_charges_are_taken_or_none(record: Record) -> None:
    wide, narrow = limit(10, counter="wide"), limit(1, counter="narrow")
    both = [Charge(limit=wide, amount=Decimal(3)), Charge(limit=narrow, amount=Decimal(1))]
    assert record.write(lambda tx: take(tx, both, ME)) is None
    full = record.write(lambda tx: take(tx, both, ME))
    assert isinstance(full, OverLimit)
    assert full.limit == narrow
    assert record.write(lambda tx: passes(tx, wide, "7"))
    assert not record.write(lambda tx: passes(tx, wide))


def test_looking_takes_nothing(record: Record) -> None:
    charge = [Charge(limit=limit(1), amount=Decimal(1))]
    assert [record.write(lambda tx: peek(tx, charge, ME)) for _ in range(3)] == [None] * 3
    assert record.write(lambda tx: take(tx, charge, ME)) is None
    assert isinstance(record.write(lambda tx: peek(tx, charge, ME)), OverLimit)


def test_what_was_not_sent_is_given_back_in_its_own_window_only(record: Record) -> None:
    capped = limit(1)
    charge = [Charge(limit=capped, amount=Decimal(1))]
    taken = record.clock.now()
    assert record.write(lambda tx: passes(tx, capped))
    record.write(lambda tx: give_back(tx, charge, ME, taken_at=taken))
    assert record.write(lambda tx: passes(tx, capped))
    record.clock.pass_(seconds=60)
    assert record.write(lambda tx: passes(tx, capped))
    record.write(lambda tx: give_back(tx, charge, ME, taken_at=taken))
    assert not record.write(lambda tx: passes(tx, capped))


def test_what_a_failed_write_took_is_not_taken(record: Record) -> None:
    capped = limit(1)

    def fails(tx: Transaction) -> None:
        assert passes(tx, capped)
        raise LookupError

    with pytest.raises(LookupError):
        record.write(fails)
    assert record.write(lambda tx: passes(tx, capped))


def test_grants_do_not_share_a_count(record: Record) -> None:
    own = limit(1)
    other = Subject(grant="grt_2", session="", server="payments")
    assert record.write(lambda tx: passes(tx, own))
    assert record.write(lambda tx: passes(tx, own, subject=other))
    assert not record.write(lambda tx: passes(tx, own))
