"""The time, as the record knows it: epoch milliseconds that never run backwards.

Everything else takes `now` as an argument. Not pure: this is the only reader of the wall clock.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

from approvals.model import Millis


class Clock(Protocol):
    """Tells the time. Law: within one process a later `now()` is never smaller than an earlier."""

    def now(self) -> Millis: ...


class SystemClock:
    """The wall clock, clamped: after a step backwards it stands still until time catches up."""

    def __init__(self) -> None:
        self._latest: Millis = 0
        self._lock = threading.Lock()

    def now(self) -> Millis:
        return self.clamp(time.time_ns() // 1_000_000)

    def clamp(self, reading: Millis) -> Millis:
        """The reading, or the latest one given out if that is larger."""
        with self._lock:
            self._latest = max(reading, self._latest)
            return self._latest
