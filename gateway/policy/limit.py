"""A limit as the policy states it, and what one call takes from it. Pure.

Counting is not here: `gateway.enforcement.limits` keeps the counters, in the transaction of the
verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Scope = Literal["grant", "session", "server", "global"]
Step = str | int | None
"""One step of a path: a key, an array index, or None for any element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `max` per `window` seconds; windows are aligned to multiples of it since the epoch.

    `increment_from` is the path, inside the arguments, of the number one call takes; None takes 1.
    """

    counter: str
    window: int  # seconds
    max: Decimal
    scope: Scope
    pointer: str  # JSON pointer into policy.json
    increment_from: tuple[Step, ...] | None
    window_name: str  # "minute", "hour", "day" or "N seconds"

    @property
    def text(self) -> str:
        """For people: "60 per minute", "1000000 per 90 seconds"."""
        return f"{plain(self.max)} per {self.window_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one call takes from a limit when it passes."""

    limit: Limit
    amount: Decimal


def plain(number: Decimal) -> str:
    """The number as people write it: no exponent, no trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
