"""A held call in one sentence: the rule's `summary` filled in, else the tool and its first
arguments. The same on page, Slack, command line, API, webhook and desktop notification. Pure.

It is made of parts: words of the rule, and values of the call. A value is as masked as the
arguments are, on one line and cut; a surface that cannot mark values quotes those of free form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal, get_args

from approvals import formats
from approvals.differences import Pattern, pattern
from approvals.digest import canonical
from approvals.lookalike import doubled
from approvals.model import Approval
from approvals.redact import holds_mark, visible
from approvals.values import about

MOST: Final = 80
"""Characters of a sentence, quotes not counted."""
MOST_TEMPLATE: Final = 300  # characters of a `summary`
MOST_WORDS: Final = 50  # of them that are the rule's own words
MOST_FIELDS: Final = 5
_VALUE: Final = 40  # characters of one value
_LEAST: Final = 6  # characters that are left of one, where several are long
_KEPT: Final = 30  # characters of a number, an amount or a date: nothing is cut in two
_READ: Final = 200  # characters of a text that are looked at, half of them at either end
_LISTED: Final = 2  # elements of a list that are named
_ARGUMENTS: Final = 3  # told where no rule says which
_CURRENCY: Final = 12

MISSING: Final = "—"
HIDDEN: Final = "…"
"""Stands for a value where a surface must not carry any."""

Kind = Literal["literal", "between", "value", "missing"]
"""`between` is ours, too, and tells something of the values: ", " and " and 3 more"."""
Format = Literal["", "money", "date", "bytes", "count"]
FORMATS: Final[tuple[str, ...]] = tuple(one for one in get_args(Format) if one)
UNITS: Final = ("major", "minor")
_OPTIONS: Final = "money:minor, money:major, money:minor:EUR or money:minor:args.NAME"

_SPACES: Final = re.compile(r"[ \t\r\n]+")
_TOKEN: Final = re.compile(r"[#/]?[A-Za-z0-9](?:[A-Za-z0-9._@/+:…-]*[A-Za-z0-9])?")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,23}")
_TOOL: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_CODE: Final = re.compile(r"[A-Z]{3}")
_ID: Final = re.compile(r"[#A-Za-z0-9_-]+")
_QUOTES: Final = str.maketrans("“”„«»", '"' * 5)


@dataclass(frozen=True, slots=True)
class HeadlinePart:
    """A run of the sentence. `text` is as it came, on one line: characters that no one would see
    are in it until it is shown. `free`: of any form, and quoted where nothing else marks it.
    `exact`: a number, an amount or a date, never cut in two, for half of it is another.
    """

    text: str
    kind: Kind = "literal"
    free: bool = False
    exact: bool = False

    @property
    def ours(self) -> bool:
        """Whether the words are the rule's or ours."""
        return self.kind in ("literal", "between")

    @property
    def shown(self) -> str:
        """The same with nothing hidden in it."""
        return visible(self.text)

    @property
    def quoted(self) -> str:
        """The same in a line of plain text: no value there passes for words of ours."""
        return f"“{self.shown.translate(_QUOTES)}”" if self.free else self.shown


