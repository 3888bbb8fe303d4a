"""How many calls a session has made."""

from __future__ import annotations

from collections import OrderedDict

_MOST = 10_000  # sessions; the least recently used is forgotten first


class SessionCounter:
    """Counts calls by grant and session."""

    def __init__(self, most: int = _MOST) -> None:
        self._made: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._most = most

    def next(self, grant: str, session: str) -> int:
        """Count one more; how many there are now."""
        return self._keep(grant, session, 1)

    def now(self, grant: str, session: str) -> int:
        """How many there are, where a call was counted when it came first."""
        return self._keep(grant, session, 0)

    def _keep(self, grant: str, session: str, more: int) -> int:
        key = (grant, session)
        self._made[key] = made = self._made.get(key, 0) + more
        self._made.move_to_end(key)
        if len(self._made) > self._most:
            self._made.popitem(last=False)
        return made
