"""For how long a grant's client waits before it gives up: seen, and kept with the grant.

A time-out comes back at the same moment; a crash or an impatient person does not. So one leaving
is no sign: two in a row after the same time are. What was learned only shortens a hold, and an
operator who sets the grant's hold again has it forgotten.
"""

from __future__ import annotations

from functools import partial

import structlog

from approvals.record.database import Database
from approvals.record.journal import RecordUnavailable
from gateway.enforcement import grants
from gateway.enforcement.grants import Grant, Grants

log = structlog.get_logger()

LEAST_SECONDS = 10.0
"""Who leaves before, without saying that its time was up, tells nothing about its patience."""

_SAME_SECONDS = 1.0
_SAME_PART = 0.03
_MOST = 10_000


class ClientTimeouts:
    """Learns from agents that leave."""

    def __init__(self, database: Database, known: Grants) -> None:
        self._journal = database.journal
        self._grants = known
        self._last: dict[str, float] = {}

    async def left(self, grant: Grant, seconds: float, *, timed_out: bool) -> None:
        """An agent of this grant left a held call that would have waited longer. `timed_out`: it
        said so itself.
        """
        if not timed_out and seconds < LEAST_SECONDS:
            return
        before = self._last.get(grant.id)
        if len(self._last) >= _MOST:
            self._last.clear()
        self._last[grant.id] = seconds
        if before is None or abs(before - seconds) > max(_SAME_SECONDS, _SAME_PART * seconds):
            return
        patience = max(1, int(min(before, seconds)))
        try:
            learned = await self._journal.write(
                partial(grants.learn, grant_id=grant.id, patience=patience)
            )
        except RecordUnavailable:
            log.warning("record.unavailable", what="patience")
            return
        if learned:
            log.info("grant.patience_learned", grant=grant.id, seconds=patience)
            self._grants.forget()
