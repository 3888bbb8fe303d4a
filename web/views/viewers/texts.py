"""A long text as a person reads it: as a patch, code, bytes, or what it is, against the earlier one
where that helps. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from approvals.differences import ABSENT
from web.views.viewers.blob import Blob, blob_of
from web.views.viewers.code import LANGUAGES, lines_in
from web.views.viewers.kinds import language_of
from web.views.viewers.patch import Patch, patch_of
from web.views.viewers.scalars import cut, written
from web.views.viewers.spans import Effort, Line, MarkedText, lines_of, spread
from web.views.viewers.tree import Node, Table
from web.views.viewers.words import changed
from web.views.viewers.words import numbered as changed_lines

MOST_LINES: Final = 20_000  # lines that are numbered; a longer text is shown in one piece
MOST: Final = 300_000  # characters of a text that is read as more than bytes or text


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownText:
    """One argument that takes the whole width, by the one of its fields that is there."""

    name: str
    note: str
    form: str  # "flow", "code", "patch", "bytes", "tree", "table"
    spans: tuple[MarkedText, ...] = ()
    lines: tuple[Line, ...] = ()
    blob: Blob | None = None
    node: Node | None = None
    table: Table | None = None
    plus: int = 0
    minus: int = 0
    touched: bool = False
    against: bool = False  # the earlier value is shown in it
    odd: tuple[str, ...] = ()
    text: str = ""  # of bytes: what is sent for them
    was: str = ""  # the earlier value, where it is not shown in this one


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the long texts of one call, within one effort."""

    effort: Effort

    def read(self, name: str, text: str, old: Any, beside: Mapping[str, Any]) -> ShownText:
        """`old`: the earlier text, ABSENT, or the same where nothing is compared."""
        was = old if isinstance(old, str) and old != text else None
        found = self._read(name.rpartition(".")[2], text, was, beside)
        touched = old is not text and old != text
        apart = touched and old is not ABSENT and not found.against
        earlier = cut(written(old)) if apart else ""
        return replace(found, name=name, touched=touched, was=earlier)

    def _read(self, name: str, text: str, was: str | None, beside: Mapping[str, Any]) -> ShownText:
        blob = blob_of(text)
        if blob is not None:
            return _bytes(blob, text)
        if len(text) > MOST:
            return _flow((MarkedText(text),), _noted("text, too long for colours", text))
        patch = patch_of(text, self.effort)
        if patch is not None and len(patch.lines) <= MOST_LINES:
            return _patch(patch, text)
        language = language_of(name, text, beside)
        if language in LANGUAGES and text.count("\n") < MOST_LINES:
            return self._code(text, was, language)
        marked = changed(was, text, self.effort) if was is not None else None
        kind = "Markdown, as text" if language == "markdown" else "text"
        found = _flow(marked or (MarkedText(text),), _noted(kind, text))
        return replace(found, against=marked is not None)

    def _code(self, text: str, was: str | None, language: str) -> ShownText:
        lines, ends = lines_of(text)
        now, whole = lines_in(lines, language, self.effort)
        compared = changed_lines(was, text, self.effort) if was is not None else None
        kind = LANGUAGES[language]
        if not whole:
            kind += ", not all of it in colours"
        if compared is None:
            note = _noted(kind, text, ends)
            return ShownText(name="", note=note, form="code", lines=_numbered(now))
        dressed = tuple(
            replace(line, spans=now[int(line.new) - 1]) if not line.sort else line
            for line in compared
        )
        return ShownText(
            name="",
            note=_noted(kind, text, ends),
            form="patch",
            lines=dressed,
            against=True,
            plus=sum(line.sort == "came" for line in dressed),
            minus=sum(line.sort == "went" for line in dressed),
        )


def _numbered(lines: list[tuple[MarkedText, ...]]) -> tuple[Line, ...]:
    return tuple(Line(one, "", "", str(at + 1)) for at, one in enumerate(lines))


def _flow(spans: tuple[MarkedText, ...], note: str) -> ShownText:
    return ShownText(name="", note=note, form="flow", spans=spans)


def _patch(patch: Patch, text: str) -> ShownText:
    loose = f"{patch.loose:,} lines stand in no hunk" if patch.loose else ""
    note = _noted("unified diff", text, patch.note, loose)
    return ShownText(
        name="", note=note, form="patch", lines=patch.lines, plus=patch.plus, minus=patch.minus
    )


def _bytes(blob: Blob, text: str) -> ShownText:
    note = f"base64, {len(text):,} characters, complete below"
    if not blob.reads:
        return ShownText(name="", note=note, form="bytes", blob=blob, text=text)
    lines = lines_of(blob.reads)[0] if blob.reads.count("\n") < MOST_LINES else [blob.reads]
    numbered = _numbered([(MarkedText(line),) for line in lines])
    return ShownText(name="", note=note, form="bytes", blob=blob, text=text, lines=numbered)


def _noted(kind: str, text: str, *unusual: str) -> str:
    lines = text.count("\n") + (not text.endswith("\n"))
    size = f"{lines:,} lines, " if lines > 1 else ""
    told = [one for one in (*unusual, *spread(text)) if one]
    return ", ".join((kind, f"{size}{len(text):,} characters", *told, "complete"))
