"""A hint that most of a server's tools carry says little; a class that a person settled counts."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.model import RISKS
from gateway.risk import Category, classify, classify_all, scaffold
from gateway.risk.assessment import Signal

LOOKS = {"description": "Lists the files of a folder.", "inputSchema": {"type": "object"}}
WIPES = {"description": "Deletes a folder.", "inputSchema": {"type": "object"}}
HINT = {"annotations": {"destructiveHint": True}}


def tools(hinted: int, plain: int) -> list[dict[str, Any]]:
    return [{"name": f"list_{at}", **LOOKS, **HINT} for at in range(hinted)] + [
        {"name": f"list_plain_{at}", **LOOKS} for at in range(plain)
    ]


def test_a_hint_of_a_few_tools_makes_them_destructive() -> None:
    found = classify_all(tools(2, 2))[0]  # half of them: not more than half
    assert (found.category, found.risk) == (Category.DESTRUCTIVE, "high")
    assert Signal.HABIT not in found.signals


def test_a_hint_of_most_tools_raises_by_one_step_and_is_named_a_habit() -> None:
    found = classify_all(tools(3, 2))
    hinted, plain = found[0], found[-1]
    assert (plain.category, plain.risk) == (Category.READ, "low")
    assert (hinted.category, hinted.risk) == (Category.READ, "medium")
    assert Signal.HABIT in hinted.signals
    assert "most of its tools" in hinted.rationale
    assert "most of its tools" not in plain.rationale


def test_a_habit_takes_nothing_from_what_the_words_say() -> None:
    listed = [*tools(3, 0), {"name": "wipe_folder", **WIPES, **HINT}]
    alone = classify({"name": "wipe_folder", **WIPES, **HINT})
    among = classify_all(listed)[-1]
    assert among.category is Category.DESTRUCTIVE
    assert RISKS.index(among.risk) >= RISKS.index(classify({"name": "wipe_folder", **WIPES}).risk)
    assert RISKS.index(among.risk) <= RISKS.index(alone.risk)


def test_one_tool_alone_has_no_habit() -> None:
    assert classify_all(tools(1, 0))[0].category is Category.DESTRUCTIVE


def test_no_tool_passes_freely_by_recommendation_for_its_servers_habit() -> None:
    entries = scaffold("srv", tools(3, 1))["servers"]["srv"]["tools"]
    assert "limits" in entries["list_0"]
    assert entries["list_plain_0"] == {}


@pytest.mark.parametrize("category", Category)
def test_a_settled_class_decides_and_signals_still_raise(category: Category) -> None:
    quiet = classify({"name": "list_x", **LOOKS, **HINT}, settled=category)
    assert quiet.category is category
    assert quiet.settled
    assert "a person settled it" in quiet.rationale
    hidden = {"name": "list_x", **LOOKS, "description": "Lists\u202e files."}
    raised = classify(hidden, settled=category)
    assert RISKS.index(raised.risk) >= RISKS.index(quiet.risk)
    if quiet.risk != "critical":
        assert raised.risk != quiet.risk
