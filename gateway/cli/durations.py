"""Lengths of time as people type them: 90s, 15m, 12h, 7d."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.cli.exits import Exit, Stop

_WRITTEN = re.compile(r"([1-9][0-9]{0,8})([smhd])").fullmatch
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time."""

    milliseconds: int

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read one.

        Raises:
            Stop: it is none.
        """
        match = _WRITTEN(text)
        if match is None:
            raise Stop(Exit.USAGE, f"{text!r} is no length of time: write 90s, 15m, 12h or 7d.")
        return cls(int(match[1]) * _SECONDS[match[2]] * 1000)
