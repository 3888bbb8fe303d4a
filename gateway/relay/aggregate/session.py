"""A legacy agent's session at `/mcp`: one session of each server, opened when it is first needed.

The id the agent holds says who it is and what it can do (`sessions`), so that it outlives the
gateway; the servers' sessions do not, and are opened again.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from approvals.digest import canonical
from approvals.model import Client
from gateway.enforcement.grants import Grant
from gateway.protocol.jsonrpc import Message, RequestId
from gateway.relay.agents.request import Backend
from gateway.relay.agents.sessions import Session, Sessions
from gateway.relay.upstreams.reading import read_json, read_response
from gateway.relay.upstreams.upstream import (
    NotSent,
    OutcomeUnknown,
    Request,
    Unconfirmed,
    new_request_id,
)

log = structlog.get_logger()

OPENING_SECONDS = 30.0
"""For a server to be started and to answer `initialize`."""

_MOST = 10_000
_LONGEST_CAPABILITIES = 1_500
_NO_SERVER = ""  # no server has this name, so no other session id opens here


class NotOpened(Exception):
    """The server gave no session; the log says why. `waits`: no one has confirmed how it is started
    or reached.
    """

    def __init__(self, server: str, *, waits: bool = False) -> None:
        super().__init__(server)
        self.waits = waits


@dataclass(frozen=True, slots=True)
class ServerSession:
    """One server's session, and what the server said of itself."""

    session: Session
    capabilities: dict[str, Any]
    instructions: str


class AggregateSession:
    """The servers' sessions of one agent's session."""

    def __init__(self, mark: str, client: Client, protocol: str, capabilities: Any) -> None:
        self.mark = mark
        self.client = client
        self.protocol = protocol
        self.opened: dict[str, ServerSession] = {}
        self.asked: dict[RequestId, str] = {}  # the agent's request -> the server that has it
        self.tokens: dict[str, str] = {}  # its progress token, as text -> the same
        self.level: dict[str, Any] | None = None  # params of the last logging/setLevel
        self.on_open: set[Callable[[str], None]] = set()  # who wants to hear of a new one
        self._capabilities = capabilities
        self._opening: dict[str, asyncio.Task[ServerSession]] = {}

    async def session(self, grant: Grant, backend: Backend) -> ServerSession:
        """The server's session, opened if there is none.

        Raises:
            NotOpened: the server cannot be reached, or refuses.
        """
        found = self.opened.get(backend.name)
        if found is not None:
            return found
        task = self._opening.get(backend.name)
        if task is None:
            # A task of its own: anyone who waits may go away, others wait for the same opening.
            task = asyncio.create_task(self._open(grant, backend), name=f"open {backend.name}")
            self._opening[backend.name] = task
            task.add_done_callback(lambda _: self._settled(backend.name))
        return await asyncio.shield(task)

    @contextmanager
    def under_way(self, message: Message, server: str) -> Iterator[None]:
        """A message of the agent is this server's until the block ends."""
        if message.kind != "request" or message.id is None:
            yield
            return
        found = message.meta.get("progressToken")
        token = str(found) if isinstance(found, str) or type(found) is int else None
        self.asked[message.id] = server
        if token is not None:
            self.tokens[token] = server
        try:
            yield
        finally:
            self.asked.pop(message.id, None)
            if token is not None:
                self.tokens.pop(token, None)

    def forget(self, server: str) -> None:
        """The server has ended its session."""
        self.opened.pop(server, None)

    def _settled(self, server: str) -> None:
        task = self._opening.pop(server)
        if task.cancelled() or task.exception() is not None:
            return
        for tell in list(self.on_open):
            tell(server)

    async def _open(self, grant: Grant, backend: Backend) -> ServerSession:
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                opened = await self._initialize(grant, backend)
        except (NotSent, OutcomeUnknown, TimeoutError) as error:
            log.warning("server.not_opened", server=backend.name, error=str(error))
            raise NotOpened(backend.name, waits=isinstance(error, Unconfirmed)) from error
        self.opened[backend.name] = opened
        return opened

    async def _initialize(self, grant: Grant, backend: Backend) -> ServerSession:
        rpc_id = new_request_id()
        params = {
            "protocolVersion": self.protocol,
            "capabilities": self._capabilities,
            "clientInfo": {"name": self.client.name, "version": self.client.version},
        }
        request = _post(grant, "initialize", params, rpc_id=rpc_id)
        answer = await backend.upstream.send(request)
        try:
            response = await read_response(answer, rpc_id, limit=1 << 20)
            identifier = answer.session
        finally:
            await answer.aclose()
        result = response.message.get("result")
        if not isinstance(result, dict):
            log.warning("server.not_opened", server=backend.name, error="initialize was refused")
            raise NotOpened(backend.name)
        spoken = result.get("protocolVersion")
        session = Session(
            id=identifier,
            mark=self.mark,
            client=self.client,
            protocol=spoken if isinstance(spoken, str) else self.protocol,
        )
        await _tell(backend, _post(grant, "notifications/initialized", None, session=session))
        capabilities, words = result.get("capabilities"), result.get("instructions")
        opened = ServerSession(
            session,
            capabilities if isinstance(capabilities, dict) else {},
            words if isinstance(words, str) else "",
        )
        if self.level is not None and "logging" in opened.capabilities:
            set_level = _post(grant, "logging/setLevel", self.level, rpc_id=rpc_id, session=session)
            await _tell(backend, set_level)
        return opened


