"""Single values as pieces of text, against what stood in their place before. Pure."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from approvals.differences import ABSENT
from approvals.digest import canonical
from web.views.viewers.blob import blob_of
from web.views.viewers.spans import Effort, MarkedText
from web.views.viewers.words import changed

MASK: Final = "[redacted, "
LONG_LINE: Final = 160  # characters of a text that still stands in a row
_WORTH_COUNTING: Final = 80  # characters from which a text's length is told
_BEFORE: Final = 2_000  # characters of an earlier value that is no longer sent


class ShownScalar(NamedTuple):
    spans: tuple[MarkedText, ...]
    sort: str  # "", "came", "went", "changed"


def is_long(text: str) -> bool:
    """Whether a text is shown by itself and not in a row."""
    return len(text) > LONG_LINE or "\n" in text.strip("\n") or blob_of(text) is not None


def written(value: Any) -> str:
    """All of a value as text."""
    return value if isinstance(value, str) else canonical(value).decode()


def note_of(value: Any) -> str:
    """The type or size of a value where its text alone does not tell."""
    match value:
        case str():
            if value.startswith(MASK):
                return "secret"
            if not value:
                return "empty text"
            if len(value) > _WORTH_COUNTING:
                return f"{len(value):,} characters"
            return "text" if _reads_otherwise(value) else ""
        case bool():
            return "yes or no"
        case None:
            return "nothing"
        case int() | float():
            return "number"
        case _:
            return "object" if isinstance(value, dict) else "list"


def type_of(value: Any, old: Any) -> str:
    """The note of a value; with the earlier one where only the type differs."""
    note = note_of(value)
    if old is ABSENT or old is value or type(old) is type(value):
        return note
    return f"{note or 'text'}, was {note_of(old) or 'text'}"


def _reads_otherwise(value: str) -> bool:
    """Whether a text would be taken for a number or a truth value."""
    try:
        return not isinstance(json.loads(value), str)
    except (ValueError, RecursionError):
        return False


def seen_scalar(value: Any, old: Any, effort: Effort) -> ShownScalar:
    """A value against the earlier one: ABSENT if there was none, the same if nothing is compared.
    An ABSENT value is one that is not sent now.
    """
    if value is ABSENT:
        return ShownScalar((MarkedText(cut(written(old)), "went"),), "went")
    now = written(value)
    if old is value or (type(old) is type(value) and old == value):
        return ShownScalar((MarkedText(now),), "")
    if old is ABSENT:
        return ShownScalar((MarkedText(now, "came"),), "came")
    if isinstance(old, str) and isinstance(value, str) and MASK not in old + value:
        spans = changed(old, value, effort)
        if spans is not None:
            return ShownScalar(spans, "changed")
    was = MarkedText(cut(written(old)), "went") if old != "" else MarkedText("empty text", "ours")
    new = MarkedText(now, "came") if now else MarkedText("empty text", "ours")
    return ShownScalar((was, MarkedText(" → ", "ours"), new), "changed")


def cut(text: str) -> str:
    """An earlier text, which is not sent: its beginning, and how much more there was."""
    if len(text) <= _BEFORE:
        return text
    return f"{text[:_BEFORE]} … {len(text) - _BEFORE:,} more"