@dataclass(frozen=True, slots=True)
class Headline:
    """The sentence. `ruled`: a rule's author wrote it, as an order: "Charge …"."""

    parts: tuple[HeadlinePart, ...]
    ruled: bool = False

    @property
    def text(self) -> str:
        """As one line of plain text."""
        return "".join(part.quoted for part in self.parts)

    @property
    def without_values(self) -> Headline:
        """For where arguments must not go: "Charge … to …", or the tool alone."""
        if not self.ruled:
            return replace(self, parts=self.parts[:1])
        found: list[HeadlinePart] = []
        for part in self.parts:
            one = part if part.kind == "literal" else HeadlinePart(HIDDEN)
            if one.text == HIDDEN:
                if len(found) > 1 and found[-1].text.isspace() and found[-2].text == HIDDEN:
                    found.pop()
                if found and found[-1].text == HIDDEN:
                    continue
            found.append(one)
        return replace(self, parts=tuple(found))

    @property
    def inside(self) -> Headline:
        """For the middle of a longer line: the first letter of the rule's own words is small."""
        first = self.parts[0] if self.parts else HeadlinePart("")
        head = first.text[:2]
        if not self.ruled or first.kind != "literal" or not (head[:1] + head[1:].upper()).isupper():
            return self
        if head[1:].isupper():  # SQL, VAT
            return self
        return replace(
            self, parts=(HeadlinePart(head[:1].lower() + first.text[1:]), *self.parts[1:])
        )

    def within(self, room: int, size: Callable[[str], int] = len) -> Headline:
        """The same where there is less room, quotes and all. An id is left out rather than cut."""
        if size(self.text) <= room:
            return self
        whole = [
            replace(part, exact=True) if part.kind == "value" and _ID.fullmatch(part.text) else part
            for part in self.parts
        ]
        most = min(room, MOST)
        while most > 1:
            found = replace(self, parts=_fitted(whole, most))
            beyond = size(found.text) - room
            if beyond <= 0:
                return found
            most -= max(1, beyond // 2)  # a character takes two places at most
        return replace(self, parts=(HeadlinePart(HIDDEN),))

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        parts = [
            {"kind": "literal" if part.ours else part.kind, "text": part.shown}
            for part in self.parts
        ]
        return {"text": self.text, "parts": parts}


class BadSummary(ValueError):
    """A template that cannot be filled in: `what` is wrong with it, and what to `write`."""

    def __init__(self, what: str, write: str) -> None:
        super().__init__(what)
        self.what = what
        self.write = write


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{args.amount|money:minor}`."""

    path: str
    format: Format = ""
    unit: formats.Unit = ""
    currency: str = ""  # a code, or the path of one; "": the `currency` beside the amount


Template = tuple[str | Placeholder, ...]


@lru_cache(maxsize=512)
def template(text: str) -> Template:
    """The template cut at its braces. That its paths are paths is the policy's to check.

    Raises:
        BadSummary: it cannot be read.
    """
    if len(text) > MOST_TEMPLATE:
        raise BadSummary(f"`summary` has {len(text)} characters.", f"At most {MOST_TEMPLATE}.")
    if visible(text) != text:
        what = "`summary` has a line break, a tab or a character that no one sees."
        raise BadSummary(what, "Write one line of plain text.")
    parts: list[str | Placeholder] = []
    rest = text
    while rest:
        head, opened, rest = rest.partition("{")
        inner, closed, after = rest.partition("}")
        if "}" in head or (opened and (not closed or "{" in inner)):
            what = "`summary` has a brace without its other half."
            raise BadSummary(what, "Write each value as {args.NAME}; other braces are left out.")
        if head:
            parts.append(head)
        if opened:
            parts.append(_field(inner))
            rest = after
    _bounded(parts)
    return tuple(parts)


def _bounded(parts: list[str | Placeholder]) -> None:
    words = sum(len(part) for part in parts if isinstance(part, str))
    if words > MOST_WORDS:
        what = f"`summary` has {words} characters of its own words."
        raise BadSummary(what, f"At most {MOST_WORDS}: the rest is for the values. Use `reason`.")
    count = sum(isinstance(part, Placeholder) for part in parts)
    if count > MOST_FIELDS:
        what = f"`summary` has {count} values."
        raise BadSummary(what, f"At most {MOST_FIELDS}: people see all arguments below it.")


def _field(inner: str) -> Placeholder:
    path, piped, spelled = inner.partition("|")
    if not piped:
        return Placeholder(path)
    name, *options = spelled.split(":", 2)
    if name not in FORMATS:
        raise BadSummary(f'"{spelled}" is no format.', f"Write one of: {', '.join(FORMATS)}.")
    if name != "money":
        if options:
            raise BadSummary(f"`{name}` takes nothing behind it.", f"Write {{{path}|{name}}}.")
        return Placeholder(path, name)  # type: ignore[arg-type]  # looked up above
    unit, currency = [*options, "", ""][:2]
    if (options and unit not in UNITS) or (len(options) > 1 and not _names_currency(currency)):
        raise BadSummary(f'"{spelled}" says no unit of money.', f"Write {_OPTIONS}.")
    return Placeholder(path, "money", unit, currency)  # type: ignore[arg-type]  # looked up above


def _names_currency(written: str) -> bool:
    if _CODE.fullmatch(written):
        return formats.code_of(written) != ""
    return written.startswith("args.")


def headline(tool: str, summary: str, shown: Any) -> Headline:
    """The sentence of a call of this tool; `shown` are its arguments, decoded, as people may see
    them. `summary` is the rule's; "" where it has none.
    """
    try:
        written = template(summary) if summary else ()
        filled = [part for one in written for part in _filled(one, shown)]
    except ValueError:  # written by another edition of this program
        filled = []
    if filled:
        return Headline(_fitted(filled), ruled=True)
    return Headline(_fitted(list(_default(tool, shown))))


def headline_of(approval: Approval) -> Headline:
    """The sentence of an approval, as the rules were when it was held and its arguments are now."""
    return headline(approval.call.tool, approval.terms.summary, json.loads(approval.masked))


def _filled(one: str | Placeholder, shown: Any) -> Iterator[HeadlinePart]:
    if isinstance(one, str):
        yield HeadlinePart(one)
        return
    steps = pattern(one.path)
    value = _look(shown, steps)
    formatted = _formatted(one, value, steps, shown) if value is not None else None
    if formatted is not None:
        yield formatted
    else:
        yield from _plain(value)


def _formatted(one: Placeholder, value: Any, steps: Pattern, shown: Any) -> HeadlinePart | None:
    if isinstance(value, str) and holds_mark(value):  # its length is not the value's
        return None
    match one.format:
        case "money":
            return _money(one, value, steps, shown)
        case "date":
            text = formats.when(value)
        case "bytes":
            text = formats.size(value)
        case "count":
            text = formats.count(value)
        case _:
            text = None
    return None if text is None else HeadlinePart(text, "value", exact=True)


def _money(one: Placeholder, value: Any, steps: Pattern, shown: Any) -> HeadlinePart | None:
    given: Any = one.currency
    if one.currency.startswith("args."):
        given = _look(shown, pattern(one.currency))
    elif not one.currency:
        beside = (_look(shown, (*steps[:-1], name)) for name in ("currency", "currency_code"))
        given = next((found for found in beside if found is not None), None)
    code = formats.code_of(given)
    text = formats.money(value, one.unit, code)
    if text is None:
        return None
    named = isinstance(given, str) and bool(given) and not holds_mark(given)
    if named and not code:  # no currency we know: theirs to name
        return HeadlinePart(f"{text} {_cut(_flat(str(given)), _CURRENCY)}", "value", free=True)
    return HeadlinePart(text, "value", exact=True)


def _look(value: Any, steps: Pattern) -> Any:
    """The value at the end of the path. None: there is none, or null, or another of a name that
    reads like it stands beside it, and no one knows which of them the server takes.
    """
    for one in steps:
        if isinstance(one, str) and isinstance(value, dict):
            value = None if doubled(value, one) else value.get(one)
        elif isinstance(one, int) and isinstance(value, list) and one < len(value):
            value = value[one]
        else:
            return None
    return value


def _plain(value: Any) -> Iterator[HeadlinePart]:
    """A value as it was sent; of a list its first elements."""
    match value:
        case None:
            yield HeadlinePart(MISSING, "missing")
        case list() if value and all(isinstance(one, str | int | float) for one in value):
            for at, one in enumerate(value[:_LISTED]):
                if at:
                    yield HeadlinePart(" and " if len(value) == _LISTED else ", ", "between")
                yield _scalar(one)
            if len(value) > _LISTED:
                yield HeadlinePart(f" and {len(value) - _LISTED:,} more", "between")
        case list():
            yield _counted(len(value), "item")
        case dict():
            yield _counted(len(value), "field")
        case _:
            yield _scalar(value)


def _counted(number: int, noun: str) -> HeadlinePart:
    return HeadlinePart(f"{number:,} {noun}{'' if number == 1 else 's'}", "value", exact=True)


def _scalar(value: str | float) -> HeadlinePart:
    if not isinstance(value, str):
        return HeadlinePart(canonical(value).decode(), "value", exact=True)
    text = _flat(value)
    return HeadlinePart(text, "value", free=_TOKEN.fullmatch(text) is None)


def _flat(text: str) -> str:
    """On one line. Of a long text its two ends are enough: the middle is never shown."""
    text = text.strip(" \t\r\n")
    if len(text) > _READ:
        text = f"{text[: _READ // 2]}{HIDDEN}{text[-_READ // 2 :]}"
    return _SPACES.sub(" ", text)


def _default(tool: str, shown: Any) -> Iterator[HeadlinePart]:
    """The tool's name made readable, and what the call is mostly about."""
    yield (
        HeadlinePart(readable(tool))
        if _TOOL.fullmatch(tool)
        else HeadlinePart(_flat(tool), "value", free=True)
    )
    told = about(shown)[:_ARGUMENTS] if isinstance(shown, dict) else []
    for at, name in enumerate(told):
        value = shown[name]
        yield HeadlinePart(", " if at else " ")
        if not isinstance(value, (str, list)) and _NAME.fullmatch(name):
            yield HeadlinePart(f"{name} {canonical(value).decode()}", "value", exact=True)
        else:
            yield from _plain(value)


def readable(tool: str) -> str:
    """`create_charge`, `createCharge` and `create-charge` as people say it: Create charge."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", re.sub(r"[^A-Za-z0-9]+", " ", tool)).split()
    words = " ".join(word.lower() if word[1:].islower() else word for word in spaced)
    words = words if len(words) <= _VALUE else words[: _VALUE - 1] + HIDDEN
    return words[:1].upper() + words[1:] or tool


def _fitted(parts: list[HeadlinePart], most: int = MOST) -> tuple[HeadlinePart, ...]:
    """The parts in so many characters: long texts give way first, and each of them keeps its ends.
    An exact value that is too long is left out whole; words of ours end early.
    """
    room = _VALUE
    while room > _LEAST and sum(_size(part, room) for part in parts) > most:
        room -= 1
    found: list[HeadlinePart] = []
    left = most
    for at, part in enumerate(parts):
        later = sum(len(one.shown) if one.ours else 1 for one in parts[at + 1 :])
        one = _shortened(part, room)
        if len(one.shown) > left - later and not one.ours:
            one = replace(one, text=HIDDEN, free=False)
        if len(one.shown) > left:
            found.append(replace(one, text=one.text[: max(0, left - 1)].rstrip() + HIDDEN))
            break
        found.append(one)
        left -= len(one.shown)
    return tuple(found)


def _shortened(part: HeadlinePart, room: int) -> HeadlinePart:
    if part.ours or len(part.shown) <= room:
        return part
    if part.exact:
        return part if len(part.shown) <= _KEPT else replace(part, text=HIDDEN)
    return replace(part, text=_cut(part.text, room))


def _size(part: HeadlinePart, room: int) -> int:
    return len(_shortened(part, room).shown)


def _cut(text: str, most: int) -> str:
    """Both ends of a text that is too long as it is shown."""
    if len(visible(text)) <= most:
        return text
    head = (most - 1) * 2 // 3
    tail = most - 1 - head
    first, last = text[:head], text[-tail:] if tail else ""
    while len(visible(first)) > head:
        first = first[:-1]
    while len(visible(last)) > tail:
        last = last[1:]
    return f"{first}{HIDDEN}{last}"
