"""Text made fit for Slack: escaped, hidden characters shown, cut to a length and saying so. Pure.

Whatever an agent, a server or a reviewer wrote goes into `plain_text` or `rich_text`, which parse
nothing. `mrkdwn` holds our own words, numbers, and names that `harmless` knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from approvals.digest import canonical
from approvals.model import Millis
from approvals.redact import visible as spelled

_HARMLESS: Final = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.+/-]|(?<=[A-Za-z0-9])[_@ ](?=[A-Za-z0-9]))*"
)

_SPACES: Final = re.compile(r" {4,}")
_QUOTES: Final = str.maketrans("“”„«»", '"' * 5)

GUTTER: Final = "  ┃ "
"""Begins each line of a text of several lines: no such line can pass for another argument."""


def escape(text: str) -> str:
    """The text for `mrkdwn`: it makes no link, mention or channel. It may still be bold."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def visible(text: str) -> str:
    """On one line, every character shown that a reader would not see, and spaces counted that would
    look like the end of it.
    """
    shown = spelled(" ".join(text.split("\n")))
    return _SPACES.sub(lambda run: f" …{len(run.group())} spaces… ", shown)


def quoted(text: str, most: int = 80) -> str:
    """Someone else's words inside a sentence of ours: one line, cut, in quotes they cannot end."""
    return f"“{fit(visible(text).translate(_QUOTES), most)}”"


def fit(text: str, most: int) -> str:
    """The text, or its beginning and end around how much is missing."""
    if len(text) <= most:
        return text
    note = f" … {len(text) - most:,}+ characters … "
    room = most - len(note)
    if room < 2:  # noqa: PLR2004 - one character of either end
        return text[: most - 1] + "…"
    head = room * 3 // 4
    return text[:head] + note + text[len(text) - (room - head) :]


def harmless(text: str) -> bool:
    """Whether the text can make nothing in `mrkdwn`: no emphasis, emoji, code, link or mention."""
    return len(text) <= 200 and _HARMLESS.fullmatch(text) is not None  # noqa: PLR2004 - a name's


def when(at: Millis) -> str:
    """`mrkdwn` for a moment, in each reader's own time; the fallback is UTC."""
    return f"<!date^{at // 1000}^{{date_short_pretty}} {{time}}|{utc(at)}>"


def utc(at: Millis) -> str:
    """Such as: 14:30 UTC, 23 Nov."""
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return f"{moment:%H:%M} UTC, {moment.day} {moment:%b}"


def utc_second(at: Millis) -> str:
    """Such as: 14:30:05 UTC; the second is the last whole one before it."""
    return f"{datetime.fromtimestamp(at // 1000, UTC):%H:%M:%S} UTC"


def lines(value: Any) -> list[str]:
    """A decoded JSON value as indented JSON, hidden characters shown. Text of several lines is
    unfolded behind a gutter, with its backslashes doubled, so nothing in it is ambiguous.
    """
    return list(_lines(value, "", ""))


def _lines(value: Any, indent: str, lead: str) -> Iterator[str]:
    match value:
        case dict() if value:
            yield f"{indent}{lead}{{"
            for key, member in value.items():
                yield from _lines(member, f"{indent}  ", f"{_literal(key)}: ")
            yield f"{indent}}}"
        case list() if value:
            yield f"{indent}{lead}["
            for item in value:
                yield from _lines(item, f"{indent}  ", "")
            yield f"{indent}]"
        case str() if "\n" in value:
            parts = value.split("\n")
            yield f"{indent}{lead}text of {len(parts)} lines:"
            for part in parts:
                yield f"{indent}{GUTTER}{_literal(part)[1:-1].replace(chr(92) + chr(34), chr(34))}"
        case _:
            yield f"{indent}{lead}{_literal(value)}"


def _literal(value: Any) -> str:
    return spelled(canonical(value).decode())
