"""Which arguments of a held call a reviewer may change, and the call a filled form makes. Pure.

Only plain values that the reviewer can see whole are offered: no secrets, nothing with characters
that would not be seen. What may be changed is the record's to enforce; this only asks for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from approvals.differences import Path, covers, leaves, pattern, text
from approvals.digest import canonical
from approvals.redact import visible

PREFIX: Final = "set:"
"""How the names of the form's fields begin."""
_MOST: Final = 200  # fields of one form
_LONG: Final = 80  # characters from which a text gets an area to be written in
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")

Kind = Literal["text", "number", "yes or no"]


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One value that differs, as text."""

    path: str
    before: str | None  # None: not there
    after: str | None


@dataclass(frozen=True, slots=True)
class Field:
    """One value that may be changed."""

    name: str  # of the form's field; no quotes, no character of the agent's
    path: Path
    label: str
    kind: Kind
    value: str

    @property
    def long(self) -> bool:
        return self.kind == "text" and (len(self.value) > _LONG or "\n" in self.value)


@dataclass(frozen=True, slots=True)
class Edited:
    """The call as the form would have it."""

    arguments: bytes  # canonical
    rows: tuple[ChangeRow, ...]  # empty: nothing differs
    values: Mapping[str, str]  # of the fields that differ, as they were written


def fields_of(arguments: bytes, masked: str, editable: Iterable[str]) -> tuple[Field, ...]:
    """The fields of the form, in canonical order. `masked` is what people may see."""
    patterns = [pattern(path) for path in editable]
    if not patterns or not arguments:
        return ()
    shown = dict(leaves(json.loads(masked)))
    found: list[Field] = []
    for path, value in leaves(json.loads(arguments)):
        kind = _kind(value)
        same = type(shown.get(path)) is type(value) and shown.get(path) == value
        if kind is None or not same or not any(covers(one, path) for one in patterns):
            continue
        found.append(Field(_name(path), path, _label(path), kind, _written(value)))
    return tuple(found[:_MOST])


def edited(arguments: bytes, fields: Iterable[Field], given: Mapping[str, str]) -> Edited | str:
    """What the filled form makes of the call, or what is wrong with it in words."""
    offered = {field.name: field for field in fields}
    wanted: Any = json.loads(arguments)
    rows: list[ChangeRow] = []
    values: dict[str, str] = {}
    for name, written in given.items():
        field = offered.get(name)
        if field is None:
            return "One of these values may not be changed here. Nothing was changed."
        # Browsers send every line break of a text area as two characters.
        after = written.replace("\r\n", "\n") if field.kind == "text" else written.strip()
        if after == field.value:
            continue
        try:
            _put(wanted, field.path, _read(field.kind, after))
        except ValueError:
            return f"{field.label} must be a {'number' if field.kind == 'number' else field.kind}."
        rows.append(ChangeRow(field.label, field.value, after))
        values[name] = after
    try:
        return Edited(canonical(wanted), tuple(rows), values)
    except ValueError:
        return "One of these values cannot be sent as JSON."


def changed(arguments: bytes, fields: Iterable[Field], values: Mapping[str, Any]) -> Edited | str:
    """As `edited`, for a program: values by the path it is shown ("amount" or "args.amount")."""
    offered = {field.label: field for field in fields}
    wanted: Any = json.loads(arguments)
    rows: list[ChangeRow] = []
    for path, value in values.items():
        field = offered.get(path.removeprefix("args."))
        if field is None:
            return f"{path} is not among the values that may be changed: {', '.join(offered)}."
        if _kind(value) != field.kind:
            return f"{field.label} must be a {field.kind}."
        if _written(value) != field.value:
            _put(wanted, field.path, value)
            rows.append(ChangeRow(field.label, field.value, _written(value)))
    try:
        return Edited(canonical(wanted), tuple(rows), {})
    except ValueError:
        return "One of these values cannot be sent as JSON."


def _kind(value: Any) -> Kind | None:
    match value:
        case bool():
            return "yes or no"
        case int() | float():
            return "number"
        case str():
            plain = value.replace("\n", "").replace("\t", "")
            return "text" if visible(plain) == plain else None
        case _:
            return None


def _name(path: Path) -> str:
    return PREFIX + quote(json.dumps(path), safe="")


def _label(path: Path) -> str:
    return text(path).removeprefix("args.")


def _written(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value).decode()


def _read(kind: Kind, written: str) -> Any:
    """The value of a field as it was written.

    Raises:
        ValueError: it is none of that kind.
    """
    if kind == "text":
        return written
    if kind == "number" and _NUMBER.fullmatch(written) is None:
        raise ValueError(written)
    if kind == "yes or no" and written not in ("true", "false"):
        raise ValueError(written)
    return json.loads(written)


def _put(value: Any, path: Path, new: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new
