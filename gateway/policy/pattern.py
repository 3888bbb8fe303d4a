"""Regular expressions (RE2, linear in the text) and tool globs. Pure.

The only place that knows the regex library. Globs know `*` and `?` and compare bytes exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import re2  # type: ignore[import-untyped]  # it ships no types; every use of it is in this file

MAX_TEXT = 64 * 1024
"""Bytes of text a regex is tried on; longer text cannot be compared."""
MAX_PATTERN = 1000
_MAX_MEMORY = 1 << 20


class BadPattern(ValueError):
    """The text is no RE2 pattern; the message says why."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled regular expression."""

    text: str
    compiled: object

    def search(self, text: str) -> bool | None:
        """Whether it is found anywhere in the text; None when the text is too long or no text."""
        if len(text) > MAX_TEXT:
            return None
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:
            return None
        if len(data) > MAX_TEXT:
            return None
        return self.compiled.search(data) is not None  # type: ignore[attr-defined]  # see import


def compile_pattern(text: str) -> Pattern:
    """Raises BadPattern when RE2 cannot take it (back-references, look-around, syntax, size)."""
    if len(text) > MAX_PATTERN:
        raise BadPattern(f"it is longer than {MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MAX_MEMORY
    try:
        return Pattern(text, re2.compile(text, options))
    except (re2.error, UnicodeEncodeError) as error:
        why = error.args[0] if error.args else "syntax"
        raise BadPattern(why.decode() if isinstance(why, bytes) else str(why)) from None


def is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def specific_first(pattern: str) -> tuple[int, int, str]:
    """The place of a glob among others, the most specific first: more letters of its own, then
    fewer `*`, then by name. Where they stand in the file says nothing: the policy's hash does not
    tell one order of keys from another.
    """
    stars = pattern.count("*")
    return stars + pattern.count("?") - len(pattern), stars, pattern


def matches(pattern: str, name: str) -> bool:
    """Whether the glob matches the whole name; at worst len(pattern) * len(name) steps."""
    at = back = 0
    star = -1
    for_name = 0
    while for_name < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, back = at, for_name
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", name[for_name]):
            at += 1
            for_name += 1
        elif star >= 0:
            back += 1
            at, for_name = star + 1, back
        else:
            return False
    return all(rest == "*" for rest in pattern[at:])


def overlap(one: str, other: str) -> bool:
    """Whether some name matches both globs."""
    reach = {0}
    reach |= _stars(other, reach)
    for letter in one:
        if letter == "*":
            reach = set(range(min(reach), len(other) + 1)) if reach else reach
        else:
            reach = {
                place + (other[place] != "*")
                for place in reach
                if place < len(other) and (letter == "?" or other[place] in ("*", "?", letter))
            }
        reach |= _stars(other, reach)
        if not reach:
            return False
    return len(other) in reach


def _stars(other: str, reach: set[int]) -> set[int]:
    """Places reached by letting a `*` of the other stand for nothing."""
    more: set[int] = set()
    for place in reach:
        here = place
        while here < len(other) and other[here] == "*":
            here += 1
            more.add(here)
    return more
