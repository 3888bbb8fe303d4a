"""The recommended rule of each class, and the scaffold made of them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.risk import Assessment, Category, recommend, scaffold


def assessed(category: Category) -> Assessment:
    return Assessment(category=category, risk="low", confidence="low", rationale="x")


def rate(most: int) -> dict[str, Any]:
    limit = {"counter": "t_rate", "window": "minute", "max": most, "scope": "grant"}
    return {"limits": [limit]}


@pytest.mark.parametrize(
    ("category", "rule"),
    [
        (Category.READ, {}),
        (Category.OTHER, rate(60)),
        (Category.WRITE, rate(30)),
        (Category.EXECUTE, rate(10)),
        (Category.DESTRUCTIVE, {"require_approval": True}),
        (Category.FINANCIAL, {"require_approval": True}),
    ],
)
def test_each_class_has_its_rule(category: Category, rule: dict[str, Any]) -> None:
    assert recommend(assessed(category), "t") == rule


def test_the_scaffold_denies_what_it_does_not_list() -> None:
    tools = [
        {"name": "list_rows", "description": "List rows."},
        {"name": "delete_row", "description": "Delete a row."},
        {"name": "close_session", "description": ""},
        {"name": "bad*name", "description": "List."},
        {"name": 7},
        None,
    ]
    close = {"counter": "close_session_rate", "window": "minute", "max": 60, "scope": "grant"}
    assert scaffold("rows", tools) == {
        "version": "1",
        "default": "deny",
        "servers": {
            "rows": {
                "default": "deny",
                "tools": {
                    "list_rows": {},
                    "delete_row": {"require_approval": True},
                    "close_session": {"limits": [close]},
                },
            }
        },
        "tools": {},
    }
