"""What the libraries that check settings and options find, in words that say what to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_FOUND: Final[Mapping[str, str]] = {
    "int": "is no whole number",
    "float": "is no number",
    "finite": "is no number",
    "bool": "is neither true nor false",
    "string": "is no text",
    "list": "is no list",
    "tuple": "is no list",
    "dict": "is no table",
    "path": "is no path",
}
"""By the first word of what pydantic calls it: int_parsing, int_type, int_from_float, …"""

_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def found(error: Mapping[str, Any]) -> str:
    """What is wrong with one value, as the rest of a sentence: "is no whole number". `error` is one
    of a `pydantic.ValidationError`. The value, which may be a secret, is not told.
    """
    kind, said = str(error["type"]), error.get("ctx", {})
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"has to be {words} {said[key]}"
    if kind == "literal_error":
        return f"has to be {said['expected']}"
    if kind == "string_pattern_mismatch":
        return f"has to match {said['pattern']}"
    if kind == "string_too_short":
        return f"has to have {said['min_length']} characters at least"
    if kind == "string_too_long":
        return f"has to have {said['max_length']} characters at most"
    return _FOUND.get(kind.partition("_")[0], "cannot be used")


def own(error: Mapping[str, Any]) -> str:
    """The sentence of a check of ours, without what pydantic puts before it; "" for its own."""
    raised = error.get("ctx", {}).get("error")
    return str(raised) if isinstance(raised, Exception) else ""
