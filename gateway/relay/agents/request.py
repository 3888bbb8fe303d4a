"""Who asks which server, and the request it asks with, as far as the endpoint has proven both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from approvals.digest import canonical
from approvals.model import Client
from gateway.enforcement.grants import Grant
from gateway.protocol.jsonrpc import Message, RequestId, client_of, encode
from gateway.protocol.message import CLIENT_KEY
from gateway.protocol.routing_headers import outbound_headers
from gateway.relay.agents.response import Receive, Send
from gateway.relay.agents.sessions import Session
from gateway.relay.upstreams.upstream import Request, Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One configured server."""

    name: str
    upstream: Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks which server, apart from the message and the connection it is asked on."""

    grant: Grant
    backend: Backend
    modern: bool
    revision: str  # of MCP, that the agent speaks; "" before a legacy session has one
    session: Session | None  # legacy only
    envelope: Mapping[str, Any]  # `_meta` of its message

    @property
    def client(self) -> Client:
        """What the agent's program says it is."""
        if self.session is not None:
            return self.session.client
        return client_of(self.envelope.get(CLIENT_KEY))

    def post(
        self,
        body: bytes,
        *,
        method: str,
        id: RequestId | None,  # noqa: A002 - JSON-RPC's word
        headers: Mapping[str, str] | None = None,
        about: str = "",
    ) -> Request:
        """A message towards the server on this caller's behalf: same session, same revision.
        `about`: the id a call has on record.
        """
        return Request(
            method="POST",
            body=body,
            grant=self.grant.id,
            protocol=self.revision,
            session=self.session.id if self.session is not None else "",
            headers=headers or {},
            rpc_method=method,
            rpc_id=id,
            about=about,
        )

    def own_request(
        self,
        id: RequestId,  # noqa: A002 - JSON-RPC's word
        method: str,
        params: Mapping[str, Any],
        *,
        meta: tuple[str, ...],
    ) -> Request:
        """A request of the gateway's own on this caller's behalf, with these keys of its envelope
        where its revision has one.
        """
        headers: dict[str, str] = {}
        if self.modern:
            kept = {key: self.envelope[key] for key in meta if key in self.envelope}
            params = {**params, "_meta": kept}
            headers = dict(outbound_headers(self.revision, method, params))
        body = canonical({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        return self.post(body, method=method, id=id, headers=headers)

    def without_body(
        self, method: Literal["GET", "DELETE"], last_event: str | None = None
    ) -> Request:
        """Legacy only. GET: what the server says unasked, or on after an event of an earlier
        stream; DELETE: the end of the session.
        """
        return Request(
            method=method,
            body=b"",
            grant=self.grant.id,
            protocol=self.revision,
            session=self.session.id if self.session is not None else "",
            headers={"Last-Event-ID": last_event} if last_event is not None else {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRequest:
    """One parsed POST: who asks, what, and the connection that is waited on for the answer."""

    caller: Caller
    message: Message
    receive: Receive
    send: Send

    def passed_on(self) -> Request:
        """The message as it came, towards the server, with the headers its revision wants."""
        message, caller = self.message, self.caller
        headers = (
            dict(outbound_headers(caller.revision, message.method, message.params or {}))
            if caller.modern
            else None
        )
        return caller.post(encode(message), method=message.method, id=message.id, headers=headers)
