"""The journal: what is acknowledged is on disk, what fails fails alone, what is down recovers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvloop
from sqlalchemy import Connection, text

from approvals.model import Event
from approvals.record import history
from approvals.record.clock import SystemClock
from approvals.record.database import Database, RecordUnavailable, Transaction
from approvals.record.engines import UnsupportedDatabase
from approvals.record.history import Intact, verify
from approvals.record.journal import MOST_POSTED
from tests.support.patience import PATIENCE
from tests.support.record import KEYS, HandClock, Record


def append(name: str) -> Callable[[Transaction], int]:
    return lambda tx: tx.append(Event(event=name))


def fail(tx: Transaction) -> None:
    tx.append(Event(event="never"))
    tx.set_counter("never", 0, Decimal(1))
    raise ValueError("mine alone")


class Gate:
    """A write that holds the writer until it is opened, so that a batch gathers behind it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, _tx: Transaction) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE)


async def test_a_write_is_readable_once_it_is_acknowledged(record: Record) -> None:
    assert await record.database.journal.write(append("one")) == 1
    assert await record.database.journal.write(append("two")) == 2
    assert record.events() == ["one", "two"]


async def test_one_bad_write_fails_only_its_caller(record: Record) -> None:
    journal = record.database.journal
    gate = Gate()
    with anyio.fail_after(PATIENCE):
        first = asyncio.ensure_future(journal.write(gate))
        await asyncio.to_thread(gate.reached.wait, PATIENCE)
        rest = [
            asyncio.ensure_future(journal.write(fn))
            for fn in (append("a"), fail, append("b"), fail, append("c"))
        ]
        await asyncio.sleep(0)
        gate.opened.set()
        await first
        outcomes = await asyncio.gather(*rest, return_exceptions=True)
    assert outcomes[0] == 1
    assert outcomes[2] == 2
    assert outcomes[4] == 3
    assert [str(one) for one in outcomes if isinstance(one, ValueError)] == ["mine alone"] * 2
    assert record.events() == ["a", "b", "c"]
    assert record.write(lambda tx: tx.counter("never")) is None


def test_what_a_batch_appends_and_counts_is_one_statement_to_sqlite(sqlite_url: str) -> None:
    database = Database.open(sqlite_url, key=KEYS, clock=HandClock())
    said: list[str] = []

    def listen(tx: Transaction) -> None:
        driver: Any = tx.connection.connection.dbapi_connection
        driver.set_trace_callback(said.append)
        tx.append(Event(event="first"))

    def count(tx: Transaction) -> None:
        tx.set_counter("calls", 0, Decimal(1))
        tx.append(Event(event="counted"))

    database.journal.write_now(listen)
    said.clear()
    database.journal.write_now(count)
    statements = {words.partition(" VALUES")[0] for words in said}  # told again for each trigger
    kept = database.journal.write_now(lambda tx: tx.counter("calls"))
    database.close_now()

    assert statements == {"INSERT INTO batch"}
    assert kept is not None
    assert kept.used == 1


async def test_a_hundred_callers_get_a_gapless_history_in_one_order(record: Record) -> None:
    with anyio.fail_after(PATIENCE):
        got = await asyncio.gather(
            *(record.database.journal.write(append(str(n))) for n in range(200))
        )
    assert sorted(got) == list(range(1, 201))
    assert isinstance(record.read(lambda connection: verify(connection, KEYS)), Intact)


async def test_text_that_has_no_utf8_form_fails_its_caller_and_nobody_else(record: Record) -> None:
    with pytest.raises(TypeError):
        await record.database.journal.write(append("\ud800"))
    assert await record.database.journal.write(append("next")) == 1


async def test_a_post_is_written_without_waiting_and_survives_closing(url: str) -> None:
    database = Database.open(url, key=KEYS, clock=HandClock())
    for n in range(50):
        database.journal.post(append(f"post {n}"))
    await database.close()
    again = Database.open(url, key=KEYS, clock=HandClock())
    assert again.read_now(history.count) == 50
    await again.close()


