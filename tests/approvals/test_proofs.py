"""Every column is guarded by a MAC, by the history, or named as free with a reason: by test."""

from __future__ import annotations

import pytest
from sqlalchemy import Table
from sqlmodel import SQLModel

from approvals.record import tables
from approvals.record.proofs import FIXED, PROOFS, Proof

TABLES = list(SQLModel.metadata.sorted_tables)
assert tables.RARE  # the import above is what fills the metadata


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_signed_or_told_or_free_and_only_one_of_them(table: Table) -> None:
    proof = PROOFS[table.name]
    named = [*proof.signed, *proof.told, *proof.free]
    assert sorted(named) == sorted(set(named)), "named twice"
    own = {"row_version", "mac"} if proof.signed else set()
    assert set(named) | own == {column.name for column in table.c}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_primary_key_of_a_signed_row_is_under_its_mac(table: Table) -> None:
    proof = PROOFS[table.name]
    if proof.signed:
        assert {column.name for column in table.primary_key} <= set(proof.signed)


def test_every_free_column_says_why() -> None:
    for name, proof in PROOFS.items():
        for column, reason in proof.free.items():
            assert len(reason.split()) >= 3, f"{name}.{column}"


def test_no_table_is_listed_that_there_is_not() -> None:
    assert set(PROOFS) == {table.name for table in TABLES}


def test_what_a_held_row_binds_is_told_of_an_approval() -> None:
    assert set(FIXED) <= set(PROOFS["approval"].told)


def test_a_column_of_nowhere_is_found() -> None:
    """The first test can fail: a table with a column that no one placed."""
    table = SQLModel.metadata.tables["grant"]
    short = Proof(signed=("id",), free={})
    named = {*short.signed, *short.told, *short.free}
    assert named != {column.name for column in table.c}
