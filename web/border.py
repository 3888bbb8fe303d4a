"""The border of the reviewers' surface: which hosts and origins may speak to it, what proves a
change there, and what every answer carries. Not who is asking (that is `session`). A plain ASGI
wrapper: streams stay streams.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from approvals.addresses import is_own_machine
from approvals.digest import NUL

BODY_LIMIT = 1024 * 1024
"""Bytes of the largest request body the surface reads. Forms are small; an edit may not be."""

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing."""
SIGNATURE = "signoff-signature"
"""The header in which the page's key proves a request."""
FRAGMENT = "x-signoff-fragment"
"""The header by which the page's script asks for the one card alone."""
SCRIPT = "signoff-script"
"""The header by which the page's script says that it sent a form, and shows what comes of it."""
GOTO = "signoff-goto"
"""Where the page's script goes next, in place of a redirection it could not see."""

_ENCODED = "application/x-www-form-urlencoded"
_FORMS = (_ENCODED, "multipart/form-data")

Proof = Literal["key", "cookie", "nothing"]
"""What proves a change: the page's key, the cookie alone, or nothing that a browser has here."""


@dataclass(frozen=True, slots=True)
class Border:
    """Who may speak to the surface. `hosts` are names without a port, lower case."""

    hosts: frozenset[str]
    origins: frozenset[str] = frozenset()  # further origins of our own pages: "https://ok.example"
    https: bool = False


@dataclass(frozen=True, slots=True)
class Turned:
    """A request that is not let in: the status, and a fixed sentence for its sender."""

    status: int
    why: str


_NO_TEXT = Turned(400, "A value holds the character NUL, which no text here may.")


def proof_at(border: Border, host: str) -> Proof:
    """What proves a change at this Host. Pure.

    Cookies know no ports: every server of a loopback name gets them. An https
    host of its own has no such neighbours. Over plain http elsewhere browsers make no keys.
    """
    if is_own_machine(_hostname(host)):
        return "key"
    return "cookie" if border.https else "nothing"


def holds_nul(sent: bytes, *, escaped: bool = True) -> bool:
    """Whether a query or a form brings a NUL, which no text of the record may hold. Pure."""
    return b"\x00" in sent or (escaped and b"%00" in sent)


def inspect(border: Border, scheme: str, method: str, headers: Headers) -> Turned | None:
    """What is wrong with this request before anyone looks at who sent it. Pure.

    A browser always tells where a POST comes from (Origin, Sec-Fetch-Site). Programs with a bearer
    token send neither; a request with a cookie and neither is refused.
    """
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _hostname(hosts[0]) not in border.hosts:
        return Turned(421, "This address is not one this gateway answers to.")
    if method in SAFE:
        return None
    origins = headers.getlist("origin")
    site = headers.get("sec-fetch-site")
    if origins:
        own = {*border.origins, f"{scheme}://{hosts[0].lower()}"}
        if len(origins) > 1 or origins[0] not in own:
            return Turned(403, "This request comes from another site.")
    if site is not None and site != "same-origin":
        return Turned(403, "This request comes from another site.")
    if not origins and site is None and "cookie" in headers:
        return Turned(403, "This request does not say which page it comes from.")
    return None


def _hostname(host: str) -> str:
    name, _, port = host.rpartition(":")
    if name and port.isascii() and port.isdigit():
        return name.lower()
    return host.lower()


def csrf_token(session: str) -> str:
    """The token forms of this session carry; bound to the session, stored nowhere."""
    return hmac.new(session.encode(), b"signoff/csrf/1", hashlib.sha256).hexdigest()


def same_token(presented: str, expected: str) -> bool:
    """Constant-time comparison that takes any text."""
    return hmac.compare_digest(presented.encode("utf-8", "replace"), expected.encode())


def policy_of(nonce: str) -> str:
    """The content security policy of one answer.

    The page makes no HTML from strings at all, so Trusted Types are required and none may be made.
    """
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


class BorderMiddleware:
    """Wraps the surface: turns strangers away, bounds bodies, and puts the headers on."""

    def __init__(self, app: ASGIApp, border: Border) -> None:
        self._app = app
        self._border = border

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce
        headers = Headers(scope=scope)
        # Over plain http elsewhere browsers have no use for it, and say so to anyone who looks.
        alone = proof_at(self._border, headers.get("host", "")) != "nothing"
        dressed = _dressed(send, nonce, https=self._border.https, alone=alone, path=scope["path"])
        if SCRIPT in headers:
            dressed = _led(dressed)
        turned = inspect(self._border, scope["scheme"], scope["method"], headers)
        length = headers.get("content-length", "0")
        if turned is None and (not length.isdigit() or int(length) > BODY_LIMIT):
            turned = Turned(413, "The request is too large.")
        if turned is not None:
            await _turn_away(turned, dressed)
            return
        if NUL in scope["path"] or holds_nul(scope["query_string"]):
            await _turn_away(_NO_TEXT, dressed)
            return
        receive = _bounded(receive)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] not in SAFE and ("cookie" in headers or kind in _FORMS):
            whole = await _whole(receive)
            if whole is None:  # it sent more than it said, or went away
                await _turn_away(Turned(413, "The request is too large."), dressed)
                return
            if kind in _FORMS and holds_nul(whole, escaped=kind == _ENCODED):
                await _turn_away(_NO_TEXT, dressed)
                return
            scope["state"]["body_digest"] = hashlib.sha256(whole).hexdigest()
            receive = _again(whole, receive)
        await self._app(scope, receive, dressed)


def _bounded(receive: Receive) -> Receive:
    """Ends a body that says less than it sends: the rest is a disconnect, never memory."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > BODY_LIMIT:
                return {"type": "http.disconnect"}
        return message

    return bounded


async def _whole(receive: Receive) -> bytes | None:
    """The whole body, before anyone parses it: what is signed is its bytes. None: it broke off."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, for anyone who parses it."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _led(send: Send) -> Send:
    """For the page's script: a redirection as an answer that names the next page. It would follow
    it unseen, without its fragment.
    """

    async def led(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == HTTPStatus.SEE_OTHER:
            headers = MutableHeaders(scope=message)
            headers[GOTO] = headers["location"]
            del headers["location"]
            headers["content-type"] = "text/html; charset=utf-8"  # else it is read as XML
            message = {**message, "status": int(HTTPStatus.OK)}
        await send(message)

    return led


def _dressed(send: Send, nonce: str, *, https: bool, alone: bool, path: str) -> Send:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy_of(nonce)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["X-Frame-Options"] = "DENY"
            # Not no-referrer: under it browsers send `Origin: null` with our own forms, and null is
            # what sandboxed strangers send. Other sites learn nothing either way.
            headers["Referrer-Policy"] = "same-origin"
            if alone:
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=(), payment=()"
            if not (path.startswith("/static/") and message["status"] in (200, 304)):
                headers["Cache-Control"] = "no-store"
            if https:
                headers["Strict-Transport-Security"] = "max-age=31536000"
        await send(message)

    return dressed


async def _turn_away(turned: Turned, send: Send) -> None:
    problem = {"type": "about:blank", "title": turned.why, "status": turned.status}
    body = json.dumps(problem).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": turned.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
