"""The MCP door agents talk to: `/mcp/{server}`, and `/mcp` for all of a grant's servers; a plain
ASGI function in front of everything else.

It proves who asks and that the message has one reading; what happens then is `dispatch`'s. Checked
in this order: Host, Origin, credential, the grant's share of requests, path, grant, method, media
type, size, message, headers.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

import structlog

from approvals.aside import LARGE, aside
from approvals.record.journal import RecordUnavailable
from gateway.enforcement import refusal_texts
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.grants import Grant, Grants
from gateway.protocol.jsonrpc import Malformed, Message, error_body, parse
from gateway.protocol.param_headers import HeaderParam
from gateway.protocol.routing_headers import check_modern_headers, is_modern
from gateway.relay.agents.request import AgentRequest, Backend, Caller
from gateway.relay.agents.response import Receive, Scope, Send, reply
from gateway.relay.agents.sessions import Session, Sessions
from gateway.relay.aggregate.dispatch import AggregateDispatch
from gateway.relay.aggregate.request import AggregateRequest
from gateway.relay.aggregate.session import AggregateSession
from gateway.relay.methods.dispatch import Dispatch
from gateway.throttle import WINDOW, Throttle

log = structlog.get_logger()

PREFIX = "/mcp/"
ALL = "/mcp"
"""The path of every server a grant reaches."""

_SERVER = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_VERSION = re.compile(rb"\d{4}-\d{2}-\d{2}").fullmatch
_BEARER = re.compile(r"[Bb]earer ([A-Za-z0-9_.~+/=-]{8,512})").fullmatch
_RETRY = [(b"retry-after", b"5")]
_GUESSES = 30  # tokens that are no grant's, of one address in a minute
_CHALLENGE = [(b"www-authenticate", b'Bearer realm="signoff"')]

_SHUTDOWN = "graceful shutdown"  # how uvicorn says that what still runs is cancelled

_SESSION_GONE = error_body(None, -32600, "Session not found: initialize again")


class HttpRefusal(Exception):
    """The request stops at the door; carries the HTTP answer."""

    def __init__(
        self, status: int, text: str, *, body: bytes | None = None, challenge: bool = False
    ) -> None:
        super().__init__(text)
        self.status = status
        self.body = body if body is not None else error_body(None, -32600, text)
        self.headers = _CHALLENGE if challenge else []


class Endpoint:
    """The ASGI application at `/mcp` and under `/mcp/`."""

    def __init__(
        self,
        *,
        backends: Mapping[str, Backend],
        grants: Grants,
        sessions: Sessions,
        catalogue: Catalogue,
        dispatch: Dispatch,
        together: AggregateDispatch,
        hosts: frozenset[str],
        origins: frozenset[str],
        max_body: int,
        at_once: int,
    ) -> None:
        """`at_once`: requests that one grant may have under way."""
        self._backends = backends
        self._grants = grants
        self._sessions = sessions
        self._catalogue = catalogue
        self._dispatch = dispatch
        self._together = together
        self._hosts = hosts
        self._origins = origins
        self._max_body = max_body
        self._at_once = at_once
        self._under_way: dict[str, int] = {}  # requests, by grant
        self._crowded_at = -WINDOW
        self._guesses = Throttle(_GUESSES)
        self._warned_at = -WINDOW

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._serve(scope, receive, send)
        except HttpRefusal as refused:
            await reply(send, refused.status, refused.body, headers=refused.headers)
        except RecordUnavailable:
            log.exception("record.unavailable")
            await reply(send, 503, _unrecorded(None), headers=_RETRY)
        except asyncio.CancelledError as stop:
            if _SHUTDOWN not in str(stop):
                raise
            log.warning("request.cut_off")  # its server was given time to answer

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: list[tuple[bytes, bytes]] = scope["headers"]
        headers = _single(raw)
        self._check_site(headers)
        grant = await self._authenticate(headers, scope)
        under_way = self._under_way.get(grant.id, 0)
        if under_way >= self._at_once:
            self._refuse_crowd(grant)
        self._under_way[grant.id] = under_way + 1
        try:
            await self._granted(scope, headers, grant, receive, send)
        finally:
            self._leave(grant)

    async def _granted(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        grant: Grant,
        receive: Receive,
        send: Send,
    ) -> None:
        raw: list[tuple[bytes, bytes]] = scope["headers"]
        backend = self._backend(scope)
        if backend is None:
            if scope["path"] != ALL or scope.get("raw_path", b"/mcp") != b"/mcp":
                raise HttpRefusal(404, "There is no such server here")
            await self._all(scope["method"], raw, headers, grant, receive, send)
            return
        if not grant.reaches(backend.name):
            raise HttpRefusal(403, "This grant does not reach that server")
        method = scope["method"]
        if method in ("GET", "DELETE"):
            caller = Caller(
                grant=grant,
                backend=backend,
                modern=False,
                revision=_protocol(headers),
                session=self._session(headers, grant, backend),
                envelope={},
            )
            last_event = headers.get(b"last-event-id", b"").decode("latin-1")
            await self._dispatch.stream(caller, method, last_event, receive, send)
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
        message = await self._message(headers, receive)
        modern = message.kind != "response" and is_modern(raw, message)
        if modern and message.kind == "request":
            _check_routing(raw, message, self._params(backend, message))
        session = None if modern else self._session(headers, grant, backend)
        protocol = _protocol(headers)
        caller = Caller(
            grant=grant,
            backend=backend,
            modern=modern,
            revision=protocol or (session.protocol if session else ""),
            session=session,
            envelope=message.meta,
        )
        try:
            await self._dispatch.post(
                AgentRequest(caller=caller, message=message, receive=receive, send=send)
            )
        except RecordUnavailable:
            log.exception("record.unavailable", server=backend.name)
            await reply(send, 503, _unrecorded(message), headers=_RETRY)

    async def _all(
        self,
        method: str,
        raw: list[tuple[bytes, bytes]],
        headers: dict[bytes, bytes],
        grant: Grant,
        receive: Receive,
        send: Send,
    ) -> None:
        """The URL of all servers: the same proof, then `AggregateDispatch`."""
        together = self._together
        if method == "POST":
            message = await self._message(headers, receive)
            modern = message.kind != "response" and is_modern(raw, message)
            if modern and message.kind == "request":
                _check_routing(raw, message, together.header_params(message))
            opening = message.method == "initialize"
            arrival = AggregateRequest(
                grant=grant,
                backends=together.reached(grant),
                names=together.names,
                message=message,
                modern=modern,
                protocol=_protocol(headers),
                bundle=None if modern or opening else self._bundle(headers, grant),
                receive=receive,
                send=send,
            )
            try:
                await together.post(arrival)
            except RecordUnavailable:
                log.exception("record.unavailable")
                await reply(send, 503, _unrecorded(message), headers=_RETRY)
        elif method == "GET":
            bundle, last = self._bundle(headers, grant), headers.get(b"last-event-id", b"")
            await together.streams.get(
                grant, together.reached(grant), bundle, last.decode("latin-1"), receive, send
            )
        elif method == "DELETE":
            bundle = self._bundle(headers, grant)
            await together.streams.delete(grant, together.reached(grant), bundle)
            together.bundles.drop(grant, bundle)
            await reply(send, 200)
        else:
            await reply(send, 405, headers=[(b"allow", b"GET, POST, DELETE")])

    def _bundle(self, headers: dict[bytes, bytes], grant: Grant) -> AggregateSession:
        sealed = headers.get(b"mcp-session-id")
        if sealed is None:
            raise HttpRefusal(400, "Mcp-Session-Id is missing: initialize first")
        bundle = self._together.bundles.find(grant, sealed.decode("latin-1"))
        if bundle is None:
            raise HttpRefusal(404, "Session not found: initialize again", body=_SESSION_GONE)
        return bundle

    async def _message(self, headers: dict[bytes, bytes], receive: Receive) -> Message:
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != (
            b"application/json"
        ):
            raise HttpRefusal(415, "Content-Type must be application/json")
        body = await self._body(headers, receive)
        message = await aside(len(body), lambda: parse(body))
        if isinstance(message, Malformed):
            raise HttpRefusal(message.http_status, message.message, body=_error(message))
        return replace(message, size=len(body)) if len(body) > LARGE else message

    def _check_site(self, headers: dict[bytes, bytes]) -> None:
        # A web page that rebinds its name to this address still sends its own Host and Origin.
        if headers.get(b"host", b"").decode("latin-1").lower() not in self._hosts:
            raise HttpRefusal(421, "This gateway does not answer to that Host")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower() not in self._origins:
            raise HttpRefusal(403, "This Origin may not call the gateway")

    def _backend(self, scope: Scope) -> Backend | None:
        path = scope["path"]
        name = path[len(PREFIX) :]
        # Spelled plainly: anyone who guards paths in front of us must read the same name.
        if not _SERVER(name) or scope.get("raw_path", path.encode()) != path.encode():
            return None
        return self._backends.get(name)

    async def _authenticate(self, headers: dict[bytes, bytes], scope: Scope) -> Grant:
        match = _BEARER(headers.get(b"authorization", b"").decode("latin-1"))
        grant = await self._grants.find(match[1]) if match is not None else None
        if grant is not None:
            return grant
        if match is not None:
            self._count_guess(scope)
        raise HttpRefusal(401, "A grant is needed: Authorization: Bearer …", challenge=True)

    def _count_guess(self, scope: Scope) -> None:
        """A token that is no grant's. Who tries many is told to wait; a right one still passes."""
        client = scope.get("client")
        now = int(time.monotonic() * 1000)
        wait = self._guesses.fail(client[0] if client else "", now)
        if not wait:
            return
        if now - self._warned_at >= WINDOW:
            self._warned_at = now
            log.warning("door.unknown_grants", sender=client and client[0])
        refused = HttpRefusal(
            429, f"Too many unknown grants from your address. Wait {wait} seconds."
        )
        refused.headers = [(b"retry-after", str(wait).encode())]
        raise refused

    def _refuse_crowd(self, grant: Grant) -> NoReturn:
        """One grant's requests take no more than its share: others' agents, and people, must get
        in too.
        """
        now = int(time.monotonic() * 1000)
        if now - self._crowded_at >= WINDOW:
            self._crowded_at = now
            log.warning("endpoint.crowded", grant=grant.id, most=self._at_once)
        refused = HttpRefusal(429, f"This grant has {self._at_once} requests under way at once")
        refused.headers = _RETRY
        raise refused

    def _leave(self, grant: Grant) -> None:
        left = self._under_way[grant.id] - 1
        if left:
            self._under_way[grant.id] = left
        else:
            del self._under_way[grant.id]

    def _session(
        self, headers: dict[bytes, bytes], grant: Grant, backend: Backend
    ) -> Session | None:
        sealed = headers.get(b"mcp-session-id")
        if sealed is None:
            return None
        session = self._sessions.open(sealed.decode("latin-1"), grant.id, backend.name)
        if session is None:
            raise HttpRefusal(404, "Session not found: initialize again", body=_SESSION_GONE)
        return session

    def _params(self, backend: Backend, message: Message) -> tuple[HeaderParam, ...]:
        if message.method != "tools/call" or message.params is None:
            return ()
        tool = self._catalogue.tool(backend.name, message.params["name"])
        return tool.header_params if tool is not None else ()

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._max_body:
            raise HttpRefusal(413, f"The request is larger than {self._max_body} bytes")
        event = await receive()
        body: bytes = event.get("body", b"")
        if not event.get("more_body", False):
            self._bound(len(body))
            return body
        parts = bytearray(body)
        while event.get("more_body", False):
            event = await receive()
            if event["type"] == "http.disconnect":
                raise HttpRefusal(400, "The request ended early")
            parts += event.get("body", b"")
            self._bound(len(parts))
        return bytes(parts)

    def _bound(self, size: int) -> None:
        if size > self._max_body:
            raise HttpRefusal(413, f"The request is larger than {self._max_body} bytes")


