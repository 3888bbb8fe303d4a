"""What a command server writes on its stderr, as events of our log under the server's name.

It is foreign text: a line of it never begins a line of ours, nothing in it is hidden or moves a
terminal, and a server that writes without end fills no disk. Pure but for the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from approvals.redact import visible

log = structlog.get_logger()

LINE: Final = 1_000
"""Bytes of a line that are kept."""

LINES: Final = 50
"""Lines kept in a window; the others are counted."""

WINDOW: Final = 10.0
"""Seconds."""


class StderrLog:
    """The stderr of one process. Costs no more than what comes, and keeps at most a line."""

    def __init__(self, server: str, now: Callable[[], float]) -> None:
        self._server = server
        self._now = now
        self._line = bytearray()
        self._cut = 0  # bytes of the line that were dropped
        self._since = now()
        self._kept = 0
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """What the server has written since."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            self._tell()
        self._add(rest)

    def end(self) -> None:
        """The process is over: nothing more comes."""
        if self._line or self._cut:
            self._tell()
        self._sum_up()

    def _add(self, part: bytes) -> None:
        room = LINE - len(self._line)
        self._line += part[:room]
        self._cut += max(0, len(part) - room)

    def _tell(self) -> None:
        line, cut = bytes(self._line), self._cut
        self._line.clear()
        self._cut = 0
        if self._now() - self._since >= WINDOW:
            self._sum_up()
            self._since, self._kept = self._now(), 0
        if self._kept >= LINES:
            self._dropped += 1
            return
        self._kept += 1
        text = visible(line.decode("utf-8", "replace").rstrip("\r"))
        more = {"cut": cut} if cut else {}
        log.info("server.stderr", server=self._server, line=text, **more)

    def _sum_up(self) -> None:
        if self._dropped:
            log.info("server.stderr", server=self._server, lines_dropped=self._dropped)
            self._dropped = 0
