"""Grants: what an agent's token opens, until when, and what of it is kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from approvals.record.database import Database
from gateway.enforcement import grants
from gateway.enforcement.grants import FRESH_MS, Grants
from tests.support.patience import PATIENCE
from tests.support.record import HandClock

pytestmark = pytest.mark.anyio


def made(database: Database, **more: object) -> tuple[grants.Grant, str]:
    wanted: dict[str, object] = {"label": "agent", "servers": frozenset({"git"}), **more}
    return database.journal.write_now(lambda tx: grants.create(tx, **wanted))  # type: ignore[arg-type]


def test_the_token_is_not_in_the_database(database: Database, tmp_path: Path) -> None:
    _, token = made(database)
    database.close_now()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.encode() not in kept
    assert token.removeprefix(grants.PREFIX).encode() not in kept


async def test_only_the_whole_token_opens(database: Database, clock: HandClock) -> None:
    grant, token = made(database)
    book = Grants(database, clock)
    assert await book.find(token) == grant
    for wrong in (token[:-1], token + "A", token.swapcase(), "", " " + token, "sgn_" + "A" * 43):
        assert await book.find(wrong) is None


async def test_guesses_push_out_no_grant_that_is_used(database: Database, clock: HandClock) -> None:
    grant, token = made(database)
    book = Grants(database, clock)
    assert await book.find(token) == grant
    for place in range(5_000):
        assert await book.find(f"sgn_{place:043}" if place % 100 == 0 else f"no_{place}") is None
    database.close_now()  # who is remembered needs no look at the record
    assert await book.find(token) == grant


async def test_a_grant_ends_when_it_expires(database: Database, clock: HandClock) -> None:
    _, token = made(database, expires_at=clock.now() + 60_000)
    book = Grants(database, clock)
    assert await book.find(token) is not None
    clock.pass_(seconds=60)
    assert await book.find(token) is None


async def test_a_revocation_by_another_process_is_seen_within_a_second(
    database: Database, clock: HandClock
) -> None:
    grant, token = made(database)
    book = Grants(database, clock)
    assert await book.find(token) is not None
    assert database.journal.write_now(lambda tx: grants.revoke(tx, grant.id, by="alice"))
    clock.pass_(seconds=FRESH_MS / 1000)
    assert await book.find(token) is None


async def test_a_revocation_of_our_own_is_seen_at_once(
    database: Database, clock: HandClock
) -> None:
    grant, token = made(database)
    book = Grants(database, clock)
    assert await book.find(token) is not None
    database.journal.write_now(lambda tx: grants.revoke(tx, grant.id))
    book.forget()
    assert await book.find(token) is None


async def test_a_grant_is_revoked_once(database: Database) -> None:
    grant, _ = made(database)
    assert database.journal.write_now(lambda tx: grants.revoke(tx, grant.id))
    assert not database.journal.write_now(lambda tx: grants.revoke(tx, grant.id))


async def test_many_wrong_tokens_do_not_fill_the_memory_or_lock_the_right_one_out(
    database: Database, clock: HandClock
) -> None:
    _, token = made(database)
    book = Grants(database, clock)
    for number in range(300):
        assert await book.find(f"sgn_{number}") is None
    assert await book.find(token) is not None


async def test_a_grant_reaches_its_servers_only(database: Database) -> None:
    grant, _ = made(database)
    assert grant.reaches("git")
    assert not grant.reaches("Git")
    everywhere, _ = made(database, servers=frozenset({"*"}))
    assert everywhere.reaches("anything")


class Slow:
    """Makes anyone who looks a grant up wait until told to go on, and counts the looks."""

    def __init__(self) -> None:
        self.looks = 0
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "token_hash = " in statement:
            self.looks += 1
            self.reached.set()
            assert self.go_on.wait(PATIENCE)


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    event.listen(Engine, "before_cursor_execute", made)
    yield made
    event.remove(Engine, "before_cursor_execute", made)


async def test_callers_who_come_together_ask_the_record_once(
    database: Database, clock: HandClock, slow: Slow
) -> None:
    grant, token = made(database)
    book = Grants(database, clock)
    finding = [asyncio.create_task(book.find(token)) for _ in range(20)]
    await asyncio.to_thread(slow.reached.wait, PATIENCE)
    finding[0].cancel()  # takes no one along
    slow.go_on.set()
    async with asyncio.timeout(5):
        found = await asyncio.gather(*finding, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [grant] * 19
    assert slow.looks == 1


async def test_a_revocation_of_our_own_while_somebody_asks_is_not_forgotten(
    database: Database, clock: HandClock, slow: Slow
) -> None:
    grant, token = made(database)
    book = Grants(database, clock)
    early = asyncio.create_task(book.find(token))
    await asyncio.to_thread(slow.reached.wait, PATIENCE)
    database.journal.write_now(lambda tx: grants.revoke(tx, grant.id))
    book.forget()
    slow.go_on.set()
    async with asyncio.timeout(5):
        await early
        assert await book.find(token) is None
    assert slow.looks == 3  # anyone who was on the way reads again: the snapshot is behind
