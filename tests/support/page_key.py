"""What the page's script does with its key, in Python: makes one, signs in with it, signs requests.

An `httpx2.Auth`, so that any client is a browser with a key: `Client(auth=PageKey())`.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SAFE = ("GET", "HEAD", "OPTIONS")


def url64(given: bytes) -> str:
    return base64.urlsafe_b64encode(given).rstrip(b"=").decode()


@dataclass
class PageKey(httpx2.Auth):
    """A browser's key and the session it belongs to. Signs what a page would: every change."""

    requires_request_body = True

    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))
    session: str = ""  # its id, once signed in
    reads: bool = False  # whether GETs are signed, too

    @property
    def public(self) -> str:
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return url64(point)

    def header(self, method: str, target: str, body: bytes = b"", *, nonce: str = "") -> str:
        """The header of one request; `target` is its path with query, as it is sent."""
        nonce = nonce or url64(secrets.token_bytes(16))
        digest = hashlib.sha256(body).hexdigest()
        said = f"signoff/request/1\n{method}\n{target}\n{digest}\n{self.session}\n{nonce}"
        r, s = decode_dss_signature(self.key.sign(said.encode(), ECDSA(SHA256())))
        return f"{self.session}.{nonce}.{url64(r.to_bytes(32) + s.to_bytes(32))}"

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        wanted = self.reads or request.method not in SAFE
        if self.session and wanted and "signoff-signature" not in request.headers:
            target = request.url.raw_path.decode("ascii")
            signed = self.header(request.method, target, request.content)
            request.headers["Signoff-Signature"] = signed
        yield request

    def form(self, code: str, **more: str) -> dict[str, str]:
        """What the sign-in page sends."""
        return {"code": code, "key": self.public, **more}

    def signed_in(self, answer: httpx2.Response) -> None:
        """Learn from the sign-in's answer which session this key is of."""
        if answer.status_code == 200:
            told: dict[str, Any] = answer.json()
            self.session = told["session"]


FROM_SCRIPT = {"Signoff-Script": "1"}


def sign_in(client: httpx2.Client, link: str, origin: str) -> httpx2.Response:
    """Signs this browser in with a one-time link, as the page does. The client's `auth` is a
    `PageKey`.
    """
    key = client.auth
    assert isinstance(key, PageKey)
    headers = {"Origin": origin, **FROM_SCRIPT}
    answer = client.post("/signin", data=key.form(link.partition("#")[2]), headers=headers)
    key.signed_in(answer)
    return answer
