"""Opaque tokens that agents carry for the gateway (AES-GCM): session ids and states. Nothing is
stored for them; one that was changed, or sealed for another purpose or holder, does not open.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from json import dumps

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12  # bytes


@dataclass(frozen=True, slots=True)
class OpenedToken:
    """What a token holds. `mark` is unlike that of any other token."""

    content: bytes
    mark: str


class SealedToken:
    """Seals and opens the tokens of one purpose under one key."""

    def __init__(self, key: bytes, purpose: str, *, longest: int | None = None) -> None:
        """`longest`: characters; a longer token is not looked at."""
        self._cipher = AESGCM(key)
        self._purpose = purpose
        self._longest = longest

    def seal(self, content: str, *holder: str) -> str:
        """The token for this holder (a grant, a server, a call): ASCII."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, content.encode(), self._bound(holder))
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode("ascii")

    def open(self, token: str, *holder: str) -> OpenedToken | None:
        """What `seal` put in; None: not ours, changed, or another holder's or purpose's."""
        if self._longest is not None and len(token) > self._longest:
            return None
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
            content = self._cipher.decrypt(data[:_NONCE], data[_NONCE:], self._bound(holder))
        except (binascii.Error, ValueError, InvalidTag):
            return None
        return OpenedToken(content, data[:_NONCE].hex())

    def _bound(self, holder: tuple[str, ...]) -> bytes:
        """The associated data; tokens in agents' hands were sealed with these bytes."""
        return dumps([self._purpose, *holder]).encode()
