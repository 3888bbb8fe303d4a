"""Webhook secrets and signatures, as Standard Webhooks writes them. Pure.

https://github.com/standard-webhooks/standard-webhooks: symmetric signatures, version v1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

_SECRET_BYTES: Final = range(24, 65)


class SecretUnusable(ValueError):
    """The text is no webhook secret."""


def secret_of(written: str) -> bytes:
    """The key in `whsec_` and base64.

    Raises:
        SecretUnusable: it is written otherwise, or not 24 to 64 bytes long.
    """
    prefix, mark, encoded = written.partition("_")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        secret = b""
    if (prefix, mark) != ("whsec", "_") or len(secret) not in _SECRET_BYTES:
        raise SecretUnusable("must be whsec_ and the base64 of 24 to 64 random bytes")
    return secret


def signature(secret: bytes, message_id: str, at: int, body: bytes) -> str:
    """The webhook-signature header: what only who has the secret can make. `at` in seconds."""
    signed = f"{message_id}.{at}.".encode() + body
    mac = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}"
