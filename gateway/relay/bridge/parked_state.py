"""`requestState` of a call that waits at the bridge for an answer of the agent's user.

Opaque, bound to one grant and one call, good for one use (the table of parked calls sees to that)
and worth nothing after this process: neither is the call it speaks of.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from json import dumps

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
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
        self._cipher = AESGCM(AESGCM.generate_key(256))

    def seal(self, parked: str, bound: Bound) -> str:
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, parked.encode(), _words(bound))
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode("ascii")

    def open(self, state: str, bound: Bound) -> str | None:
        """What `seal` was given, or None: made up, changed, or of another call."""
        if len(state) > _LONGEST:
            return None
        try:
            data = base64.b64decode(state + "=" * (-len(state) % 4), b"-_", validate=True)
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], _words(bound)).decode()
        except (binascii.Error, ValueError, InvalidTag):
            return None


def _words(bound: Bound) -> bytes:
    return dumps(["bridge", bound.grant, bound.method, bound.named, bound.digest]).encode()
