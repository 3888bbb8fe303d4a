# ruff: noqa: RUF001 - this file is about such letters
"""Attack 18: an argument whose name a lenient server reads as the judged one does not get past."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hostile.door import Door, call

SPELLINGS: dict[str, dict[str, Any]] = {
    "another case": {"Amount": 5000},
    "beside the judged one": {"amount": 5, "AMOUNT": 5000},
    "Cyrillic": {"amount": 5, "аmount": 5000},
    "zero width": {"amount": 5, "am\u200bount": 5000},
    "full width": {"amount": 5, "ａｍｏｕｎｔ": 5000},
    "Greek": {"amount": 5, "amοunt": 5000},
}


@pytest.mark.parametrize("case", SPELLINGS)
@pytest.mark.parametrize("tool", ["narrow", "wide"])
def test_a_name_that_reads_like_a_judged_one_is_refused(door: Door, tool: str, case: str) -> None:
    before = len(door.evil.calls(tool))
    answer = door.send(call(tool, SPELLINGS[case]), path="/mcp/e")
    assert answer.refused, answer.body
    assert len(door.evil.calls(tool)) == before


def test_a_closed_definition_knows_its_names(door: Door) -> None:
    refused: list[dict[str, Any]] = [
        {"amount": 5, "extra": 1},
        {"to": {"iban": "x", "IBAN": "y"}},
    ]
    for arguments in refused:
        answer = door.send(call("narrow", arguments), path="/mcp/e")
        assert answer.refused, answer.body
        assert "has no argument" in answer.text
    passed: list[tuple[str, dict[str, Any]]] = [
        ("narrow", {"amount": 5, "to": {"iban": "x"}}),
        ("wide", {"amount": 5, "extra": {"any": "thing"}}),
    ]
    for tool, arguments in passed:
        before = len(door.evil.calls(tool))
        assert not door.send(call(tool, arguments), path="/mcp/e").refused
        assert len(door.evil.calls(tool)) == before + 1