async def test_a_post_alone_is_written_within_moments(record: Record) -> None:
    committed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told(_rung: frozenset[str], _seq: int) -> None:
        loop.call_soon_threadsafe(committed.set)

    record.database.journal.listen(told)
    for name in ("first", "second", "third"):
        record.database.journal.post(append(name))
        with anyio.fail_after(PATIENCE):
            await committed.wait()
        committed.clear()
    assert record.events() == ["first", "second", "third"]


def test_a_closed_journal_refuses(url: str) -> None:
    database = Database.open(url, key=KEYS, clock=HandClock())
    database.close_now()
    with pytest.raises(RecordUnavailable):
        database.journal.write_now(append("late"))
    with pytest.raises(RecordUnavailable):
        database.journal.post(append("late"))


def test_the_same_journal_serves_uvloop(url: str) -> None:
    async def work() -> list[int]:
        database = Database.open(url, key=KEYS, clock=HandClock())
        with anyio.fail_after(PATIENCE):
            got = await asyncio.gather(*(database.journal.write(append("u")) for _ in range(50)))
        await database.close()
        return got

    assert sorted(uvloop.run(work())) == list(range(1, 51))


async def test_a_cancelled_caller_does_not_disturb_the_others(record: Record) -> None:
    gate = Gate()
    journal = record.database.journal
    with anyio.fail_after(PATIENCE):
        first = asyncio.ensure_future(journal.write(gate))
        await asyncio.to_thread(gate.reached.wait, PATIENCE)
        gone = asyncio.ensure_future(journal.write(append("gone")))
        stays = asyncio.ensure_future(journal.write(append("stays")))
        await asyncio.sleep(0)
        gone.cancel()
        gate.opened.set()
        await first
        assert await stays == 2
    assert gone.cancelled()


