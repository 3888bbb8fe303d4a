"""An allowed call with an effect goes on only while its question is open, whatever the list of
spent answers says: anyone who may write the database can empty that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from approvals import processes
from approvals.digest import canonical, digest_of, sha256
from approvals.model import Call, Client, Execution
from approvals.record.database import Database
from approvals.record.tables import SpentRow
from gateway.enforcement.outcomes import record_outcome
from gateway.enforcement.recording import (
    Admission,
    Allowed,
    Held,
    RefusedByPolicy,
    Retried,
    record_allowed,
)
from gateway.policy.document import load
from gateway.policy.judge import Allow, GrantFacts, ToolFacts, judge
from tests.support.grant import agent_grant
from tests.support.intruder import Intruder
from tests.support.record import KEYS, START, HandClock, Record

POLICY = load(
    json.dumps(
        {"version": "1", "default": "deny", "tools": {"pay": {"effect": "pay:{args.id}"}}}
    ).encode()
)
CALL = Call(
    grant="g",
    grant_label="a",
    server="s",
    tool="pay",
    arguments=canonical({"id": 1}),
    tool_hash="t",
    client=Client("x", "1"),
)
HOUR = 3_600_000


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    clock, url = HandClock(), f"sqlite:///{tmp_path / 'signoff.db'}"
    database = Database.open(url, key=KEYS, clock=clock)
    yield Record(database, clock, url)
    database.close_now()


def admission(call_id: str, retried: Retried | None = None) -> Admission:
    return Admission(
        call=CALL,
        redact=(),
        masked=CALL.arguments.decode(),
        digest=digest_of(CALL),
        arguments_digest=sha256(CALL.arguments),
        max_pending=50,
        grant=agent_grant(id="g", label="a", created_at=START),
        tool_risk="medium",
        hold=0,
        process="gw",
        follow=None,
        retried=retried,
        call_id=call_id,
        told=True,
        max_withdrawn=50,
    )


def asks(record: Record, call_id: str = "call_1", retried: Retried | None = None) -> object:
    verdict = judge(POLICY, CALL, tool=ToolFacts(), grant=GrantFacts(label="a"), args={"id": 1})
    assert isinstance(verdict, Allow)
    return record.write(lambda tx: record_allowed(admission(call_id, retried), verdict, POLICY, tx))


def ends(record: Record, allowed: object, execution: Execution) -> None:
    assert isinstance(allowed, Allowed)
    record.write(lambda tx: record_outcome(allowed, execution, "", 1, tx))


def answer(record: Record, number: int, mark: str = "mark") -> Retried:
    return Retried("call_1", number, f"{mark}{number}", record.clock.now() + HOUR, {})


def forgotten(record: Record) -> None:
    intruder = Intruder(record.url)
    intruder.does(delete(SpentRow.__table__))  # type: ignore[attr-defined]
    intruder.leaves()


def test_a_call_that_is_done_does_not_go_on_when_its_answer_is_forgotten(record: Record) -> None:
    ends(record, asks(record), Execution.INPUT_REQUIRED)
    ends(record, asks(record, retried=answer(record, 1)), Execution.SUCCEEDED)
    forgotten(record)
    assert isinstance(asks(record, retried=answer(record, 1)), RefusedByPolicy)


def test_an_answer_that_is_being_sent_is_not_sent_beside_itself(record: Record) -> None:
    ends(record, asks(record), Execution.INPUT_REQUIRED)
    record.write(lambda tx: processes.renew(tx, "gw", name="gw", lease_ms=60_000))
    assert isinstance(asks(record, retried=answer(record, 1)), Allowed)
    forgotten(record)
    assert isinstance(asks(record, retried=answer(record, 1)), RefusedByPolicy)


def test_an_earlier_questions_answer_is_not_sent_while_a_later_one_is_open(record: Record) -> None:
    ends(record, asks(record), Execution.INPUT_REQUIRED)
    ends(record, asks(record, retried=answer(record, 1)), Execution.INPUT_REQUIRED)
    forgotten(record)
    assert isinstance(asks(record, retried=answer(record, 1)), RefusedByPolicy)
    assert isinstance(asks(record, retried=answer(record, 2)), Allowed)


def test_a_call_of_which_nobody_knows_goes_on_by_a_person_only(record: Record) -> None:
    ends(record, asks(record), Execution.INPUT_REQUIRED)
    ends(record, asks(record, retried=answer(record, 1)), Execution.OUTCOME_UNKNOWN)
    forgotten(record)
    assert isinstance(asks(record, retried=answer(record, 1)), Held)


def test_a_call_goes_on_from_question_to_question(record: Record) -> None:
    """The other half: with no one at work behind it, each answer is let through, once."""
    ends(record, asks(record), Execution.INPUT_REQUIRED)
    for number in range(1, 4):
        ends(record, asks(record, retried=answer(record, number)), Execution.INPUT_REQUIRED)
    ends(record, asks(record, retried=answer(record, 4)), Execution.SUCCEEDED)
    assert isinstance(asks(record, "call_2"), RefusedByPolicy)  # it is done
