"""A record made by the first schema goes on under the newest, on both databases.

`first_schema.json` holds its rows, written by the code of that time; it is never made again.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, insert, select
from sqlalchemy.schema import DropIndex, DropTable

from approvals import decide, execution, leases, outbox, queue
from approvals.digest import sha256
from approvals.model import Approval, Execution, Moved, Settlement, State
from approvals.record.database import Database
from approvals.record.engines import parse, writer_engine
from approvals.record.history import Head, HistoryQuery, Intact, search, verify
from approvals.record.keys import Keys
from approvals.record.migrate import migrate
from approvals.record.upgrade import RecordSetBack
from approvals.reviewers import everyone, prove, session_of
from gateway.enforcement.grants import Grants
from tests.support.intruder import Intruder
from tests.support.patience import PATIENCE
from tests.support.record import ALICE, BOB, KEYS, START, HandClock, Record

FIRST: dict[str, Any] = json.loads(
    (Path(__file__).parent / "first_schema.json").read_text(encoding="utf-8")
)
TABLES: dict[str, list[dict[str, Any]]] = FIRST["tables"]
SIGNINGS = 1 + sum(bool(TABLES.get(name)) for name in ("credential", "grant", "reviewer", "tool"))
"""Rows of the history that say which rows were signed: one for each table that has any (no freeze
is among its settings), and one for the effect key that an approval of it left unknown."""

LATER = START + 5_000  # the last thing that happened to it


def plain(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def install(url: str) -> None:
    """The first schema, and its rows as they were."""
    engine = writer_engine(parse(url), migrating=True)
    migrate(engine, to="0001")
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection, only=list(TABLES))
        connection.exec_driver_sql("BEGIN")
        for name, rows in TABLES.items():
            for row in rows:
                values = {column: plain(value) for column, value in row.items()}
                connection.execute(insert(tables.tables[name]).values(values))
        connection.exec_driver_sql("COMMIT")
    engine.dispose()


@pytest.fixture
def upgraded(url: str) -> Iterator[Record]:
    """The old record, opened by the code of today."""
    install(url)
    clock = HandClock(LATER)
    database = Database.open(url, key=KEYS, clock=clock)
    yield Record(database, clock, url)
    database.close_now()


def old(record: Record, name: str) -> Approval:
    return record.now_is(FIRST["names"][name])


def test_its_history_is_whole_and_goes_on(upgraded: Record) -> None:
    last = TABLES["history"][-1]
    old_head = Head(last["seq"], last["hash"])
    verified = upgraded.read(lambda connection: verify(connection, KEYS, against=old_head))
    assert isinstance(verified, Intact)
    assert upgraded.events()[last["seq"] :] == ["rows_signed"] * SIGNINGS
    assert verified.rows == last["seq"] + SIGNINGS
    upgraded.hold({"n": 1})
    verified = upgraded.read(lambda connection: verify(connection, KEYS, against=old_head))
    assert isinstance(verified, Intact)
    assert verified.rows == last["seq"] + SIGNINGS + 1
    found = upgraded.read(lambda connection: search(connection, HistoryQuery(event="denied")))
    assert [row.event.reason for row in found.rows] == ["no"]


def test_its_sessions_end_and_its_tokens_go_on(url: str) -> None:
    """A session of that time has no key, and never gets one."""
    install(url)
    person = TABLES["reviewer"][0]["id"]
    engine = writer_engine(parse(url), migrating=True)
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection, only=["credential"])
        connection.exec_driver_sql("BEGIN")
        for secret, kind in (("ses_old", "session"), ("rvt_old", "token")):
            row = {"token_hash": sha256(secret.encode()), "kind": kind, "reviewer": person}
            times = {"created_at": LATER, "expires_at": LATER + 3_600_000}
            connection.execute(insert(tables.tables["credential"]).values(**row, **times))
        connection.exec_driver_sql("COMMIT")
    engine.dispose()
    database = Database.open(url, key=KEYS, clock=HandClock(LATER))
    try:
        old = database.read_now(lambda one: session_of(one, "ses_old", now=LATER))
        assert old is None
        known = database.read_now(lambda one: prove(one, "rvt_old", "token", now=LATER))
        assert known is not None
        assert known.id == person
    finally:
        database.close_now()


def test_every_row_of_it_is_there_unchanged(upgraded: Record) -> None:
    engine = writer_engine(parse(upgraded.url))
    now = MetaData()
    with engine.connect() as connection:
        now.reflect(connection)
        for name, rows in TABLES.items():
            if name == "tool":  # became `pin`: see test_pins_upgraded.py
                continue
            table = now.tables[name]
            kept = (
                connection.execute(select(*(table.c[column] for column in rows[0]))) if rows else ()
            )
            found = [dict(row._mapping) for row in kept]  # noqa: SLF001 - SQLAlchemy's public name
            wanted = [{column: plain(value) for column, value in row.items()} for row in rows]
            if name == "history":  # that rows were signed is told after them
                found = [row for row in found if row["event"] != "rows_signed"]
            assert sorted(found, key=repr) == sorted(wanted, key=repr), name
    engine.dispose()


def test_what_waited_is_decided_and_runs_with_the_bytes_that_were_sealed(upgraded: Record) -> None:
    waiting = old(upgraded, "waiting")
    assert json.loads(waiting.call.arguments) == {"amount": 10, "note": "ü\u202e"}
    assert isinstance(upgraded.decide(waiting), Moved)
    claimed = upgraded.claim(waiting)
    assert isinstance(claimed, execution.Claimed)
    assert claimed.approval.call.arguments == waiting.call.arguments
    assert upgraded.finish(waiting).execution is Execution.SUCCEEDED


def test_votes_and_revisions_count_as_they_did(upgraded: Record) -> None:
    edited = old(upgraded, "edited")
    assert (edited.revision, edited.state) == (2, State.PENDING)
    upgraded.decide(edited, ALICE)
    assert old(upgraded, "edited").state is State.PENDING  # her earlier vote was for revision 1
    assert isinstance(upgraded.decide(edited, BOB), Moved)


def test_a_permit_not_used_yet_is_used_once(upgraded: Record) -> None:
    approved = old(upgraded, "approved")
    assert isinstance(upgraded.claim(approved), execution.Claimed)
    assert isinstance(upgraded.claim(approved), execution.Lost)


def test_what_ran_and_what_nobody_knows_stay_so(upgraded: Record) -> None:
    ran, running = old(upgraded, "ran"), old(upgraded, "running")
    assert isinstance(upgraded.claim(ran), execution.Lost)
    answer = upgraded.write(lambda tx: execution.deliver(tx, ran.id))
    assert answer is not None
    assert b"refunded" in answer
    upgraded.clock.pass_(seconds=16)
    upgraded.write(lambda tx: leases.recover(tx, tx.now))
    assert old(upgraded, "running").execution is Execution.OUTCOME_UNKNOWN
    assert isinstance(upgraded.claim(running), execution.Lost)
    unknown = old(upgraded, "unknown")
    held_back = upgraded.write(lambda tx: queue.unsettled(tx, "another", "refund:9", "payments"))
    assert held_back is not None
    assert held_back.id == unknown.id
    settled = upgraded.write(
        lambda tx: decide.settle(
            tx, unknown.id, reviewer=BOB, settlement=Settlement.DONE, note="seen", via="cli"
        )
    )
    assert isinstance(settled, Moved)


def test_people_and_agents_come_in_with_what_they_had(upgraded: Record) -> None:
    grant = asyncio.run(Grants(upgraded.database, upgraded.clock).find(FIRST["token"]))
    assert grant is not None
    assert (grant.label, grant.owner) == ("claude-code", "alice")
    assert [one.id for one in upgraded.read(everyone)] == ["alice", "bob"]
    bob = upgraded.read(
        lambda connection: prove(
            connection, FIRST["reviewer_token"], "token", now=upgraded.clock.now()
        )
    )
    assert bob is not None
    assert bob.role == "admin"


def test_what_was_not_told_yet_is_told(upgraded: Record) -> None:
    assert upgraded.database.journal.notifiers == ("webhook",)
    due = upgraded.write(lambda tx: outbox.lease(tx, "webhook", limit=100))
    assert len(due) == len(TABLES["outbox"])
    assert due[0].kind == "held"


def test_replicas_that_start_together_upgrade_it_once(url: str) -> None:
    install(url)
    barrier = threading.Barrier(4)
    heads: list[int] = []

    def start() -> None:
        barrier.wait(PATIENCE)
        database = Database.open(url, key=KEYS, clock=HandClock(LATER))
        found = database.read_now(lambda connection: verify(connection, KEYS))
        assert isinstance(found, Intact)
        heads.append(found.head.seq)
        database.close_now()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert heads == [TABLES["history"][-1]["seq"] + SIGNINGS] * 4


def schema_of(engine: Engine) -> MetaData:
    found = MetaData()
    with engine.connect() as connection:
        found.reflect(connection)
    return found


def set_back(url: str, folder: Path) -> None:
    """What a database account can do: the schema as it was before there were MACs, and a row."""
    before = writer_engine(parse(f"sqlite:///{folder / 'before.db'}"), migrating=True)
    migrate(before, to="0005")
    wanted = schema_of(before)
    before.dispose()
    engine = writer_engine(parse(url), migrating=True)
    found = schema_of(engine)
    intruder = Intruder(url)
    if url.startswith("sqlite"):
        intruder.opens_the_history()
    for name, table in found.tables.items():
        if name not in wanted.tables:
            intruder.does(DropTable(table))
            continue
        later = [column for column in table.c if column.name not in wanted.tables[name].c]
        for index in table.indexes:
            if not {column.name for column in index.columns} <= set(wanted.tables[name].c.keys()):
                intruder.does(DropIndex(index))
        if name == "history":
            intruder.says("DROP INDEX history_ledger")
        for column in later:
            intruder.says(f'ALTER TABLE "{name}" DROP COLUMN "{column.name}"')
    for name, table in wanted.tables.items():
        if name not in found.tables:
            table.create(engine)
    engine.dispose()
    intruder.says(
        "UPDATE alembic_version SET version_num = '0005'",
        "INSERT INTO reviewer (id, role, identities, created_at) VALUES ('eve', 'admin', '[]', 1)",
    )
    intruder.leaves()


def kept(folder: Path) -> Keys:
    return Keys(b"0123456789abcdef0123456789abcdef", folder=folder)


def test_a_record_set_back_to_the_older_schema_is_refused_not_signed_anew(
    url: str, tmp_path: Path
) -> None:
    install(url)
    Database.open(url, key=kept(tmp_path), clock=HandClock(LATER)).close_now()
    set_back(url, tmp_path)
    with pytest.raises(RecordSetBack, match="set back to an older schema"):
        Database.open(url, key=kept(tmp_path), clock=HandClock(LATER))


def test_it_is_refused_where_nothing_lies_beside_the_key_too(url: str, tmp_path: Path) -> None:
    install(url)
    Database.open(url, key=KEYS, clock=HandClock(LATER)).close_now()
    set_back(url, tmp_path)
    with pytest.raises(RecordSetBack):  # the history has rows that it cannot have had then
        Database.open(url, key=KEYS, clock=HandClock(LATER))


def test_rows_under_a_history_that_is_not_whole_are_not_signed(url: str) -> None:
    install(url)
    intruder = Intruder(url)
    intruder.opens_the_history()
    intruder.says("UPDATE history SET actor = 'eve' WHERE seq = 2")
    intruder.leaves()
    with pytest.raises(RecordSetBack, match="not whole"):
        Database.open(url, key=KEYS, clock=HandClock(LATER))


def test_a_record_that_was_never_signed_is_signed_where_another_was(
    url: str, tmp_path: Path
) -> None:
    """What lies beside the key is about one database: a second one of the same key is its own."""
    other = Database.open(
        f"sqlite:///{tmp_path / 'other.db'}", key=kept(tmp_path), clock=HandClock(LATER)
    )
    other.close_now()
    install(url)
    database = Database.open(url, key=kept(tmp_path), clock=HandClock(LATER))
    assert [one.id for one in database.read_now(everyone)] == ["alice", "bob"]
    database.close_now()
