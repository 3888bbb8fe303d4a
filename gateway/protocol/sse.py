"""Server-sent events, both ways: bytes in chunks to events, and an event to bytes. Pure.

It neither reads nor writes a stream, keeps no last event id and never reconnects.
A comment is dropped: it carries nothing but a sign of life.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_BLANK_SIZE = 3  # bytes of the longest blank line but one
_BREAKS = re.compile(r"[\r\n\x00]").search
_BOM = b"\xef\xbb\xbf"
_RETRY_DIGITS = 9  # a million seconds and more is no retry time
MAX_EVENT = 4 * 1024 * 1024
"""Bytes of one event; the cap of a tool's result."""


class EventTooLarge(ValueError):
    """An event, or a line of one, is longer than the parser may hold."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One block of a stream. A browser dispatches it only where `data` is not None."""

    data: bytes | None  # the data lines joined by LF; b"" is how a stream is primed
    id: str | None = None
    event: str | None = None
    retry: int | None = None  # milliseconds


@dataclass(slots=True)
class SseParser:
    """Feed it the chunks of one stream in order. An event the stream broke off is never given."""

    max_event: int = MAX_EVENT
    _line: list[bytes] = field(default_factory=list)  # the unfinished line, in pieces
    _line_size: int = 0
    _data: list[bytes] = field(default_factory=list)
    _fields: dict[bytes, bytes] = field(default_factory=dict)
    _kept: int = 0  # bytes of the event's finished lines
    _first: bool = True  # the first line may open with a BOM
    _after_cr: bool = False  # the last chunk ended in CR: a LF now belongs to it

    @property
    def held(self) -> int:
        """Bytes of the event that is not whole yet."""
        return self._kept + self._line_size

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes.

        Raises:
            EventTooLarge: the parser is of no use any more.
        """
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *ended, rest = chunk.split(b"\n")
        events = []
        for piece in ended:
            found = self._take(b"".join((*self._line, piece)))
            self._line.clear()
            self._line_size = 0
            if found is not None:
                events.append(found)
        if rest:
            self._line.append(rest)
            self._line_size += len(rest)
            self._check(self._line_size)
        return events

    def _check(self, more: int) -> None:
        if self._kept + more > self.max_event:
            raise EventTooLarge

    def _take(self, line: bytes) -> ServerSentEvent | None:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._end()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name in (b"event", b"retry") or (name == b"id" and b"\x00" not in value):
            self._fields[name] = value
        else:
            return None
        self._check(len(line) + 1)
        self._kept += len(line) + 1
        return None

    def _end(self) -> ServerSentEvent | None:
        data, fields = self._data, self._fields
        self._data, self._fields, self._kept = [], {}, 0
        if not data and not fields:
            return None
        retry = fields.get(b"retry", b"")
        return ServerSentEvent(
            data=b"\n".join(data) if data else None,
            id=_text(fields.get(b"id")),
            event=_text(fields.get(b"event")) or None,
            retry=int(retry) if retry.isdigit() and len(retry) <= _RETRY_DIGITS else None,
        )


@dataclass(slots=True)
class Blocks:
    """Cuts a stream at its blank lines; put together again the blocks are the stream."""

    max_block: int = MAX_EVENT
    _pieces: list[bytes] = field(default_factory=list)  # of the unfinished block
    _size: int = 0
    _tail: bytes = b""  # its last bytes: a blank line may lie across two chunks

    def feed(self, chunk: bytes) -> list[bytes]:
        """The blocks that `chunk` completes, each with the blank line that ends it.

        Raises:
            EventTooLarge: the cutter is of no use any more.
        """
        blocks, start, before = [], 0, len(self._tail)
        for blank in _BLANK_LINE.finditer(self._tail + chunk):
            end = blank.end() - before
            blocks.append(b"".join((*self._pieces, chunk[start:end])))
            self._pieces, self._size, start = [], 0, end
        rest = chunk[start:]
        self._tail = ((b"" if blocks else self._tail) + rest)[-_BLANK_SIZE:]
        self._pieces.append(rest)
        self._size += len(rest)
        if self._size > self.max_block:
            raise EventTooLarge
        return blocks


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def event(
    data: bytes,
    id: str | None = None,  # noqa: A002 - the field's own name
    event: str | None = None,
    retry: int | None = None,
) -> bytes:
    """One event as bytes. Each line of `data` is its own field, so data cannot forge an event.

    Raises:
        ValueError: `id` or `event` holds a line end or NUL.
    """
    lines = []
    for name, value in (("event", event), ("id", id)):
        if value is None:
            continue
        if _BREAKS(value):
            raise ValueError(f"{name} must be one line")
        lines.append(f"{name}: {value}\n".encode())
    if retry is not None:
        lines.append(b"retry: %d\n" % retry)
    if b"\n" in data or b"\r" in data:
        lines += [b"data: %s\n" % line for line in _LINE_END.split(data)]
    else:
        lines.append(b"data: %s\n" % data)
    lines.append(b"\n")
    return b"".join(lines)


def block(found: ServerSentEvent) -> bytes:
    """An event that was read, as bytes again.

    Raises:
        ValueError: see `event`.
    """
    if found.data is not None:
        return event(found.data, found.id, found.event, found.retry)
    lines = [f"id: {found.id}\n" if found.id is not None else ""]
    lines.append(f"retry: {found.retry}\n" if found.retry is not None else "")
    return "".join((*lines, "\n")).encode()
