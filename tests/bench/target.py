"""What the bench measures: a process of its own that serves MCP."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.live_gateway import accepts, end, eventually


@dataclass(frozen=True)
class Target:
    """Something that serves MCP at a URL."""

    name: str
    url: str
    pid: int
    token: str = ""
    peer: bool = False  # someone else's, and slower by far

    @property
    def share(self) -> int:
        """It gets one of so many calls."""
        return 10 if self.peer else 1


@contextmanager
def served(command: list[str], port: int, *, quiet: bool = False) -> Iterator[int]:
    """A process that accepts on the port, for the length of the block; its pid."""
    output = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, stdout=output, stderr=output, text=True)
    try:
        eventually(lambda: accepts(port))
        yield process.pid
    finally:
        end(process, signal.SIGTERM)
