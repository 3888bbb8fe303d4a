"""One request of an agent, as far as the door has proven it: who, to which server, in which era."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from approvals.model import Client
from gateway.enforcement.grants import Grant
from gateway.protocol.jsonrpc import Message, client_of
from gateway.protocol.message import CLIENT_KEY
from gateway.relay.agents.response import Receive, Send
from gateway.relay.agents.sessions import Session
from gateway.relay.upstreams.upstream import Request, Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One configured server."""

    name: str
    upstream: Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One parsed POST."""

    grant: Grant
    backend: Backend
    message: Message
    modern: bool
    protocol: str  # revision the agent speaks; "" before a legacy session has one
    session: Session | None  # legacy only
    receive: Receive
    send: Send
    reply_headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def client(self) -> Client:
        if self.session is not None:
            return self.session.client
        info = self.message.meta.get(CLIENT_KEY)
        return client_of(info)

    def request(
        self,
        body: bytes,
        *,
        rpc_method: str = "",
        rpc_id: str | int | None = None,
        headers: Mapping[str, str] | None = None,
        about: str = "",
    ) -> Request:
        """A request towards the server on behalf of this visit: same session, same revision."""
        return Request(
            method="POST",
            body=body,
            grant=self.grant.id,
            protocol=self.protocol,
            session=self.session.id if self.session is not None else "",
            headers=headers or {},
            rpc_method=rpc_method or self.message.method,
            rpc_id=self.message.id if rpc_id is None and not rpc_method else rpc_id,
            about=about,
        )

    def resumption(self, last_event: str) -> Request:
        """A request for what the server says after an event of an earlier stream; legacy only."""
        return Request(
            method="GET",
            body=b"",
            grant=self.grant.id,
            protocol=self.protocol,
            session=self.session.id if self.session is not None else "",
            headers={"Last-Event-ID": last_event},
        )
