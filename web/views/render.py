"""Templates and the few filters they use. Autoescape is always on; nothing here marks text as safe.

Pure but for reading its own templates and static files once, when built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from approvals.model import Millis
from approvals.redact import runs, visible

WEB = Path(__file__).parents[1]
STATIC = WEB / "static"
_MINUTE, _HOUR = 60, 3600
_LONG = 90 * 60 * 1000
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text: shown as it is, or named because it would not be seen (or would deceive)."""

    text: str
    hidden: bool = False


def pieces(text: str) -> list[Piece]:
    """Splits untrusted text so that control, bidi, zero-width and tag characters can be shown by
    name, set apart from text that merely spells such a name.
    """
    if text.isascii() and text.isprintable():
        return [Piece(text)] if text else []
    found: list[Piece] = []
    for run, unseen in runs(text):
        if not unseen:
            found.append(Piece(run))
            continue
        found.append(Piece(_SHORT.get(run) or visible(run), hidden=True))
        if run == "\n":
            found.append(Piece("\n"))
    return found


def flowing(text: str) -> list[Piece]:
    """The same for a text that is laid out in lines: its line ends and tabs are seen by what they
    do, and named only where they are not ordinary.
    """
    if text.isascii() and text.isprintable():
        return [Piece(text)] if text else []
    return list(_flowing(text))


def _flowing(text: str) -> Iterator[Piece]:
    kept: list[str] = []
    for run, unseen in runs(text):
        if not unseen or run in "\n\t":
            kept.append(run)
            continue
        yield from (Piece("".join(kept)),) if kept else ()
        kept = []
        yield Piece(_SHORT.get(run) or visible(run), hidden=True)
    if kept:
        yield Piece("".join(kept))


def plain(text: str) -> str:
    """The same, as one line of text for attributes and titles."""
    return visible(text)


def iso(at: Millis) -> str:
    """For `datetime` attributes; the viewer's browser turns it into its own zone."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")


def utc(at: Millis) -> str:
    """What is read where no script runs."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def brief(at: Millis, how: str) -> str:
    """What stands in the place of "5 min ago" or a clock time until a script knows the zone: as
    short as that, so that nothing moves when it is replaced.
    """
    form = {"clock": "%H:%M UTC", "ago": "%b %d %H:%M UTC"}.get(how)
    return datetime.fromtimestamp(at / 1000, UTC).strftime(form) if form else utc(at)


def span(left: Millis) -> str:
    """Time left, as the page's script writes it too."""
    seconds = max(0, -(-left // 1000))
    hours, minutes = seconds // _HOUR, seconds // _MINUTE
    if left >= _LONG:
        return f"{round(seconds / _HOUR)} h"
    if hours:
        return f"1 h {minutes - 60} min"
    return f"{minutes}:{seconds % 60:02d}"


def took(length: Millis | None) -> str:
    """A duration in the largest unit that still says something; "" for None."""
    if length is None:
        return ""
    for size, name in _UNITS:
        if length >= size:
            digits = 0 if length >= 10 * size else 1
            return f"{length / size:.{digits}f} {name}"
    return f"{length} ms"


_SAID = {
    "attached": "came back",
    "claimed": "started",
    "delivered": "answer handed over",
    "revealed": "looked behind the masks",
}


def words(code: str) -> str:
    """A state or event as a person reads it."""
    return _SAID.get(code) or code.replace("_", " ")


class Pages:
    """Renders pages. Knows the version of each static file, so that they may be cached for good."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(WEB / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(
            pieces=pieces,
            flowing=flowing,
            plain=plain,
            iso=iso,
            utc=utc,
            brief=brief,
            span=span,
            took=took,
            words=words,
        )
        self._environment.globals["static"] = {
            path.name: f"/static/{path.name}?v={_version(path)}" for path in STATIC.iterdir()
        }

    def render(self, template: str, **values: Any) -> str:
        return self._environment.get_template(template).render(**values)


def _version(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
