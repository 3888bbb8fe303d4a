"""Sealing of stored arguments and results: AES-GCM, bound to the approval and the kind of content.

A sealed value moved to another row or another column does not open. Pure but for the nonce.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE = 12


class SealBroken(Exception):
    """A sealed value does not open: another key, another row, or it was changed."""


def seal(key: bytes, content: bytes, *, approval_id: str, kind: str) -> bytes:
    """The content sealed under the key. `kind` names the column: "arguments", "result"."""
    nonce = secrets.token_bytes(_NONCE)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, content, _bound(approval_id, kind))


def unseal(key: bytes, sealed: bytes, *, approval_id: str, kind: str) -> bytes:
    """What was sealed for this approval and kind.

    Raises:
        SealBroken: it was not sealed by this key for this place.
    """
    if sealed[:1] != _VERSION:
        raise SealBroken("Unknown sealing.")
    nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
    try:
        return AESGCM(key).decrypt(nonce, body, _bound(approval_id, kind))
    except (InvalidTag, ValueError) as error:
        raise SealBroken("A sealed value does not open.") from error


def _bound(approval_id: str, kind: str) -> bytes:
    return f"signoff/seal/1\n{kind}\n{approval_id}".encode()
