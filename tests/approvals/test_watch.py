"""A history behind one that was seen stops executions, until an operator says that it is right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from approvals import execution
from approvals.model import Event
from approvals.record import signed
from approvals.record.database import Database
from approvals.record.history import HISTORY, Broken, verify
from approvals.record.keys import Keys
from approvals.record.ledger import RESTARTED
from approvals.record.upgrade import RecordSetBack
from gateway.enforcement.freezes import Freezes
from tests.support.intruder import Intruder
from tests.support.record import HandClock, Record


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(b"0123456789abcdef0123456789abcdef", folder=tmp_path)


def opened(url: str, keys: Keys) -> Record:
    clock = HandClock()
    return Record(Database.open(url, key=keys, clock=clock), clock, url)


@pytest.fixture
def record(url: str, keys: Keys) -> Iterator[Record]:
    found = opened(url, keys)
    yield found
    found.database.close_now()


def cut(intruder: Intruder, *, after: int) -> None:
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.seq > after))


def seen(tmp_path: Path) -> list[object]:
    (path,) = tmp_path.glob("*.seen")
    head: list[object] = json.loads(path.read_text())["head"]
    return head


def test_a_process_that_ends_leaves_beside_the_key_how_far_the_history_went(
    url: str, keys: Keys, tmp_path: Path
) -> None:
    record = opened(url, keys)
    record.hold()
    record.approved({"n": 1})
    record.database.close_now()
    assert seen(tmp_path)[0] == 3
    (path,) = tmp_path.glob("*.seen")
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_is_kept_while_a_process_works(record: Record, tmp_path: Path) -> None:
    record.hold()
    record.read(record.database.watch.look)
    record.database.watch.keep()
    assert seen(tmp_path)[0] == 1


def test_what_another_process_saw_later_is_not_forgotten(
    record: Record, url: str, keys: Keys, tmp_path: Path
) -> None:
    record.hold()
    record.read(record.database.watch.look)
    other = opened(url, keys)
    other.hold({"n": 1})
    other.database.close_now()
    record.database.watch.keep()  # it has seen less
    assert seen(tmp_path)[0] == 2


def test_a_history_cut_short_while_nobody_looked_stops_executions(
    url: str, keys: Keys, intruder: Intruder
) -> None:
    record = opened(url, keys)
    approved = record.approved()
    record.hold({"n": 1})
    record.database.close_now()
    cut(intruder, after=2)
    again = opened(url, keys)
    assert "ends before row 3" in (again.database.watch.trouble or "")
    lost = again.claim(approved)
    assert isinstance(lost, execution.Lost)
    assert lost.retry_after is not None  # it stands, until someone has looked
    again.database.close_now()


async def test_every_call_is_refused_while_the_record_is_behind(
    record: Record, intruder: Intruder
) -> None:
    record.hold()
    record.hold({"n": 1})
    freezes = Freezes(record.database)
    await freezes.load()
    assert freezes.reason("grt_1", "payments") is None
    cut(intruder, after=1)
    await freezes.load()
    assert "not the one this gateway knew" in (freezes.reason("grt_1", "payments") or "")


def test_another_row_in_the_place_of_the_one_seen_is_noticed(
    record: Record, intruder: Intruder
) -> None:
    record.hold()
    record.read(record.database.watch.look)
    intruder.opens_the_history()
    intruder.does(HISTORY.update().where(HISTORY.c.seq == 1).values(hash="0" * 64))
    trouble = record.read(record.database.watch.look)
    assert trouble is not None
    assert "Row 1 of the history is not the one that was there" in trouble


def test_an_operator_goes_on_with_an_older_copy(url: str, keys: Keys, intruder: Intruder) -> None:
    record = opened(url, keys)
    approved = record.approved()
    record.hold({"n": 1})
    record.database.close_now()
    cut(intruder, after=2)
    again = opened(url, keys)
    event = Event(event="history_accepted", actor_kind="operator")
    again.write(lambda tx: signed.tell(tx, [(RESTARTED, 1, None)], event=event))
    again.read(again.database.watch.accept)
    assert isinstance(again.claim(approved), execution.Claimed)
    again.database.close_now()
    later = opened(url, keys)
    assert later.database.watch.trouble is None
    later.database.close_now()


def test_a_damaged_file_is_refused_by_name(url: str, keys: Keys, tmp_path: Path) -> None:
    opened(url, keys).database.close_now()
    (path,) = tmp_path.glob("*.seen")
    path.write_text("{")
    with pytest.raises(RecordSetBack, match="is damaged"):
        opened(url, keys)


def test_verify_finds_what_an_export_would_find(record: Record) -> None:
    """Rows that each are what was written, and together say that something ran unapproved."""
    held = record.hold()
    record.write(
        lambda tx: tx.append(
            Event(
                event="claimed",
                approval_id=held.id,
                revision=1,
                actor_kind="gateway",
                presented_digest=held.digest,
            )
        )
    )  # as a gateway before the history decided would have
    found = record.read(lambda connection: verify(connection, record.database.keys))
    assert isinstance(found, Broken)
    assert found.seq == 2
    assert found.why == f"{held.id} runs while it is pending."
