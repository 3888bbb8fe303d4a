"""How far long work is: one line on stderr that is written over, and gone at its end. Only for a
person who sits there: nothing where stderr is no terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from approvals.record.history import Far

_EVERY: Final = 0.1  # seconds


class _ProgressLine:
    def __init__(self, what: str) -> None:
        self._what = what
        self._long = 0
        self._next = 0.0
        self._write(f"{what} …")

    def far(self, done: int, of: int) -> None:
        """Say it, but not more often than one can read."""
        now = time.monotonic()
        if now < self._next and done < of:
            return
        self._next = now + _EVERY
        share = 100 * done // max(1, of)
        self._write(f"{self._what}: {done:,} of {of:,} {'row' if of == 1 else 'rows'}, {share} %")

    def clear(self) -> None:
        self._write("")
        print(end="\r", file=sys.stderr, flush=True)

    def _write(self, text: str) -> None:
        print(f"\r{text:<{self._long}}", end="", file=sys.stderr, flush=True)
        self._long = len(text)


@contextmanager
def progress(what: str) -> Iterator[Far | None]:
    """For the length of the block: whom to tell how far it is; None where no one would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    line = _ProgressLine(what)
    try:
        yield line.far
    finally:
        line.clear()
