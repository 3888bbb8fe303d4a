"""`requestState` of a call that waits at the bridge for an answer of the agent's user.

Opaque, bound to one grant and one call, good for one use (the table of parked calls sees to that)
and worth nothing after this process: neither is the call it speaks of.
"""

from __future__ import annotations

import secrets
from dataclasses import astuple, dataclass

from gateway.protocol.sealed_token import SealedToken

_KEY = 32  # bytes
_LONGEST = 1_024


@dataclass(frozen=True, slots=True)
class Bound:
    """What a state is bound to: a retry that differs in any of it opens nothing."""

    grant: str
    method: str
    named: str  # the tool, the prompt or the resource
    digest: str  # of the arguments, in their one spelling


class ParkedStates:
    """Seals and opens under a key that lives as long as the parked calls."""

    def __init__(self) -> None:
        self._token = SealedToken(secrets.token_bytes(_KEY), "bridge", longest=_LONGEST)

    def seal(self, parked: str, bound: Bound) -> str:
        return self._token.seal(parked, *astuple(bound))

    def open(self, state: str, bound: Bound) -> str | None:
        """What `seal` was given, or None: made up, changed, or of another call."""
        opened = self._token.open(state, *astuple(bound))
        return opened.content.decode() if opened is not None else None
