"""The history: gapless, chained, searchable; every kind of tampering is found."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from approvals.model import Event, Execution
from approvals.record import history
from approvals.record.database import Database, Transaction
from approvals.record.history import (
    HISTORY,
    Broken,
    Head,
    HistoryQuery,
    Intact,
    hashed,
    head,
    search,
    verify,
)
from approvals.record.keys import Keys
from approvals.record.statements import Statements
from tests.approvals.story import told
from tests.support.record import KEYS, START, Record, call


def check(record: Record, **fields: Any) -> Intact | Broken:
    return record.read(lambda connection: verify(connection, KEYS, **fields))


def test_an_untouched_history_is_intact_and_gapless(record: Record) -> None:
    told(record)
    found = check(record)
    assert isinstance(found, Intact)
    assert found.rows == found.head.seq == record.read(history.count) == 10
    assert check(record, against=found.head) == found
    assert check(record, start=4) == Intact(7, found.head)


def test_an_empty_history_is_intact(record: Record) -> None:
    assert check(record) == Intact(0, Head(0, "0" * 64))


def test_the_wrong_key_proves_nothing(record: Record) -> None:
    told(record)
    found = record.read(lambda connection: verify(connection, Keys(b"x" * 32)))
    assert found == Broken(1, "The row is not what was written.")


@pytest.mark.parametrize("verb", ["UPDATE history SET reason = 'x'", "DELETE FROM history"])
def test_the_database_refuses_to_change_or_delete_a_row(record: Record, verb: str) -> None:
    told(record)
    with pytest.raises(DBAPIError, match="append-only"):
        record.write(lambda tx: tx.connection.exec_driver_sql(verb))
    assert isinstance(check(record), Intact)


def tamper(record: Record, *statements: str) -> None:
    """Change the history as someone with the file and without the key would."""

    def act(tx: Transaction) -> None:
        run = tx.connection.exec_driver_sql
        if record.database.is_postgres:
            run("ALTER TABLE history DISABLE TRIGGER USER")
        else:
            run("DROP TRIGGER history_no_update")
            run("DROP TRIGGER history_no_delete")
        for statement in statements:
            run(statement)

    record.write(act)


COLUMNS = [column.name for column in HISTORY.c if column.name != "seq"]


@pytest.mark.parametrize("column", COLUMNS)
def test_an_edit_of_any_column_is_found(sqlite_record: Record, column: str) -> None:
    told(sqlite_record)
    value = "7" if column in ("at", "revision", "latency_ms") else "'x'"
    tamper(sqlite_record, f"UPDATE history SET {column} = {value} WHERE seq = 4")  # noqa: S608  # fixed
    found = check(sqlite_record)
    assert isinstance(found, Broken)
    assert found.seq == 4


def test_null_and_empty_text_are_not_the_same(record: Record) -> None:
    told(record)
    tamper(record, "UPDATE history SET data = '' WHERE seq = 1")
    assert check(record) == Broken(1, "The row is not what was written.")


def test_a_text_with_nul_is_kept_spelled_and_the_row_proves_itself(record: Record) -> None:
    event = Event(event="denied", tool="a\x00b", reason="\\u0000", arguments='{"a":"\\u0000"}')
    record.write(lambda tx: tx.append(event))
    (row,) = record.read(lambda connection: search(connection, HistoryQuery()).rows)
    assert (row.event.tool, row.event.reason) == ("a\\u0000b", "\\u0000")
    assert row.event.arguments == event.arguments
    assert isinstance(check(record), Intact)


def test_a_deleted_row_is_found(record: Record) -> None:
    told(record)
    tamper(record, "DELETE FROM history WHERE seq = 5")
    assert check(record) == Broken(5, "The row is missing.")


def test_a_deleted_row_whose_followers_moved_up_is_found(record: Record) -> None:
    told(record)
    tamper(
        record,
        "DELETE FROM history WHERE seq = 5",
        *(f"UPDATE history SET seq = {seq} WHERE seq = {seq + 1}" for seq in range(5, 10)),  # noqa: S608  # fixed names
    )
    assert check(record) == Broken(5, "The row does not follow its predecessor.")


def test_an_inserted_row_is_found(record: Record) -> None:
    told(record)
    names = ", ".join(column.name for column in HISTORY.c if column.name != "seq")
    tamper(
        record,
        f"INSERT INTO history (seq, {names}) SELECT 11, {names} FROM history WHERE seq = 10",  # noqa: S608  # fixed names
    )
    assert check(record) == Broken(11, "The row does not follow its predecessor.")


def test_swapped_rows_are_found(record: Record) -> None:
    told(record)
    tamper(
        record,
        "UPDATE history SET seq = 99 WHERE seq = 4",
        "UPDATE history SET seq = 4 WHERE seq = 5",
        "UPDATE history SET seq = 5 WHERE seq = 99",
    )
    found = check(record)
    assert isinstance(found, Broken)
    assert found.seq == 4


def test_a_cut_tail_is_found_against_an_exported_head(record: Record) -> None:
    told(record)
    kept = record.read(head)
    tamper(record, "DELETE FROM history WHERE seq > 7")
    assert isinstance(check(record), Intact)
    assert check(record, against=kept) == Broken(
        8, "Rows are missing up to the head that was exported."
    )


def test_a_tail_rewritten_by_the_key_holder_is_found_against_an_exported_head(
    record: Record,
) -> None:
    told(record)
    kept = record.read(head)
    tamper(record, "DELETE FROM history WHERE seq > 9")
    elsewhere = Database.open(record.url, key=KEYS, clock=record.clock)
    elsewhere.journal.write_now(lambda tx: tx.append(Event(event="instead")))
    elsewhere.close_now()
    assert isinstance(check(record), Intact)
    assert check(record, against=kept) == Broken(10, "The row is not the head that was exported.")


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)


@settings(max_examples=300)
@given(
    st.lists(st.one_of(st.none(), TEXT, st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=30)
)
def test_the_standard_library_writes_the_very_bytes_that_were_hashed(fields: list[Any]) -> None:
    assert hashed((*fields, "subject", "p", "h")) == b"p" + orjson.dumps((*fields, "subject"))
    assert hashed((*fields, None, "p", "h")) == b"p" + orjson.dumps(tuple(fields))


def pages(record: Record, **fields: Any) -> list[int]:
    """The seqs of all pages."""
    found: list[int] = []
    before: int | None = None
    while True:
        query = HistoryQuery(before=before, **{"limit": 3, **fields})
        page = record.read(partial(search, query=query))
        found.extend(row.seq for row in page.rows)
        if page.next is None:
            return found
        before = page.next


def test_pages_go_backwards_through_everything_once(record: Record) -> None:
    told(record)
    assert pages(record) == list(range(10, 0, -1))
    assert pages(record, limit=100) == list(range(10, 0, -1))


@pytest.mark.parametrize(
    ("filters", "seqs"),
    [
        ({"grant": "grt_2"}, [9, 8]),
        ({"tool": "list"}, [2, 1]),
        ({"server": "payments", "event": "held"}, [10, 8, 3]),
        ({"rule": "/tools/list"}, [1]),
        ({"verdict": "allow"}, [1]),
        ({"outcome": "succeeded"}, [7, 2]),
        ({"actor": "bob"}, [5]),
        ({"since": START + 10_000, "until": START + 20_000}, [7, 6, 5, 4, 3]),
        ({"until": START + 1}, [2, 1]),
        ({"since": START + 20_001}, []),
        ({"text": "CMD|"}, [1]),
        ({"text": "50%"}, []),
        ({"digest": "d" * 64}, [2, 1]),
        ({"event": "approved", "actor": "alice"}, []),
    ],
)
def test_each_filter_finds_its_rows_and_no_others(
    sqlite_record: Record, filters: dict[str, Any], seqs: list[int]
) -> None:
    told(sqlite_record)
    assert pages(sqlite_record, **filters) == seqs


def test_a_search_that_takes_too_long_says_how_far_it_came_and_goes_on_from_there(
    record: Record,
) -> None:
    def many(tx: Transaction) -> None:
        for n in range(1, 5_001):
            tx.append(Event(event="allowed", grant="seldom" if n in (2, 4_990) else "usual", at=n))

    record.write(many)
    found: list[int] = []
    reached: list[int] = [5_001]
    query = HistoryQuery(grant="seldom")
    while True:
        page = record.read(partial(search, query=query, seconds=0))
        found += [row.event.at for row in page.rows]
        if page.next is None:
            break
        assert page.reached == page.next  # this history's times are its numbers
        assert page.reached < reached[-1]
        reached.append(page.reached)
        query = replace(query, before=page.next)
    assert (found, reached, page.reached) == ([4_990, 2], [5_001, 3_001, 1_001], None)


def test_a_verdict_that_one_event_tells_is_found_by_that_event(record: Record) -> None:
    told(record)

    def denied(tx: Transaction) -> None:
        tx.append(Event(event="denied", verdict="deny", reason="Not for agents."))
        tx.append(Event(event="limited", verdict="limited"))

    record.write(denied)
    assert pages(record, verdict="deny") == [11]
    assert pages(record, verdict="limited") == [12]
    assert pages(record, verdict="deny", event="limited") == []


def test_a_call_is_found_by_its_id_and_by_its_digest(record: Record) -> None:
    told(record)
    held = record.hold({"amount": 8})
    record.decide(held)
    record.claim(held)
    record.finish(held, Execution.TOOL_ERROR)
    assert pages(record, approval_id=held.id) == [14, 13, 12, 11]
    assert pages(record, digest=held.digest) == [14, 13, 12, 11]
    assert pages(record, digest=held.arguments_digest) == [14, 13, 12, 11]


def test_no_counter_moves_without_the_historys_head(record: Record) -> None:
    # Other processes keep what they know of the counters for as long as the head stands still.
    record.write(lambda tx: tx.set_counter("k", START, Decimal("0.1")))
    found = record.write(lambda tx: tx.counter("k"))
    assert found is not None
    assert (found.window_start, found.used) == (START, Decimal("0.1"))
    assert record.events() == ["counted"]


SECRETS = {"password": "hunter2-hunter2", "card": {"number": "4111-1111"}}


def test_secret_arguments_and_results_are_nowhere_to_be_read(record: Record) -> None:
    held = record.hold(SECRETS, redact=("args.card.number",))
    record.decide(held)
    record.claim(held)
    record.finish(held, result=b'{"secret":"hunter2-hunter2"}')

    def dump(connection: Connection) -> str:
        tables = ("history", "approval", "decision", "outbox")
        return repr([connection.exec_driver_sql(f"SELECT * FROM {one}").all() for one in tables])  # noqa: S608  # fixed names

    found = record.read(dump)
    assert "hunter2" not in found
    assert "4111-1111" not in found
    assert record.now_is(held.id).call.arguments == call(SECRETS).arguments


def test_every_hot_statement_names_every_column() -> None:
    assert Statements("?").insert_history(2).count("?") == 2 * len(list(HISTORY.c))
