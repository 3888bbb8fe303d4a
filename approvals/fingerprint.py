"""The fingerprint of what a server says of a tool, a prompt, a template or itself. Pure.

Every key counts, but those an administrator named as volatile. What JSON Schema reads as a set
(`required`, `enum`, a list of types) is compared as one: servers build them from sets, and their
order differs from start to start. A default, a constant or an example is a value, not a schema,
and stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from approvals.digest import canonical, sha256

_SCHEMAS: Final = frozenset({"inputSchema", "outputSchema"})
_SETS: Final = frozenset({"required", "enum", "type"})
_VALUES: Final = frozenset({"default", "const", "examples"})
_BY_NAME: Final = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
)
_DOMAIN: Final = b"signoff/pin/1\n"

NAMED_KEYS: Final = frozenset(
    {"name", "title", "description", "inputSchema", "outputSchema", "annotations"}
)
"""All that a pin covered before every key was pinned."""


def fingerprint(definition: Mapping[str, Any], volatile: Collection[str] = ()) -> str:
    """SHA-256 of the definition without its `volatile` keys; equal means that nothing else changed.

    Raises:
        ValueError: it has no canonical form (see `approvals.digest`).
    """
    counted = {
        key: _schema(value) if key in _SCHEMAS else value
        for key, value in definition.items()
        if key not in volatile
    }
    return sha256(_DOMAIN + canonical(counted))


def _schema(value: Any) -> Any:
    """A schema, or a list of some, with what is a set put in order."""
    if isinstance(value, list):
        return [_schema(member) for member in value]
    if not isinstance(value, dict):
        return value
    return {key: _keyword(key, member) for key, member in value.items()}


def _keyword(key: str, value: Any) -> Any:
    if key in _VALUES:
        return value
    if key in _SETS:
        return _as_set(value) if isinstance(value, list) else value
    if key in _BY_NAME and isinstance(value, dict):  # its keys are names, whatever they spell
        return {name: _schema(member) for name, member in value.items()}
    return _schema(value)


def _as_set(members: list[Any]) -> list[Any]:
    """Each member once, in an order of its own."""
    spelled = {canonical(member): member for member in members}
    return [spelled[key] for key in sorted(spelled)]
