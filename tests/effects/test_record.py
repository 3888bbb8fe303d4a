"""Effect keys on the record: what an upgrade keeps, what verify.py finds, what continues a call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from approvals import decide, effects, execution, queue
from approvals.export import write as write_export
from approvals.model import Event, Execution, Settlement, State
from approvals.record import signed
from approvals.record.database import Database
from approvals.record.engines import parse, writer_engine
from approvals.record.history import HistoryQuery
from approvals.record.migrate import migrate
from approvals.record.verify import check
from tests.approvals.conftest import record, server, url  # noqa: F401 - fixtures
from tests.support.record import ALICE, KEYS, START, HandClock, Record, fine

KEY = "refund:pay_1"


def state_of(record: Record, key: str = KEY) -> str:  # noqa: F811
    mark = record.read(
        lambda connection: effects.mark_of(connection, "payments", key, now=record.clock.now())
    )
    return "free" if mark is None else str(mark.state)


def test_a_question_keeps_the_key_and_its_end_decides(record: Record) -> None:  # noqa: F811
    approved = record.approved(effect=KEY)
    assert state_of(record) == "free"  # a held or approved call has not taken it
    record.claim(approved)
    assert state_of(record) == "taken"
    record.finish(approved, Execution.INPUT_REQUIRED, result=b'{"result":{}}')
    assert state_of(record) == "taken"
    other = record.approved({"n": 2}, effect=KEY)
    assert isinstance(record.claim(other), execution.Lost)
    going_on = record.write(
        lambda tx: execution.claim(
            tx, approved.id, owner="gw1", lease_ms=15_000, recheck=fine,
            answering=execution.Answers(1, {}),
        )
    )  # fmt: skip
    assert isinstance(going_on, execution.Claimed)
    record.finish(approved)
    assert state_of(record) == "done"
    assert record.now_is(other.id).state is State.SUPERSEDED


def test_of_many_grants_calls_for_one_key_every_one_changes_with_it(record: Record) -> None:  # noqa: F811
    first = record.approved(effect=KEY)
    others = [record.hold({"n": n}, effect=KEY) for n in range(130)]
    record.claim(first)
    record.finish(first)
    left = [one.id for one in others if record.now_is(one.id).state is not State.SUPERSEDED]
    assert left == []


def test_a_question_nobody_answered_leaves_it_unknown(record: Record) -> None:  # noqa: F811
    approved = record.approved(effect=KEY)
    record.claim(approved)
    record.finish(approved, Execution.INPUT_REQUIRED, result=b'{"result":{}}')
    record.clock.pass_(seconds=1000)
    record.write(lambda tx: queue.expire_due(tx, tx.now))
    assert state_of(record) == "unknown"
    settled = record.write(
        lambda tx: decide.settle_effect(
            tx, approved.id, reviewer=ALICE, settlement=Settlement.NOT_DONE, note="seen", via="cli"
        )
    )
    assert getattr(settled, "holder", "") == approved.id
    assert state_of(record) == "free"


@pytest.mark.parametrize(
    ("execution", "stands"),
    [
        (Execution.SUCCEEDED, "done"), (Execution.TOOL_ERROR, "free"),
        (Execution.UPSTREAM_ERROR, "free"), (Execution.NOT_EXECUTED, "free"),
        (Execution.OUTCOME_UNKNOWN, "unknown"),
    ],
)  # fmt: skip
def test_every_end_of_a_run_leaves_the_key_where_it_belongs(
    record: Record,  # noqa: F811
    execution: Execution,
    stands: str,
) -> None:
    approved = record.approved(effect=KEY)
    record.claim(approved)
    record.finish(approved, execution)
    assert state_of(record) == stands


def test_who_approved_knowing_that_it_may_have_run_has_it_run(record: Record) -> None:  # noqa: F811
    first = record.approved(effect=KEY)
    record.claim(first)
    record.finish(first, Execution.OUTCOME_UNKNOWN, result=None)
    knowing = record.hold({"n": 2}, effect=KEY, effect_after=f"unknown:{first.id}")
    record.decide(knowing)
    assert isinstance(record.claim(knowing), execution.Claimed)


@pytest.mark.parametrize("done_by", ["done", "unknown"])
def test_a_row_that_says_reviewers_knew_is_not_believed_without_the_history(
    record: Record,  # noqa: F811
    done_by: str,
) -> None:
    first = record.approved(effect=KEY)
    record.claim(first)
    record.finish(first, Execution.SUCCEEDED if done_by == "done" else Execution.OUTCOME_UNKNOWN)
    second = record.approved({"n": 2}, effect=KEY)  # no one was shown what the first did
    forged = text("UPDATE approval SET effect_after = :after WHERE id = :id")
    given = {"after": f"{done_by}:{first.id}", "id": second.id}
    record.write(lambda tx: tx.connection.execute(forged, given))
    assert isinstance(record.claim(second), execution.Lost)


def test_a_key_that_another_hand_takes_away_is_not_free(record: Record) -> None:  # noqa: F811
    first = record.approved(effect=KEY)
    record.claim(first)
    record.finish(first)
    record.write(lambda tx: tx.connection.execute(text("DELETE FROM effect")))
    assert state_of(record) == "unknown"
    assert isinstance(record.claim(record.approved({"n": 2}, effect=KEY)), execution.Lost)


def test_a_run_without_room_for_its_effect_shows_in_the_history(
    record: Record,  # noqa: F811
    tmp_path: Path,
) -> None:
    first = record.approved(effect=KEY)
    record.claim(first)
    record.finish(first)
    # What only the key's owner could do: the mark goes, and the ledger is told that it goes.
    key = {"server": "payments", "key": KEY}
    told = Event(event="effect_marked", actor_kind="gateway", server="payments")
    record.write(lambda tx: signed.drop(tx, effects.EFFECT, key, event=told))
    second = record.approved({"n": 2}, effect=KEY)
    assert isinstance(record.claim(second), execution.Claimed)
    record.finish(second)
    problems = exported(record, tmp_path / "taken")
    assert [one.partition(": ")[2] for one in problems] == [
        f"{second.id} does {KEY}, which {first.id} has done"
    ]


def test_what_is_done_again_in_due_form_shows_as_nothing(
    record: Record,  # noqa: F811
    tmp_path: Path,
) -> None:
    first = record.approved(effect=KEY)
    record.claim(first)
    record.finish(first, Execution.TOOL_ERROR)
    second = record.approved({"n": 2}, effect=KEY)
    record.claim(second)
    record.finish(second, Execution.OUTCOME_UNKNOWN, result=None)
    record.write(
        lambda tx: decide.settle(
            tx, second.id, reviewer=ALICE, settlement=Settlement.NOT_DONE, note="seen", via="cli"
        )
    )
    third = record.approved({"n": 3}, effect=KEY)
    record.claim(third)
    record.finish(third)
    record.clock.pass_(seconds=31 * 86_400)
    fourth = record.approved({"n": 4}, effect=KEY)
    record.claim(fourth)
    record.finish(fourth)
    assert exported(record, tmp_path / "fine") == []


def exported(record: Record, folder: Path) -> list[str]:  # noqa: F811
    """What verify.py says of the whole history."""
    record.read(
        lambda connection: write_export(connection, HistoryQuery(), folder, form="jsonl", now=START)
    )
    problems, _ = check(next(folder.glob("history.*")), key=KEYS.history, head=None)
    return problems


@pytest.fixture
def old(url: str) -> str:  # noqa: F811
    """A record as it was before keys had a table."""
    engine = writer_engine(parse(url), migrating=True)
    migrate(engine, to="0004")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        for number, (execution, settlement, days) in enumerate(ENDED):
            row = {
                **ROW, "id": f"apr_{number}", "effect": f"e{number}", "execution": execution,
                "settlement": settlement, "claimed_at": START - days * 86_400_000,
            }  # fmt: skip
            names = ", ".join(row)
            marks = ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO approval ({names}) VALUES ({marks})"), row)  # noqa: S608
        connection.exec_driver_sql("COMMIT")
    engine.dispose()
    return url


ENDED = (
    ("succeeded", None, 1), ("succeeded", None, 31), ("outcome_unknown", None, 40),
    ("outcome_unknown", "done", 2), ("outcome_unknown", "not_done", 2), ("tool_error", None, 1),
    ("executing", None, 0), ("input_required", None, 0),
)  # fmt: skip
STANDS = {"e0": "done", "e2": "unknown", "e3": "done", "e6": "taken", "e7": "taken"}
ROW: dict[str, Any] = {
    **dict.fromkeys(
        ("asked", "digest", "arguments_digest", "grant_id", "grant_label", "tool_hash", "rule",
         "rule_reason", "policy_hash", "client_name", "client_version", "session", "matched",
         "reason", "decided_by", "decided_via", "result_digest"), "x",
    ),
    "revision": 1, "version": 1, "session_calls": 0, "redact": "[]", "attempts": 1,
    "risk_rank": 1, "round": 0, "masked": "{}", "server": "payments", "tool": "refund",
    "terms": json.dumps({"reviewers": [], "editable": []}), "state": "approved",
    "delivery": "delivered", "created_at": START, "expires_at": START + 1,
}  # fmt: skip


def test_an_upgrade_keeps_what_approvals_did_are_doing_and_may_have_done(
    old: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: START / 1000)
    clock = HandClock()
    database = Database.open(old, key=KEYS, clock=clock)
    rows = database.read_now(
        lambda connection: connection.execute(text("SELECT key, state FROM effect")).all()
    )
    assert {row.key: row.state for row in rows} == STANDS
    database.close_now()
