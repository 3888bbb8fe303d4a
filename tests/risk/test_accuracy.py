"""The classifier against tools labelled by hand: how many, how right, and never the wrong way."""

from __future__ import annotations

from gateway.risk import Category, classify
from tests.risk.labelled import TOOLS, accuracy, labelled, words_alone, wrong_direction

FLOOR = 0.86  # measured on the held-out half before any of its labels were used: 86.2 %
WORDS_FLOOR = 0.95


def test_four_hundred_tools_of_twenty_five_servers_are_labelled_with_reasons() -> None:
    rows = labelled()
    stored = sum(len(path.read_text("utf-8").splitlines()) for path in TOOLS.glob("*.jsonl"))
    assert len(rows) == stored
    assert len(rows) >= 400
    assert len({row.server for row in rows}) >= 25
    assert all(row.reason for row in rows)
    assert sum(path.stat().st_size for path in TOOLS.glob("*.jsonl")) < 1_500_000


def test_no_destructive_or_financial_tool_is_called_read_on_either_half() -> None:
    assert wrong_direction(labelled("development")) == ()
    assert wrong_direction(labelled("held-out")) == ()


def test_no_destructive_or_financial_tool_is_called_other_on_the_held_out_half() -> None:
    severe = {Category.DESTRUCTIVE, Category.FINANCIAL}
    rows = [r for r in labelled("held-out") if r.category in severe]
    assert [r for r in rows if r.assessment.category is Category.OTHER] == []


def test_the_held_out_half_is_at_least_as_right_as_it_was_measured() -> None:
    rows = labelled("held-out")
    assert accuracy(rows) >= FLOOR
    assert sum(words_alone(row) for row in rows) / len(rows) >= WORDS_FLOOR


def test_no_annotation_ever_lowers_a_class() -> None:
    lying = {"readOnlyHint": True, "destructiveHint": False}
    for row in labelled():
        bare = {k: v for k, v in row.definition.items() if k != "annotations"}
        assert classify({**bare, "annotations": lying}).category is classify(bare).category
