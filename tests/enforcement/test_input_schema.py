"""A closed input schema refuses names it does not know, wherever it is closed."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.enforcement.input_schema import may_refuse_names, unknown_name

CLOSED = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {}}}

WAYS: dict[str, tuple[Any, Any]] = {
    "itself": (CLOSED, {"b": 1}),
    "a property": ({"properties": {"in": CLOSED}}, {"in": {"b": 1}}),
    "an element": ({"properties": {"in": {"items": CLOSED}}}, {"in": [{"a": 1}, {"b": 1}]}),
    "a reference": (
        {"properties": {"in": {"$ref": "#/$defs/One"}}, "$defs": {"One": CLOSED}},
        {"in": {"b": 1}},
    ),
    "an old reference": ({"$ref": "#/definitions/One", "definitions": {"One": CLOSED}}, {"b": 1}),
    "or nothing": ({"anyOf": [CLOSED, {"type": "null"}]}, {"b": 1}),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_can_refuse_a_name_is_known_before_any_call(way: str) -> None:
    schema, arguments = WAYS[way]
    assert unknown_name(schema, arguments) is not None
    assert may_refuse_names(schema)


@pytest.mark.parametrize("schema", [None, {}, OPEN, {"properties": {"in": OPEN}}, "text", [1]])
def test_an_open_schema_refuses_no_name(schema: Any) -> None:
    assert not may_refuse_names(schema)
    assert unknown_name(schema, {"b": 1, "in": {"b": 1}}) is None
