"""Arguments against a tool's own input schema. Pure.

What agents send is their server's to check, but for one thing: a name that a closed object does
not know is refused, since a lenient server may read it as one that the rules judge. What a reviewer
writes is checked in full, so that no one approves a call that cannot run. Nothing is fetched, and
patterns match in linear time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NoReturn

import jsonschema_rs

from approvals.differences import Path, text

_SHOWN: Final = 3  # faults told at once
_MOST_HOPS: Final = 8  # references of references that are followed
_LONGEST: Final = 300  # characters of one of them; the schema is the server's text


def fault(schema: Any, arguments: Any) -> str | None:
    """Why the arguments do not fit the schema, for the reviewer; None if they fit.

    A schema that cannot be read fits nothing. No value is repeated: it may be a secret.
    """
    if schema is None:
        return None
    try:
        validator = jsonschema_rs.validator_for(
            schema,
            retriever=_never,
            pattern_options=jsonschema_rs.RegexOptions(),
            mask="the value",
        )
        faults = list(islice(validator.iter_errors(arguments), _SHOWN))
    except ValueError:  # also a schema that is none, and one that refers to another place
        return "The tool's schema cannot be read, so no change can be checked against it."
    told = (f"{_place(one)}: {one.message[:_LONGEST]}" for one in faults)
    return f"It does not fit the tool's schema. {'; '.join(told)}" if faults else None


def may_refuse_names(schema: Any) -> bool:
    """Whether `unknown_name` could find one: something in the schema is closed."""
    rest = [schema]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            if one.get("additionalProperties") is False:
                return True
            rest += one.values()
        elif isinstance(one, list):
            rest += one
    return False


def unknown_name(schema: Any, arguments: Any) -> Path | None:
    """The first name that an object of the schema does not know although it is closed
    (`additionalProperties: false`, no patterns of names); None if there is none.
    """
    return _unknown(schema, arguments, (), schema)


def _unknown(schema: Any, value: Any, at: Path, root: Any) -> Path | None:
    schema = _followed(schema, root)
    if not isinstance(schema, dict):
        return None
    for step, member, inner in _members(schema, value):
        if inner is _NO_MEMBER:
            return (*at, step)
        if isinstance(member, (dict, list)):
            found = _unknown(inner, member, (*at, step), root)
            if found is not None:
                return found
    return None


_NO_MEMBER: Final = object()


def _members(schema: dict[str, Any], value: Any) -> Iterator[tuple[str | int, Any, Any]]:
    """Each member or element of the value that the schema speaks of, and its own schema; _NO_MEMBER
    for a name that is not allowed.
    """
    if isinstance(value, dict):
        known = schema.get("properties")
        known = known if isinstance(known, dict) else {}
        closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
        for name, member in value.items():
            if closed or name in known:
                yield name, member, known.get(name, _NO_MEMBER)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield index, item, schema["items"]


def _followed(schema: Any, root: Any) -> Any:
    """The schema itself, behind references within the document and an "or nothing" around it."""
    for _ in range(_MOST_HOPS):
        if not isinstance(schema, dict):
            return None
        ways = schema.get("anyOf")
        if "properties" not in schema and isinstance(ways, list):
            real = [way for way in ways if way != {"type": "null"}]
            if len(real) != 1:
                return schema
            schema = real[0]
            continue
        where = schema.get("$ref")
        if not isinstance(where, str):
            return schema
        place, _, name = where.removeprefix("#/").partition("/")
        shared = root.get(place) if place in ("$defs", "definitions") else None
        schema = shared.get(name) if isinstance(shared, dict) else None
    return None


def _place(error: jsonschema_rs.ValidationError) -> str:
    return text(tuple(error.instance_path)).removeprefix("args.")


def _never(uri: str) -> NoReturn:
    raise ValueError(uri)
