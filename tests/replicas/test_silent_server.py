"""A PostgreSQL that is frozen, cut off or restarted: writes and reads fail within seconds, nothing
acknowledged is lost, and the record heals by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import URL, Connection

from approvals.model import Event
from approvals.record import history
from approvals.record.database import Database, RecordUnavailable, Transaction
from approvals.record.history import Intact, verify
from tests.replicas.proxy import Proxy
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE
from tests.support.record import KEYS, HandClock

pytestmark = pytest.mark.postgres


@pytest.fixture
def behind(proxy: Proxy, postgres: URL) -> Iterator[Database]:
    """The record, opened through the proxy."""
    url = postgres.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    opened: list[Database] = []

    def opens() -> bool:
        try:
            opened.append(Database.open(url, key=KEYS, clock=HandClock()))
        except RecordUnavailable:  # a busy machine's server may need longer than the record waits
            return False
        return True

    eventually(opens)
    (database,) = opened
    yield database
    found = database.read_now(lambda connection: verify(connection, KEYS))
    database.close_now()
    assert isinstance(found, Intact)


def plain(postgres: URL) -> str:
    return postgres.set(drivername="postgresql").render_as_string(hide_password=False)


def append(database: Database, name: str) -> int:
    return database.journal.write_now(lambda tx: tx.append(Event(event=name)))


def works(database: Database, name: str) -> Callable[[], bool]:
    def attempt() -> bool:
        try:
            return append(database, name) > 0
        except RecordUnavailable:
            return False

    return attempt


def fails_in_time(act: Callable[[], object]) -> None:
    began = time.monotonic()
    with pytest.raises(RecordUnavailable):
        act()
    assert time.monotonic() - began < PATIENCE  # TCP alone gives up after a quarter of an hour


def test_a_write_to_a_frozen_server_fails_in_seconds_and_the_next_works(
    proxy: Proxy, behind: Database
) -> None:
    append(behind, "before")
    with proxy.frozen():
        fails_in_time(lambda: append(behind, "frozen"))
        fails_in_time(lambda: append(behind, "frozen"))  # now it cannot even connect
    eventually(works(behind, "after"))
    assert behind.journal.trouble is None


def test_a_read_from_a_frozen_server_fails_in_seconds_and_the_next_works(
    proxy: Proxy, behind: Database
) -> None:
    append(behind, "before")
    assert behind.read_now(history.count) == 1
    with proxy.frozen():
        fails_in_time(lambda: behind.read_now(history.count))
    assert eventually(lambda: _read(behind)) == 1


def _read(database: Database) -> int:
    try:
        return database.read_now(history.count)
    except RecordUnavailable:
        return 0


def test_a_server_that_resets_everything_fails_closed_and_recovers(
    proxy: Proxy, behind: Database
) -> None:
    append(behind, "before")
    with proxy.gone():
        fails_in_time(lambda: append(behind, "gone"))
        fails_in_time(lambda: behind.read_now(history.count))
    eventually(works(behind, "after"))
    assert _read(behind) == 2


def test_posts_outlive_the_outage(proxy: Proxy, behind: Database) -> None:
    with proxy.gone():
        behind.journal.post(lambda tx: tx.append(Event(event="posted")))
        fails_in_time(lambda: append(behind, "gone"))
    eventually(lambda: _read(behind) == 1)


def test_connections_that_the_server_ends_are_made_anew(
    postgres: URL, proxy: Proxy, behind: Database
) -> None:
    append(behind, "before")
    _read(behind)
    with psycopg.connect(plain(postgres), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'signoff' AND datname = %s",
            (postgres.database,),
        )
    append(behind, "after")  # the first write afterwards already finds a new connection
    assert _read(behind) == 2


def test_a_replica_that_hangs_in_the_middle_of_a_write_does_not_stop_the_others(
    postgres: URL, proxy: Proxy, behind: Database
) -> None:
    url = postgres.render_as_string(hide_password=False)
    other = Database.open(url, key=KEYS, clock=HandClock())
    hung, go_on = threading.Event(), threading.Event()

    def hangs(tx: Transaction) -> None:
        tx.append(Event(event="hung"))
        hung.set()
        assert go_on.wait(PATIENCE)

    def hold_the_lock() -> None:
        with pytest.raises(RecordUnavailable):
            behind.journal.write_now(hangs)
        ended.set()

    ended = threading.Event()
    thread = threading.Thread(target=hold_the_lock)
    thread.start()
    assert hung.wait(PATIENCE)
    fails_in_time(lambda: append(other, "waits for the lock"))
    eventually(works(other, "after"))
    go_on.set()
    thread.join(PATIENCE)
    assert ended.is_set()
    other.close_now()
    assert _read(behind) == 1


def test_a_write_that_the_server_cannot_finish_in_time_is_refused(
    proxy: Proxy, behind: Database
) -> None:
    def slow(tx: Transaction) -> None:
        tx.append(Event(event="slow"))
        tx.connection.exec_driver_sql("SELECT pg_sleep(60)")

    fails_in_time(lambda: behind.journal.write_now(slow))
    append(behind, "next")
    assert _read(behind) == 1


def test_a_commit_that_the_server_answers_with_rollback_is_not_acknowledged(
    proxy: Proxy, behind: Database
) -> None:
    def swallows(tx: Transaction) -> None:
        with pytest.raises(Exception, match="division by zero"):
            tx.connection.exec_driver_sql("SELECT 1/0")

    with pytest.raises(RecordUnavailable):
        behind.journal.write_now(swallows)
    append(behind, "next")


def test_the_session_is_durable_and_bounded_whatever_the_server_says(
    postgres: URL, proxy: Proxy, behind: Database
) -> None:
    with psycopg.connect(plain(postgres), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{postgres.database}" SET synchronous_commit = off')
        admin.execute(
            f'ALTER DATABASE "{postgres.database}" '
            "SET default_transaction_isolation = 'repeatable read'"
        )
    url = postgres.render_as_string(hide_password=False)
    fresh = Database.open(url, key=KEYS, clock=HandClock())

    def settings(connection: Connection) -> list[str]:
        names = ("synchronous_commit", "transaction_isolation", "statement_timeout")
        return [str(connection.exec_driver_sql(f"SHOW {name}").scalar()) for name in names]

    found = fresh.journal.write_now(lambda tx: settings(tx.connection))
    fresh.close_now()
    assert found == ["on", "read committed", "5s"]
    longer = postgres.update_query_dict({"options": "-c statement_timeout=30s"})
    own = Database.open(longer.render_as_string(hide_password=False), key=KEYS, clock=HandClock())
    found = own.journal.write_now(lambda tx: settings(tx.connection))
    own.close_now()
    assert found == ["on", "read committed", "30s"]
