"""YAML text to plain JSON values, safely. Pure; knows nothing of policies.

Refused: aliases (they blow up when followed), duplicate keys, tags, several documents, numbers that
are not finite. Dates and the like stay the text they were written as.
"""

from __future__ import annotations

from typing import Any

import yaml

_MAX_CHARACTERS = 4 * 1024 * 1024
_MAX_DEPTH = 40
_PLAIN = {"null", "bool", "int", "float", "str"}


class BadYaml(ValueError):
    """The text cannot be read; the message says why and where."""


def read_yaml(text: str) -> Any:
    """The document's value.

    Raises:
        BadYaml: the text is no YAML, or uses what is refused.
    """
    if len(text) > _MAX_CHARACTERS:
        raise BadYaml(f"The file is larger than {_MAX_CHARACTERS} characters.")
    try:
        _refuse_aliases(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if node is None else _value(node, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise BadYaml(f"Not YAML{where}: {error.problem}.") from None
    except yaml.YAMLError:
        raise BadYaml("Not YAML: a character that may not be there.") from None
    except RecursionError:
        raise BadYaml("Nested too deeply.") from None


def _refuse_aliases(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise BadYaml(f"Line {_line(event)} uses an alias (*…); write the value out.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise BadYaml("Nested too deeply.")


def _line(thing: yaml.Event | yaml.Node) -> int:
    return (thing.start_mark.line + 1) if thing.start_mark is not None else 0


def _value(node: yaml.Node, depth: int) -> Any:
    if isinstance(node, yaml.MappingNode):
        members: dict[str, Any] = {}
        for key_node, member in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise BadYaml(f"Line {_line(key_node)}: a key must be a text.")
            key = key_node.value
            if key in members:
                raise BadYaml(f"Line {_line(key_node)}: the key {key!r:.60} is written twice.")
            members[key] = _value(member, depth + 1)
        return members
    if isinstance(node, yaml.SequenceNode):
        return [_value(member, depth + 1) for member in node.value]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in _PLAIN:
        return str(node.value)
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (ValueError, yaml.YAMLError):
        return str(node.value)
    if isinstance(value, float) and value - value != 0:  # infinite or not a number
        raise BadYaml(f"Line {_line(node)}: {node.value} is no number to compare with.")
    return value