class AggregateSessions:
    """The bundles in use, the least recently used dropped first."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._bundles: OrderedDict[tuple[str, str], AggregateSession] = OrderedDict()

    def make(
        self, grant: Grant, client: Client, protocol: str, capabilities: Any
    ) -> AggregateSession:
        """A new session of an agent."""
        return self._kept(
            grant, AggregateSession(secrets.token_urlsafe(24), client, protocol, capabilities)
        )

    def sealed(self, grant: Grant, bundle: AggregateSession, capabilities: Any) -> str:
        """The id the agent gets."""
        written = canonical(capabilities).decode()
        session = Session(
            id=written if len(written) <= _LONGEST_CAPABILITIES else "{}",
            mark=bundle.mark,
            client=bundle.client,
            protocol=bundle.protocol,
        )
        return self._sessions.seal(session, grant=grant.id, server=_NO_SERVER)

    def find(self, grant: Grant, sealed: str) -> AggregateSession | None:
        """The session of this id; None: not ours, or another grant's."""
        session = self._sessions.open(sealed, grant.id, _NO_SERVER)
        if session is None:
            return None
        found = self._bundles.get((grant.id, session.mark))
        if found is not None:
            self._bundles.move_to_end((grant.id, session.mark))
            return found
        capabilities = json.loads(session.id)
        bundle = AggregateSession(session.mark, session.client, session.protocol, capabilities)
        return self._kept(grant, bundle)

    def drop(self, grant: Grant, bundle: AggregateSession) -> None:
        self._bundles.pop((grant.id, bundle.mark), None)

    def _kept(self, grant: Grant, bundle: AggregateSession) -> AggregateSession:
        self._bundles[grant.id, bundle.mark] = bundle
        if len(self._bundles) > _MOST:
            self._bundles.popitem(last=False)
        return bundle


def _post(
    grant: Grant,
    method: str,
    params: Any,
    *,
    rpc_id: str | None = None,
    session: Session | None = None,
) -> Request:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if rpc_id is not None:
        message["id"] = rpc_id
    if params is not None:
        message["params"] = params
    return Request(
        method="POST",
        body=canonical(message),
        grant=grant.id,
        protocol=session.protocol if session is not None else "",
        session=session.id if session is not None else "",
        rpc_method=method,
        rpc_id=rpc_id,
    )


async def _tell(backend: Backend, request: Request) -> None:
    """Send what needs no answer."""
    answer = await backend.upstream.send(request)
    try:
        await read_json(answer, 1 << 20)
    finally:
        await answer.aclose()
