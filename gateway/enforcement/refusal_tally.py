"""Refusals counted: an agent that is refused on and on fills no history that nothing may shorten.

So many a minute and grant are told one by one; what comes beyond is told by one row that sums it
up when the minute is over. Kept in memory: a crash forgets the count of the running minute, never
a refusal that was told or an execution.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from approvals.digest import canonical
from approvals.model import Call, Event, Millis
from approvals.record.clock import Clock

TOLD: Final = 60
"""Refusals of one grant in a minute that the history tells one by one."""

MINUTE: Final[Millis] = 60_000
_MOST_NAMED: Final = 10


@dataclass(slots=True)
class _Minute:
    since: Millis
    label: str
    refused: int = 0
    summed: int = 0
    tools: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)


class Tally:
    """The refusals of the running minute, by grant."""

    def __init__(self) -> None:
        self._minutes: dict[str, _Minute] = {}

    def full(self, grant: str, clock: Clock) -> bool:
        """Whether the next refusal of this grant is only summed up."""
        minute = self._minutes.get(grant)
        if minute is None or minute.refused < TOLD:
            return False
        return clock.now() - minute.since < MINUTE

    def refused(self, call: Call, rule: str, now: Millis, *, told: bool) -> Event | None:
        """Count a refusal, which has a row of its own or has not; the row of the minute before, if
        that is over and summed something up.
        """
        over = self._over(call.grant, now)
        minute = self._minutes.setdefault(call.grant, _Minute(now, call.grant_label))
        minute.refused += 1
        if not told:
            minute.summed += 1
            minute.rules[rule] += 1
            if len(minute.tools) < _MOST_NAMED or call.tool in minute.tools:
                minute.tools[call.tool] += 1
        return over

    def due(self, now: Millis) -> list[Event]:
        """The rows of the minutes that are over."""
        rows = [self._over(grant, now) for grant in list(self._minutes)]
        return [row for row in rows if row is not None]

    def rest(self) -> list[Event]:
        """The rows of all minutes, over or not: the gateway stops."""
        rows = [_summed(grant, minute) for grant, minute in self._minutes.items() if minute.summed]
        self._minutes.clear()
        return rows

    def _over(self, grant: str, now: Millis) -> Event | None:
        minute = self._minutes.get(grant)
        if minute is None or 0 <= now - minute.since < MINUTE:  # a clock set back ends it too
            return None
        del self._minutes[grant]
        return _summed(grant, minute) if minute.summed else None


def _summed(grant: str, minute: _Minute) -> Event:
    data = {
        "refused": minute.summed,
        "since": minute.since,
        "rules": dict(minute.rules.most_common(_MOST_NAMED)),
        "tools": dict(minute.tools.most_common(_MOST_NAMED)),
    }
    return Event(
        event="refusals_summed",
        actor_kind="agent",
        actor=minute.label,
        verified="grant",
        via="gateway",
        grant=grant,
        reason=f"{minute.summed} more calls were refused within a minute.",
        data=canonical(data).decode(),
    )