def _check_routing(
    raw: list[tuple[bytes, bytes]], message: Message, params: tuple[HeaderParam, ...]
) -> None:
    """What the headers of 2026-07-28 say is what the body says."""
    wrong = check_modern_headers(raw, message, params)
    if wrong is not None:
        raise HttpRefusal(wrong.http_status, wrong.message, body=_error(wrong))


def _single(raw: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by lower-case name. One that must not come twice and does is refused."""
    headers = dict(raw)
    if len(headers) != len(raw):
        for name in (b"host", b"authorization", b"content-type", b"mcp-session-id", b"origin"):
            if sum(1 for other, _ in raw if other == name) > 1:
                raise HttpRefusal(400, f"The {name.decode()} header came twice")
    return headers


def _protocol(headers: dict[bytes, bytes]) -> str:
    """The revision the header names; "" without one."""
    version = headers.get(b"mcp-protocol-version", b"")
    if version and not _VERSION(version):
        raise HttpRefusal(400, "MCP-Protocol-Version is not a revision")
    return version.decode("ascii")


def _unrecorded(message: Message | None) -> bytes:
    """What cannot be recorded is not done."""
    return error_body(message.id if message else None, -32603, refusal_texts.unavailable())


def _error(malformed: Malformed) -> bytes:
    return error_body(malformed.id, malformed.code, malformed.message, malformed.data)
