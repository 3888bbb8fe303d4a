"""One tool definition from tools/list, read without trust into the facts classification uses. Pure.

Whatever a server sends, reading never raises: a part of the wrong type counts as absent and marks
the definition as malformed; huge parts are cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.risk.text import MAX_DESCRIPTION, MAX_NAME, hidden_characters, words_of_name

MAX_PARAMETERS = 200
MAX_ABOUT = 400
MAX_CHOICES = 50


@dataclass(frozen=True, slots=True)
class Parameter:
    """One property of the input schema, or of an object directly inside it."""

    name: str  # lower case
    words: tuple[str, ...]
    about: str  # lower case
    choices: tuple[str, ...] = ()
    many: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The readable part of a definition. A hint is None where absent or not a boolean."""

    name: tuple[str, ...] = ()
    title: tuple[str, ...] = ()
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    read_only: bool | None = None
    destructive: bool | None = None
    open_world: bool | None = None
    hidden: bool = False
    malformed: bool = False


def read(definition: object) -> Facts:
    """The facts of a decoded definition; of anything else, the empty facts, malformed."""
    if not isinstance(definition, Mapping):
        return Facts(malformed=True)
    name, bad_name = _text(definition.get("name"), MAX_NAME)
    title, bad_title = _text(definition.get("title"), MAX_NAME)
    description, bad_description = _text(definition.get("description"), MAX_DESCRIPTION)
    schema, annotations = definition.get("inputSchema"), definition.get("annotations")
    hints = annotations if isinstance(annotations, Mapping) else {}
    wrong = (
        bad_name
        or bad_title
        or bad_description
        or not name
        or not isinstance(schema, Mapping | None)
        or not isinstance(annotations, Mapping | None)
    )
    return Facts(
        name=words_of_name(name),
        title=words_of_name(title),
        description=description.strip(),
        parameters=tuple(_parameters(schema)),
        read_only=_flag(hints.get("readOnlyHint")),
        destructive=_flag(hints.get("destructiveHint")),
        open_world=_flag(hints.get("openWorldHint")),
        hidden=any(hidden_characters(text) for text in (name, title, description)),
        malformed=wrong,
    )


def _text(value: Any, limit: int) -> tuple[str, bool]:
    """The text cut to its limit, and whether it was no text or too long."""
    if value is None:
        return "", False
    if not isinstance(value, str):
        return "", True
    return value[:limit], len(value) > limit * 4


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _parameters(schema: Any) -> Iterator[Parameter]:
    """The first two levels of properties, at most MAX_PARAMETERS."""
    left = MAX_PARAMETERS
    for name, value in _properties(schema):
        if left <= 0:
            return
        left -= 1
        yield _parameter(name, value)
        inner = value.get("items") if isinstance(value.get("items"), Mapping) else value
        for inner_name, inner_value in _properties(inner):
            if left <= 0:
                return
            left -= 1
            yield _parameter(inner_name, inner_value)


def _properties(schema: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return
    for name, value in properties.items():
        if isinstance(name, str):
            yield name[:MAX_NAME], value if isinstance(value, Mapping) else {}


def _parameter(name: str, value: Mapping[str, Any]) -> Parameter:
    about, choices = value.get("description"), value.get("enum")
    listed = choices[:MAX_CHOICES] if isinstance(choices, list) else []
    return Parameter(
        name=name.lower(),
        words=words_of_name(name),
        about=about[:MAX_ABOUT].lower() if isinstance(about, str) else "",
        choices=tuple(c[:MAX_NAME].lower() for c in listed if isinstance(c, str)),
        many=value.get("type") == "array",
    )
