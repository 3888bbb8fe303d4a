"""Session ids handed to agents: the server's own id, sealed for one grant and one server. Where
the server keeps no sessions the agent gets one all the same: only so can it be told from another
agent of its grant when it cancels a call, for request ids are every client's own.

Nothing is stored: an id that was made for another grant, another server or by someone else does
not open, and the agent is told that its session is gone. What the agent's program said of itself
at `initialize` travels in the id, so a reviewer sees it also after a restart of the gateway.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from functools import lru_cache
from json import dumps, loads

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from approvals.model import Client

_NONCE = 12
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
        self._cipher = AESGCM(key)
        self.open = lru_cache(maxsize=1_024)(self._open)

    def seal(self, session: Session, *, grant: str, server: str) -> str:
        """The id the agent gets: ASCII, opaque."""
        nonce = secrets.token_bytes(_NONCE)
        client = session.client
        plain = dumps([session.id, session.mark, client.name, client.version, session.protocol])
        sealed = self._cipher.encrypt(nonce, plain.encode(), _bound(grant, server))
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode("ascii")

    def _open(self, sealed: str, grant: str, server: str) -> Session | None:
        """What `seal` put in, or None: not ours, or another grant's or server's."""
        if len(sealed) > _LONGEST:
            return None
        try:
            data = base64.b64decode(sealed + "=" * (-len(sealed) % 4), b"-_", validate=True)
            plain = self._cipher.decrypt(data[:_NONCE], data[_NONCE:], _bound(grant, server))
            identifier, mark, name, version, protocol = loads(plain)
        except (binascii.Error, ValueError, InvalidTag):
            return None
        return Session(id=identifier, mark=mark, client=Client(name, version), protocol=protocol)


def _bound(grant: str, server: str) -> bytes:
    return dumps(["session", grant, server]).encode()
