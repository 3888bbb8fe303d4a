"""The page's own key: what a signed request says, and whether its signature holds. Pure.

A cookie reaches every server of a host name, at whatever port; a key made by the page stays in its
origin, which has a port. So where cookies are shared each change carries a signature by that key.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

_HALF: Final = 32  # bytes of each of the two numbers of a signature
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{87}").fullmatch  # 65 bytes: an uncompressed point
_HEADER: Final = re.compile(
    r"(?P<session>[0-9a-f]{32})\.(?P<nonce>[A-Za-z0-9_-]{22})\.(?P<signature>[A-Za-z0-9_-]{86})"
).fullmatch


@dataclass(frozen=True, slots=True)
class Signed:
    """What the header of a signed request says."""

    session: str  # its id, as the page that sends it knows it
    nonce: str  # 128 random bits
    signature: bytes


def read(header: str) -> Signed | None:
    """The header of a signed request; None if it is none."""
    found = _HEADER(header)
    if found is None:
        return None
    return Signed(found["session"], found["nonce"], _bytes(found["signature"]))


def is_key(written: str) -> bool:
    """Whether this is a public key as a page writes it: base64url of a point of P-256."""
    return _key(written) is not None


def statement(
    *, method: str, path: bytes, query: bytes, body_digest: str, session: str, nonce: str
) -> bytes:
    """The bytes that are signed. `path` and `query` are those of the request line, undecoded."""
    target = path + b"?" + query if query else path
    parts = (method.encode(), target, *(one.encode() for one in (body_digest, session, nonce)))
    return b"\n".join((b"signoff/request/1", *parts))


def holds(key: str, signature: bytes, said: bytes) -> bool:
    """Whether anyone who holds this key has signed this statement."""
    public = _key(key)
    if public is None:
        return False
    r, s = (int.from_bytes(half) for half in (signature[:_HALF], signature[_HALF:]))
    try:
        public.verify(encode_dss_signature(r, s), said, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _key(written: str) -> EllipticCurvePublicKey | None:
    if _KEY(written) is None:
        return None
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), _bytes(written))
    except ValueError:  # not on the curve
        return None


def _bytes(written: str) -> bytes:
    return base64.urlsafe_b64decode(written + "=" * (-len(written) % 4))
