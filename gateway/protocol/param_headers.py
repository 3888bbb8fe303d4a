"""Which arguments of a tool are repeated as Mcp-Param-* headers, and how they are spelled. Pure.

It reads the tool's input schema once (`header_params`); `routing_headers` checks requests.
A schema that marks a property wrongly marks none, as the specification has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_MARK: Final = "x-mcp-header"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_PLAIN_NUMBER = re.compile(r"(-?[0-9]+)(?:\.0+)?").fullmatch
_MARKABLE: Final = frozenset({"string", "integer", "boolean"})

# The keywords of JSON Schema 2020-12 that hold schemas. `default`, `enum` and the like hold data,
# and $ref is not followed, so the walk ends.
_HOLDS_ONE: Final = (
    "items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames",
    "unevaluatedProperties", "not", "if", "then", "else", "contentSchema",
)  # fmt: skip
_HOLDS_LIST: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_HOLDS_MAP: Final = ("patternProperties", "dependentSchemas", "$defs", "definitions")

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeaderParam:
    """One argument that travels as a header too."""

    path: Path  # property names from the root of the arguments
    token: str  # the header is Mcp-Param-<token>
    type: str  # "string", "integer" or "boolean"


def header_params(input_schema: Any) -> tuple[HeaderParam, ...]:
    """The marked properties of a tool's input schema; () where none or one is marked wrongly."""
    found: dict[str, HeaderParam] = {}
    for path, schema in _schemas(input_schema):
        if _MARK not in schema:
            continue
        token, kind = schema[_MARK], schema.get("type")
        valid = isinstance(token, str) and _TOKEN(token) and isinstance(kind, str)
        if not path or not valid or kind not in _MARKABLE or token.lower() in found:
            return ()
        found[token.lower()] = HeaderParam(path, token, kind)
    return tuple(found.values())


def _schemas(root: Any) -> Iterator[tuple[Path | None, dict[str, Any]]]:
    """Every schema inside `root`, with its path where only `properties` lead to it, else None."""
    todo: list[tuple[Path | None, Any]] = [((), root)]
    while todo:
        path, schema = todo.pop()
        if not isinstance(schema, dict):
            continue
        yield path, schema
        for name, inner in _members(schema.get("properties")):
            todo.append((None if path is None else (*path, name), inner))
        todo += [(None, schema[key]) for key in _HOLDS_ONE if key in schema]
        for key in _HOLDS_LIST:
            inner = schema.get(key)
            todo += [(None, each) for each in inner] if isinstance(inner, list) else []
        for key in _HOLDS_MAP:
            todo += [(None, each) for _, each in _members(schema.get(key))]


def _members(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def value_at(arguments: Any, path: Path) -> Any:
    """The argument at a path; None where a step is missing or leads into no object."""
    for key in path:
        if not isinstance(arguments, dict):
            return None
        arguments = arguments.get(key)
    return arguments


def scalar_text(value: Any) -> str | None:
    """An argument as header text; None for what has none: null, arrays and objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def agrees(param: HeaderParam, value: Any, text: str, header: str) -> bool:
    """Whether the decoded header says what the argument says; 42 and 42.0 are one integer."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if param.type == "integer" and whole and not isinstance(value, bool):
        number = _PLAIN_NUMBER(header)
        if number is not None and len(header) <= MAX_NUMBER_LENGTH:
            return int(number[1]) == int(value)
    return header == text


MAX_NUMBER_LENGTH: Final = 1100
"""Characters of a header read as a number: more digits than any argument may have."""
