"""Lengths of time as people type them (90s, 15m, 12h, 7d), and moments (7d ago, 2026-11-23)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from approvals.model import Millis
from gateway.cli.exits import Exit, Stop

_WRITTEN = re.compile(r"([1-9][0-9]{0,8})([smhd])").fullmatch
_PRINTED = re.compile(r"(.*[0-9]) (UTC|[+-][0-9]{2}:[0-9]{2})").fullmatch  # as by `show.moment`
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time."""

    milliseconds: int

    @property
    def seconds(self) -> int:
        return self.milliseconds // 1000

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read one.

        Raises:
            Stop: it is none, or longer than any date that can be written.
        """
        match = _WRITTEN(text)
        if match is None:
            raise Stop(Exit.USAGE, f"{text!r} is no length of time: write 90s, 15m, 12h or 7d.")
        found = cls(int(match[1]) * _SECONDS[match[2]] * 1000)
        if found > _LONGEST:
            raise Stop(Exit.USAGE, f"{text!r} is longer than 100 years.")
        return found


_LONGEST = Duration(36_525 * 86_400_000)


def moment(text: str, now: Millis) -> Millis:
    """A moment: a length of time before now, or an ISO date or time (local unless it says).

    Raises:
        Stop: it is neither.
    """
    printed = _PRINTED(text)
    if printed is not None:
        text = printed[1] + printed[2].replace("UTC", "Z")
    if _WRITTEN(text):
        return max(0, now - Duration.parse(text).milliseconds)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise Stop(
            Exit.USAGE, f"{text!r} is no moment: write 7d, 2026-11-23 or 2026-11-23T14:00."
        ) from None