def test_two_databases_on_one_file_share_one_history(url: str) -> None:
    one = Database.open(url, key=KEYS, clock=HandClock())
    other = Database.open(url, key=KEYS, clock=HandClock())
    barrier = threading.Barrier(2)

    def work(database: Database) -> None:
        barrier.wait(PATIENCE)
        for n in range(60):
            database.journal.write_now(append(str(n)))

    threads = [threading.Thread(target=work, args=(database,)) for database in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    found = one.read_now(lambda connection: verify(connection, KEYS))
    assert isinstance(found, Intact)
    assert found.rows == 120
    one.close_now()
    other.close_now()


def test_database_and_key_files_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "data" / "signoff.db"
        database = Database.open(f"sqlite:///{path}", key=KEYS, clock=HandClock())
        database.journal.write_now(append("x"))
        modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
        database.close_now()
    finally:
        os.umask(before)
    assert modes == {"signoff.db": 0o600, "signoff.db-wal": 0o600, "signoff.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_database_file_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "signoff.db"
    path.touch(mode=0o644)
    path.chmod(0o644)
    Database.open(f"sqlite:///{path}", key=KEYS, clock=HandClock()).close_now()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises((UnsupportedDatabase, ModuleNotFoundError)):
        Database.open(url, key=KEYS, clock=HandClock())


def test_sqlite_is_durable_on_every_commit(sqlite_url: str) -> None:
    database = Database.open(sqlite_url, key=KEYS, clock=HandClock())
    found = database.journal.write_now(
        lambda tx: [
            tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    )
    database.close_now()
    assert found == ["wal", 2, 1]


def test_readers_cannot_write(record: Record) -> None:
    with pytest.raises(Exception, match=r"readonly|read-only|RecordUnavailable|cannot be read"):
        record.read(
            lambda connection: connection.exec_driver_sql(
                "INSERT INTO setting (key, value, at) VALUES ('a', 'b', 1)"
            )
        )


async def test_a_locked_database_fails_closed_and_recovers(sqlite_url: str) -> None:
    database = Database.open(sqlite_url, key=KEYS, clock=HandClock())
    database.journal.write_now(lambda tx: tx.connection.exec_driver_sql("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with anyio.fail_after(PATIENCE):
        with pytest.raises(RecordUnavailable):
            await database.journal.write(append("refused"))
    troubled = database.journal.trouble
    database.journal.post(append("kept"))
    other.execute("ROLLBACK")
    other.close()
    with anyio.fail_after(PATIENCE):
        await database.journal.write(append("after"))
    recovered = database.journal.trouble
    await database.close()
    assert (troubled, recovered) == (
        "The record cannot be opened for writing. (OperationalError)",
        None,
    )
    again = Database.open(sqlite_url, key=KEYS, clock=HandClock())
    assert again.read_now(history.count) == 2
    again.close_now()


async def test_posts_lost_beyond_the_bound_are_counted_in_the_history(sqlite_url: str) -> None:
    database = Database.open(sqlite_url, key=KEYS, clock=HandClock())
    journal = database.journal
    journal.write_now(lambda tx: tx.connection.exec_driver_sql("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with anyio.fail_after(PATIENCE), pytest.raises(RecordUnavailable):
        await journal.write(append("refused"))
    for _ in range(MOST_POSTED * 2):
        journal.post(append("posted"))
    other.execute("ROLLBACK")
    other.close()
    await database.close()

    again = Database.open(sqlite_url, key=KEYS, clock=HandClock())
    counted = again.read_now(lambda connection: Counter(_events(connection)))
    lost = again.read_now(_lost)
    again.close_now()
    assert counted["posted"] + lost == MOST_POSTED * 2
    assert lost >= MOST_POSTED // 2
    assert counted["rows_lost"] >= 1


async def test_a_post_that_raises_is_counted_in_the_history_once(record: Record) -> None:
    record.database.journal.post(fail)
    with anyio.fail_after(PATIENCE):
        await record.database.journal.write(append("with it"))
        for name in ("after", "and after"):
            await record.database.journal.write(append(name))
    assert record.read(_lost) == 1
    assert Counter(record.events()) == Counter(["with it", "rows_lost", "after", "and after"])
    assert isinstance(record.read(lambda connection: verify(connection, KEYS)), Intact)


def test_posts_lost_at_the_end_are_told_in_the_log(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database.open(sqlite_url, key=KEYS, clock=HandClock())
    journal = database.journal
    journal.write_now(lambda tx: tx.connection.exec_driver_sql("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        journal.post(append("posted"))
    database.close_now()
    other.close()
    told = [one for one in caplog.records if one.message == "journal.posts_lost"]
    assert sum(vars(one)["posts"] for one in told) == 3


def _events(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT event FROM history")).scalars())


def _lost(connection: Connection) -> int:
    rows = connection.execute(text("SELECT data FROM history WHERE event = 'rows_lost'")).scalars()
    return sum(int(json.loads(data)["lost"]) for data in rows)


def test_a_failed_commit_is_reported_and_the_next_write_works(url: str) -> None:
    database = Database.open(url, key=KEYS, clock=HandClock())

    def break_commit(tx: Transaction) -> None:
        tx.append(Event(event="lost"))
        tx.connection.exec_driver_sql("ROLLBACK")  # COMMIT finds no transaction, as after ENOSPC
        if database.is_postgres:
            tx.connection.connection.dbapi_connection.close()  # type: ignore[union-attr]

    with pytest.raises(RecordUnavailable):
        database.journal.write_now(break_commit)
    assert database.journal.write_now(append("next")) >= 1
    found = database.read_now(lambda connection: verify(connection, KEYS))
    assert isinstance(found, Intact)
    database.close_now()


CHILD = """
import sys
from approvals.record.clock import SystemClock
from approvals.model import Event
from approvals.record.database import Database
from tests.support.record import KEYS

database = Database.open(sys.argv[1], key=KEYS, clock=SystemClock())
for n in range(100_000):
    seq = database.journal.write_now(lambda tx: tx.append(Event(event="w", reason=str(n))))
    print(seq, flush=True)
"""


def test_kill_9_loses_no_acknowledged_write(url: str) -> None:
    acknowledged = 0
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, url], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(40):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        for line in child.stdout:
            if line.endswith("\n"):
                acknowledged = int(line)
        child.stdout.close()
        child.wait(5)
    database = Database.open(url, key=KEYS, clock=SystemClock())
    found = database.read_now(lambda connection: verify(connection, KEYS))
    database.close_now()
    assert isinstance(found, Intact)
    assert acknowledged <= found.rows <= acknowledged + 1
