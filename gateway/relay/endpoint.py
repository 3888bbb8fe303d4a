"""The MCP door agents talk to: `/mcp/{server}`, a plain ASGI function in front of everything else.

It proves who asks and that the message has one reading; what happens then is `dispatch`'s. Checked
in this order: Host, Origin, path, credential, grant, method, media type, size, message, headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import structlog

from approvals.journal import RecordUnavailable
from gateway import refusals
from gateway.catalogue import Catalogue
from gateway.grants import Grant, Grants
from gateway.headers import check_modern_headers, is_modern
from gateway.jsonrpc import Malformed, Message, error_body, parse
from gateway.paramheaders import HeaderParam
from gateway.relay.dispatch import Dispatch
from gateway.relay.response import Receive, Scope, Send, reply
from gateway.relay.sessions import Session, Sessions
from gateway.relay.visit import Backend, Visit

log = structlog.get_logger()

PREFIX = "/mcp/"
_SERVER = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_VERSION = re.compile(rb"\d{4}-\d{2}-\d{2}").fullmatch
_BEARER = re.compile(r"[Bb]earer ([A-Za-z0-9_.~+/=-]{8,512})").fullmatch
_RETRY = [(b"retry-after", b"5")]
_CHALLENGE = [(b"www-authenticate", b'Bearer realm="signoff"')]

_SESSION_GONE = error_body(None, -32600, "Session not found: initialize again")
_DEFAULT_LEGACY = "2025-03-26"  # basic/transports: what a request without the header means


class Refused(Exception):
    """The request stops at the door; carries the HTTP answer."""

    def __init__(
        self, status: int, text: str, *, body: bytes | None = None, challenge: bool = False
    ) -> None:
        super().__init__(text)
        self.status = status
        self.body = body if body is not None else error_body(None, -32600, text)
        self.headers = _CHALLENGE if challenge else []


class Endpoint:
    """The ASGI application under `/mcp/`."""

    def __init__(
        self,
        *,
        backends: Mapping[str, Backend],
        grants: Grants,
        sessions: Sessions,
        catalogue: Catalogue,
        dispatch: Dispatch,
        hosts: frozenset[str],
        origins: frozenset[str],
        max_body: int,
    ) -> None:
        self._backends = backends
        self._grants = grants
        self._sessions = sessions
        self._catalogue = catalogue
        self._dispatch = dispatch
        self._hosts = hosts
        self._origins = origins
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._serve(scope, receive, send)
        except Refused as refused:
            await reply(send, refused.status, refused.body, headers=refused.headers)
        except RecordUnavailable:
            log.exception("record.unavailable")
            await reply(send, 503, _unrecorded(None), headers=_RETRY)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: list[tuple[bytes, bytes]] = scope["headers"]
        headers = _single(raw)
        self._check_site(headers)
        backend = self._backend(scope)
        grant = await self._authenticate(headers)
        if backend is None:
            raise Refused(404, "There is no such server here")
        if not grant.reaches(backend.name):
            raise Refused(403, "This grant does not reach that server")
        method = scope["method"]
        if method in ("GET", "DELETE"):
            protocol = _protocol(headers)
            session = self._session(headers, grant, backend)
            last_event = headers.get(b"last-event-id", b"").decode("latin-1")
            await self._dispatch.stream(
                method, grant, backend, session, protocol, last_event, receive, send
            )
            return
        if method != "POST":
            await reply(send, 405, headers=[(b"allow", b"GET, POST, DELETE")])
            return
        await self._post(raw, headers, grant, backend, receive, send)

    async def _post(
        self,
        raw: list[tuple[bytes, bytes]],
        headers: dict[bytes, bytes],
        grant: Grant,
        backend: Backend,
        receive: Receive,
        send: Send,
    ) -> None:
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != (
            b"application/json"
        ):
            raise Refused(415, "Content-Type must be application/json")
        message = parse(await self._body(headers, receive))
        if isinstance(message, Malformed):
            raise Refused(message.http_status, message.message, body=_error(message))
        modern = message.kind != "response" and is_modern(raw, message)
        if modern and message.kind == "request":
            wrong = check_modern_headers(raw, message, self._params(backend, message))
            if wrong is not None:
                raise Refused(wrong.http_status, wrong.message, body=_error(wrong))
        session = None if modern else self._session(headers, grant, backend)
        protocol = _protocol(headers)
        visit = Visit(
            grant=grant,
            backend=backend,
            message=message,
            modern=modern,
            protocol=protocol or (session.protocol if session else ""),
            session=session,
            receive=receive,
            send=send,
        )
        try:
            await self._dispatch.post(visit)
        except RecordUnavailable:
            log.exception("record.unavailable", server=backend.name)
            await reply(send, 503, _unrecorded(message), headers=_RETRY)

    def _check_site(self, headers: dict[bytes, bytes]) -> None:
        # A web page that rebinds its name to this address still sends its own Host and Origin.
        if headers.get(b"host", b"").decode("latin-1").lower() not in self._hosts:
            raise Refused(421, "This gateway does not answer to that Host")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower() not in self._origins:
            raise Refused(403, "This Origin may not call the gateway")

    def _backend(self, scope: Scope) -> Backend | None:
        path = scope["path"]
        name = path[len(PREFIX) :]
        # Spelled plainly: whoever guards paths in front of us must read the same name.
        if not _SERVER(name) or scope.get("raw_path", path.encode()) != path.encode():
            return None
        return self._backends.get(name)

    async def _authenticate(self, headers: dict[bytes, bytes]) -> Grant:
        match = _BEARER(headers.get(b"authorization", b"").decode("latin-1"))
        grant = await self._grants.find(match[1]) if match is not None else None
        if grant is None:
            raise Refused(401, "A grant is needed: Authorization: Bearer …", challenge=True)
        return grant

    def _session(
        self, headers: dict[bytes, bytes], grant: Grant, backend: Backend
    ) -> Session | None:
        sealed = headers.get(b"mcp-session-id")
        if sealed is None:
            return None
        session = self._sessions.open(sealed.decode("latin-1"), grant.id, backend.name)
        if session is None:
            raise Refused(404, "Session not found: initialize again", body=_SESSION_GONE)
        return session

    def _params(self, backend: Backend, message: Message) -> tuple[HeaderParam, ...]:
        if message.method != "tools/call" or message.params is None:
            return ()
        tool = self._catalogue.tool(backend.name, message.params["name"])
        return tool.header_params if tool is not None else ()

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._max_body:
            raise Refused(413, f"The request is larger than {self._max_body} bytes")
        event = await receive()
        body: bytes = event.get("body", b"")
        if not event.get("more_body", False):
            self._bound(len(body))
            return body
        parts = bytearray(body)
        while event.get("more_body", False):
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Refused(400, "The request ended early")
            parts += event.get("body", b"")
            self._bound(len(parts))
        return bytes(parts)

    def _bound(self, size: int) -> None:
        if size > self._max_body:
            raise Refused(413, f"The request is larger than {self._max_body} bytes")


def _single(raw: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by lower-case name. One that must not come twice and does is refused."""
    headers = dict(raw)
    if len(headers) != len(raw):
        for name in (b"host", b"authorization", b"content-type", b"mcp-session-id", b"origin"):
            if sum(1 for other, _ in raw if other == name) > 1:
                raise Refused(400, f"The {name.decode()} header came twice")
    return headers


def _protocol(headers: dict[bytes, bytes]) -> str:
    """The revision the header names; "" without one."""
    version = headers.get(b"mcp-protocol-version", b"")
    if version and not _VERSION(version):
        raise Refused(400, "MCP-Protocol-Version is not a revision")
    return version.decode("ascii")


def _unrecorded(message: Message | None) -> bytes:
    """What cannot be recorded is not done."""
    return error_body(message.id if message else None, -32603, refusals.unavailable())


def _error(malformed: Malformed) -> bytes:
    return error_body(malformed.id, malformed.code, malformed.message, malformed.data)
