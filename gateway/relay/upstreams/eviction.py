"""Who makes room when all places of a server are taken: processes, sessions. Pure.

No one loses a place while there are free ones. Then a grant above a quarter of all is the first to
give one up, to anyone who has less; what it uses least goes first. A grant at its quarter takes no
place from others: it may only replace an idle one of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

K = TypeVar("K")

_SHARE: Final = 4  # the quarter


class Use(IntEnum):
    """How much is lost with a place."""

    IDLE = 0
    LISTENING = 1  # someone reads its stream, and nothing is under way
    BUSY = 2


@dataclass(frozen=True, slots=True)
class Place:
    """One that is taken. `used`: seconds of any one clock."""

    owner: str
    use: Use
    used: float


def first_to_go(places: Mapping[K, Place], asking: str, *, most: int) -> K | None:
    """The place that is given up for one more of `asking`; None: it gets none."""
    counts = Counter(place.owner for place in places.values())
    share = max(1, most // _SHARE)
    if counts[asking] >= share:
        return _least(places, Use.IDLE, owner=asking)
    greedy, held = counts.most_common(1)[0] if counts else ("", 0)
    if held > share:
        return _least(places, Use.BUSY, owner=greedy)
    return _least(places, Use.IDLE)


def _least(places: Mapping[K, Place], most: Use, *, owner: str | None = None) -> K | None:
    """Of the places used no more than so, the one least missed."""
    found = [
        (place.use, place.used, key)
        for key, place in places.items()
        if place.use <= most and owner in (None, place.owner)
    ]
    return min(found, key=lambda each: each[:2])[2] if found else None
