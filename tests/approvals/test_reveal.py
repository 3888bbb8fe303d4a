"""Looking behind a mask: who may, behind which, and that each look is a row first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from approvals.model import Choice, NotAllowed, NotFound, Reviewer, Role, Terms
from approvals.record.history import row_of, walk
from approvals.reveal import Look, NothingMasked, Revealed, reveal, reveals
from tests.approvals.test_export import exported, proof
from tests.support.record import BOB, Record

GIVEN = {"card": "4111", "api_key": "abc", "note": "x"}
TOKEN = "ghp_abcdefghijklmnopqrstuvwxyz"


def person(role: Role, name: str = "zoe") -> Reviewer:
    return Reviewer(id=name, role=role)


def looked(record: Record, held_id: str, who: Reviewer) -> Look:
    return record.write(lambda tx: reveal(tx, held_id, reviewer=who, via="page"))


def rows(record: Record) -> list[tuple[str, str, list[str]]]:
    found = record.read(lambda connection: [row_of(row).event for row in walk(connection)])
    return [
        (one.actor, one.via, json.loads(one.data or "{}")["paths"])
        for one in found
        if one.event == "revealed"
    ]


@pytest.mark.parametrize("role", ["approver", "admin"])
def test_whoever_may_decide_sees_what_the_scanner_hid_and_each_look_is_a_row(
    record: Record, role: Role
) -> None:
    held = record.hold({**GIVEN, TOKEN: 1}, redact=("args.card",))
    for looks in (1, 2):
        found = looked(record, held.id, person(role))
        assert isinstance(found, Revealed)
        shown = json.loads(found.arguments)
        assert shown["card"].startswith("[redacted, 4 chars, fp ")
        assert {**shown, "card": "4111"} == {**GIVEN, TOKEN: 1}
        assert len(rows(record)) == looks
    actor, via, paths = rows(record)[0]
    assert (actor, via) == ("zoe", "page")
    assert "args.api_key" in paths
    assert TOKEN not in str(paths)  # the row keeps the masks


@pytest.mark.parametrize(
    ("role", "reveal_", "opened"),
    [("approver", "admin", False), ("admin", None, False), ("admin", "admin", True)],
)
def test_what_the_policy_names_is_open_to_an_administrator_where_the_rule_says_so(
    record: Record,
    role: Role,
    reveal_: str | None,
    opened: bool,  # noqa: FBT001
) -> None:
    terms = Terms(reveal="admin") if reveal_ else Terms()
    held = record.hold(GIVEN, redact=("args.card",), terms=terms)
    found = looked(record, held.id, person(role))
    assert isinstance(found, Revealed)
    assert (json.loads(found.arguments)["card"] == "4111") is opened
    assert ("args.card" in rows(record)[0][2]) is opened


def test_nobody_else_looks_and_nothing_is_recorded(record: Record) -> None:
    held = record.hold(GIVEN, terms=Terms(reviewers=("bob",)))
    for who in (person("viewer"), person("approver"), person("approver", held.call.grant)):
        assert isinstance(looked(record, held.id, who), NotAllowed)
    assert isinstance(looked(record, "apr_none", BOB), NotFound)
    assert rows(record) == []
    assert isinstance(looked(record, held.id, BOB), Revealed)
    assert isinstance(looked(record, held.id, person("admin")), Revealed)


def test_where_nothing_of_the_scanners_is_masked_there_is_nothing_to_look_behind(
    record: Record,
) -> None:
    held = record.hold({"card": "4111"}, redact=("args.card",), terms=Terms(reveal="admin"))
    assert not reveals(record.now_is(held.id), BOB)
    assert isinstance(looked(record, held.id, BOB), NothingMasked)
    assert reveals(record.now_is(held.id), person("admin"))
    assert rows(record) == []


def test_a_look_moves_nothing_and_the_export_proves_it(record: Record, tmp_path: Path) -> None:
    held = record.hold(GIVEN)
    before = record.now_is(held.id)
    assert isinstance(looked(record, held.id, BOB), Revealed)
    assert record.now_is(held.id) == before
    record.decide(held, BOB, Choice.APPROVE)
    assert isinstance(looked(record, held.id, BOB), Revealed)
    exported(record, tmp_path / "out", "jsonl")
    code, said = proof(tmp_path / "out")
    assert (code, said.splitlines()[-1]) == (0, "INTACT")
