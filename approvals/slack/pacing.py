"""When the next message may go out: one a second and channel, and silence where Slack asked for it.

Per process; what other replicas send at the same time shows as a 429. Not pure: it waits.
"""

from __future__ import annotations

import asyncio
from typing import Final

from approvals.model import Millis
from approvals.outbox_worker import NotYet
from approvals.record.clock import Clock

GAP: Final = 1_000
"""Milliseconds between two messages of one channel."""

PATIENCE: Final = 2_000
"""Milliseconds worth waiting for in place; what takes longer is put off."""

UPDATES: Final = "chat.update"
"""The lane of all changes of messages; it has no gap of its own."""


class Lanes:
    """The next free moment of each lane."""

    def __init__(self, clock: Clock, *, gap: Millis = GAP, patience: Millis = PATIENCE) -> None:
        self._clock = clock
        self._gap = gap
        self._patience = patience
        self._next: dict[str, Millis] = {}

    async def turn(self, lane: str) -> None:
        """Wait for this lane's turn, and take it.

        Raises:
            NotYet: that would take too long; nothing was taken.
        """
        now = self._clock.now()
        slot = max(now, self._next.get(lane, now))
        if slot - now > self._patience:
            raise NotYet("the channel's turn is later", after=(slot - now) / 1000)
        self._next[lane] = slot + (0 if lane == UPDATES else self._gap)
        if slot > now:
            await asyncio.sleep((slot - now) / 1000)

    def close(self, lane: str, seconds: float) -> None:
        """Slack wants nothing on this lane for so long."""
        until = self._clock.now() + int(seconds * 1000)
        self._next[lane] = max(self._next.get(lane, 0), until)
