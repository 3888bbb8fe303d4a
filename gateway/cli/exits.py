"""Exit codes of `signoff`, and the way a command stops with one."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a script can tell apart."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    INVALID = 3  # policy, servers or settings
    DENIED = 4
    PENDING = 5
    NOT_FOUND = 6  # or already decided
    UNREACHABLE = 7  # the record or the gateway
    BROKEN = 8  # the history does not prove itself
    INTERRUPTED = 130


class Stop(Exception):
    """End the command: this sentence on stderr, this exit code."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
