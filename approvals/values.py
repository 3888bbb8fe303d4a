"""Values of a call made safe to show, and how two of them differ. Pure.

Hidden characters are made visible; of a long text stay its beginning and its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final

from approvals.differences import Difference, Path, Places, changes, leaves, text
from approvals.digest import canonical
from approvals.lookalike import notes
from approvals.redact import hidden, visible

LONG: Final = 600  # characters of one value shown in full; longer ones are shown head and tail
_HEAD: Final = 400
_TAIL: Final = 120
_LEAD: Final = 24  # characters shown before the first that differs
_TARGETS: Final = (
    *("id", "name", "path", "url", "uri", "to", "email", "recipient", "account", "customer"),
    *("repo", "repository", "branch", "project", "file", "table", "database", "host", "command"),
)
"""Keys whose value a call is mostly about, the likeliest first; `customer_id` counts as id."""
_TELLING: Final = (
    *("payment", "order", "invoice", "ticket", "issue", "user", "amount", "total", "price"),
    *("currency", "quantity", "count", "subject", "title", "status"),
    *("env", "environment", "version", "query", "message"),
)
"""Keys that say most of the rest."""
_RANKS: Final = {name: rank for rank, name in enumerate((*_TARGETS, *_TELLING))}
_INCIDENTAL: Final = re.compile(
    r"(^|_)((request|trace|span|session|correlation)_?id|idempotency(_?key|_?token)?|nonce)$"
)
_SNAKE: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MASK: Final = "[redacted, "
_SHORT: Final = 60  # characters of a text that is told before longer ones


@dataclass(frozen=True, slots=True)
class Value:
    """One argument, made safe to show. `cut` tells that `text` is not all of it."""

    path: str
    type: str  # "text", "number", "true or false", "nothing", "object", "list", "absent"
    text: str  # hidden characters visible
    size: int  # characters in full
    cut: bool
    hidden: int  # characters a reader would not have seen
    odd: tuple[str, ...] = ()  # letters, spelled, that may be taken for others; see `lookalike`


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One argument that differs. Where a long text is cut, what stays is from where it differs."""

    path: str
    before: Value
    after: Value

    def brief(self, room: int) -> tuple[str | None, str | None]:
        """Both sides in about so many characters, from shortly before they differ; None: absent."""
        same = _same(self.before.text, self.after.text)
        return _around(self.before, same, room), _around(self.after, same, room)


def values_of(value: Any, places: Places) -> Iterator[Value]:
    """Every leaf, in canonical order."""
    odd = notes(value)
    for at, leaf in leaves(value):
        place, whole = places.text(at)
        yield replace(_value(leaf, place, whole=whole), odd=odd.get(at, ()))


def value_of(value: Any, at: Path, *, start: int = 0) -> Value:
    """One value, made safe to show: hidden characters visible. Of a long one stay the characters
    from `start` on, and the end.
    """
    return _value(value, text(at), start=start)


def _value(value: Any, place: str, *, start: int = 0, whole: bool = True) -> Value:
    """`whole`: `place` is all of the path."""
    kind, written = _written(value)
    cut = start > 0 or len(written) > LONG
    short = _shortened(written, start) if cut else written
    return Value(
        path=visible(place),
        type=kind,
        text="\n".join(visible(line) for line in short.split("\n")),
        size=len(written),
        cut=cut or not whole,
        hidden=hidden(written) + hidden(place),
    )


def _written(value: Any) -> tuple[str, str]:
    """What a value is, and all of it as text."""
    match value:
        case str():
            return "text", value
        case bool():
            return "true or false", "true" if value else "false"
        case None:
            return "nothing", "null"
        case int() | float():
            return "number", canonical(value).decode()
        case dict() | list():
            return "object" if isinstance(value, dict) else "list", canonical(value).decode()
        case _:
            return "absent", ""


def _shortened(written: str, start: int) -> str:
    end = start + _HEAD
    rest = max(end, len(written) - _TAIL)
    before = f"… {start} characters before … " if start else ""
    between = f" … {rest - end} more characters … " if rest > end else ""
    return f"{before}{written[start:end]}{between}{written[rest:]}"


def _same(one: str, other: str) -> int:
    """With how many equal characters two texts begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _around(value: Value, same: int, room: int) -> str | None:
    """A value such that it fits: from shortly before its first `same` characters end."""
    if value.type == "absent":
        return None
    if len(value.text) <= room:
        return value.text
    begin = max(0, same - _LEAD)
    end = begin + room
    more = " … more" if value.cut else f" … {len(value.text) - end:,} more"
    shown = f"{'… ' if begin else ''}{value.text[begin:end]}"
    return shown + more if end < len(value.text) else shown


def field_changes(before: Any, after: Any, size: int) -> tuple[FieldChange, ...]:
    places = Places.of(size)
    return tuple(
        _field_change(change, *places.text(change.path)) for change in changes(before, after)
    )


def field_change(change: Difference) -> FieldChange:
    """As `view_of` shows a difference, for one of them."""
    return _field_change(change, text(change.path))


def _field_change(change: Difference, place: str, whole: bool = True) -> FieldChange:  # noqa: FBT001, FBT002  # of a path's text
    """Both sides cut at the same place, so that what differs is seen, however far in it stands."""
    before, after = _written(change.before)[1], _written(change.after)[1]
    longest, same = max(len(before), len(after)), _same(before, after)
    start = 0
    if longest > LONG and same > _HEAD - _LEAD:
        start = min(same - _LEAD, longest - _HEAD)
    return FieldChange(
        path=place,
        before=_value(change.before, place, start=start, whole=whole),
        after=_value(change.after, place, start=start, whole=whole),
    )


def target_of(shown: Any) -> Value | None:
    """The argument the call is mostly about: a telling key, else the first short text or number."""
    if not isinstance(shown, dict):
        return None
    scalars = {
        key: value
        for key, value in shown.items()
        if isinstance(value, (str, int, float)) and not isinstance(value, bool)
    }
    own = {key: value for key, value in scalars.items() if not incidental(key)}
    key = min(own, key=lambda name: min(_rank(name), len(_TARGETS)), default=None)
    return None if key is None else value_of(own[key], (key,))


def about(shown: dict[str, Any]) -> list[str]:
    """The names of the arguments that tell most of a call, in the order to tell them: plain values
    and lists of them, no secrets and nothing that only marks this one call; long texts last.
    """
    names = [name for name, value in shown.items() if _tells(value) and not incidental(name)]
    return sorted(names, key=lambda name: (_long(shown[name]), _rank(name)))


def incidental(name: str) -> bool:
    """Whether an argument of this name only tells one call from another: a request's id, a key
    against repeating. It is new each time and no one's target.
    """
    return _INCIDENTAL.search(_SNAKE.sub("_", name).lower().replace("-", "_")) is not None


def _tells(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) for one in value)
    return isinstance(value, (str, int, float)) and not (
        value == "" or (isinstance(value, str) and value.startswith(_MASK))
    )


def _long(value: Any) -> bool:
    return isinstance(value, str) and (len(value) > _SHORT or "\n" in value)


def _rank(name: str) -> int:
    """How early an argument of this name is told."""
    return _RANKS.get(name.lower().rpartition("_")[2], len(_RANKS))
