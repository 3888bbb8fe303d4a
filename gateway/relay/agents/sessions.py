"""Session ids handed to agents: the server's own id, sealed for one grant and one server. Where
the server keeps no sessions the agent gets one all the same: only so can it be told from another
agent of its grant when it cancels a call, for request ids are every client's own.

Nothing is stored: an id that was made for another grant, another server or by someone else does
not open, and the agent is told that its session is gone. What the agent's program said of itself
at `initialize` travels in the id, so a reviewer sees it also after a restart of the gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from json import dumps, loads

from approvals.model import Client
from gateway.protocol.sealed_token import SealedToken

_LONGEST = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a sealed session id says."""

    id: str  # the server's own; "" where it keeps none
    mark: str  # no two sessions have the same: the server's id, or ours
    client: Client
    protocol: str


class Sessions:
    """Seals and opens session ids under one key."""

    def __init__(self, key: bytes) -> None:
        self._token = SealedToken(key, "session", longest=_LONGEST)
        self.open = lru_cache(maxsize=1_024)(self._open)

    def seal(self, session: Session, *, grant: str, server: str) -> str:
        """The id the agent gets: ASCII, opaque."""
        client = session.client
        plain = dumps([session.id, session.mark, client.name, client.version, session.protocol])
        return self._token.seal(plain, grant, server)

    def _open(self, sealed: str, grant: str, server: str) -> Session | None:
        """What `seal` put in, or None: not ours, or another grant's or server's."""
        opened = self._token.open(sealed, grant, server)
        if opened is None:
            return None
        try:
            identifier, mark, name, version, protocol = loads(opened.content)
        except ValueError:
            return None  # sealed by a release that wrote it otherwise
        return Session(id=identifier, mark=mark, client=Client(name, version), protocol=protocol)
