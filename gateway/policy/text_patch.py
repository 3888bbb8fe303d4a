"""The text of a JSON document with one part put in or taken out; all else stays as it was written.

Order, spacing and line breaks around the part are kept, so that a file under version control shows
a small difference. The text must be valid JSON without keys written twice. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_WIDTH = 100  # columns a value may reach before it is broken over lines
_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[^,\]}\s]+")


@dataclass(slots=True)
class _Node:
    """One value of the text, from `start` to `end`."""

    start: int
    end: int = 0
    members: dict[str, _Member] = field(default_factory=dict)  # of an object


@dataclass(slots=True)
class _Member:
    start: int  # of the key
    value: _Node


def put(text: str, place: Sequence[str], value: Any) -> str:
    """The text with `value` at the keys of `place`; missing objects on the way are made.

    Raises:
        KeyError: something on the way is no object.
    """
    node = _read(text)
    for depth, key in enumerate(place):
        if text[node.start] != "{":
            raise KeyError(key)
        member = node.members.get(key)
        if member is None:
            wanted = value
            for name in reversed(place[depth + 1 :]):
                wanted = {name: wanted}
            return _insert(text, node, key, wanted)
        node = member.value
    indent = _indent(text, node.start)
    column = node.start - (text.rfind("\n", 0, node.start) + 1)
    written = dumped(value, indent, unit_of(text), column, broken=_broken(text))
    return text[: node.start] + written + text[node.end :]


def without(text: str, place: Sequence[str]) -> str:
    """The text without the member at the keys of `place`; as it was if there is none."""
    node = _read(text)
    for key in place[:-1]:
        if key not in node.members:
            return text
        node = node.members[key].value
    names = list(node.members)
    if place[-1] not in names:
        return text
    at = names.index(place[-1])
    gone = node.members[place[-1]]
    if len(names) == 1:
        return text[: node.start] + "{}" + text[node.end :]
    if at == 0:
        return text[: gone.start] + text[node.members[names[1]].start :]
    return text[: node.members[names[at - 1]].value.end] + text[gone.value.end :]


def dumped(value: Any, indent: str, unit: str, column: int, *, broken: bool = True) -> str:
    """The value as people write it: on one line where it fits, else a line for each member."""
    line = json.dumps(value, ensure_ascii=False)
    room = _WIDTH - column - 1
    if not broken or len(line) <= room or not isinstance(value, (dict, list)) or not value:
        return line
    deeper = indent + unit
    if isinstance(value, list):
        parts = [dumped(item, deeper, unit, len(deeper)) for item in value]
        return "[\n" + ",\n".join(f"{deeper}{part}" for part in parts) + f"\n{indent}]"
    lines = []
    for key, member in value.items():
        name = f"{deeper}{json.dumps(key, ensure_ascii=False)}: "
        lines.append(name + dumped(member, deeper, unit, len(name)))
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def unit_of(text: str) -> str:
    """By how much the text indents: what stands before its first key on a line of its own."""
    found = re.search(r"\n([ \t]+)\S", text)
    return found[1] if found else "  "


def _insert(text: str, node: _Node, key: str, value: Any) -> str:
    """A new last member."""
    name = json.dumps(key, ensure_ascii=False)
    unit, broken = unit_of(text), _broken(text)
    indent = _indent(text, node.start)
    if not node.members:
        if not broken:
            return (
                f"{text[: node.start]}{{{name}: {dumped(value, '', unit, 0, broken=False)}}}"
                + (text[node.end :])
            )
        deeper = indent + unit
        head = f"{deeper}{name}: "
        inner = head + dumped(value, deeper, unit, len(head))
        return f"{text[: node.start]}{{\n{inner}\n{indent}}}{text[node.end :]}"
    last = list(node.members.values())[-1]
    between = text[text.rfind("\n", 0, last.start) + 1 : last.start]
    if between.strip() or "\n" not in text[node.start : last.start]:  # members share a line
        return (
            f"{text[: last.value.end]}, {name}: {json.dumps(value, ensure_ascii=False)}"
            + (text[last.value.end :])
        )
    head = f"{between}{name}: "
    inner = head + dumped(value, between, unit, len(head))
    return f"{text[: last.value.end]},\n{inner}{text[last.value.end :]}"


def _broken(text: str) -> bool:
    return "\n" in text.strip()


def _indent(text: str, at: int) -> str:
    """The white space that begins the line of this place."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _read(text: str) -> _Node:
    return _value(text, _space(text, 0))


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _value(text: str, at: int) -> _Node:
    node = _Node(at)
    opening = text[at]
    if opening == '"':
        node.end = _after_string(text, at)
    elif opening in "{[":
        at = _space(text, at + 1)
        while text[at] not in "}]":
            start = at
            if opening == "{":
                at = _space(text, _after_string(text, at))
                value = _value(text, _space(text, at + 1))
                key = json.loads(text[start : _after_string(text, start)])
                node.members[key] = _Member(start, value)
            else:
                value = _value(text, at)
            at = _space(text, value.end)
            if text[at] == ",":
                at = _space(text, at + 1)
        node.end = at + 1
    else:
        found = _SCALAR.match(text, at)
        node.end = found.end() if found else at
    return node


def _after_string(text: str, at: int) -> int:
    at += 1
    while text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at + 1
