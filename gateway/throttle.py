"""Counts failures per sender, so that guessing is slow. Not a lock: a right answer always passes.

Pure but for its own memory, which is bounded; `now` is given.
"""

from __future__ import annotations

from collections import OrderedDict

from approvals.model import Millis

ALLOWED = 10
"""Failures of one sender in one window that are answered plainly, unless said otherwise."""
WINDOW: Millis = 60_000
SENDERS = 4096
"""Most senders remembered; the one longest silent is forgotten first."""


class Throttle:
    """Failures of many senders, each in a window of its own."""

    def __init__(self, allowed: int = ALLOWED) -> None:
        self._allowed = allowed
        self._failures: OrderedDict[str, tuple[Millis, int]] = OrderedDict()

    def fail(self, sender: str, now: Millis) -> int:
        """Counts a failure. Returns the seconds to wait; 0 while the sender is within bounds."""
        since, count = self._failures.pop(sender, (now, 0))
        if now - since >= WINDOW:
            since, count = now, 0
        self._failures[sender] = (since, count + 1)
        while len(self._failures) > SENDERS:
            self._failures.popitem(last=False)
        if count + 1 <= self._allowed:
            return 0
        return max(1, -(-(since + WINDOW - now) // 1000))
