"""What a server behind the gateway looks like to the relay: one request in, one answer out.

The seam has the shape of MCP's Streamable HTTP (basic/transports), so an HTTP server is passed
through as it speaks and a stdio server is given the same shape by `gateway.relay.upstreams.stdio`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request towards a server. Nothing in it comes from the agent's credentials."""

    method: str  # "POST", "GET" or "DELETE"
    body: bytes  # one JSON-RPC message, or b""
    grant: str  # whose request it is; stdio keeps one process per session of a grant
    protocol: str  # MCP-Protocol-Version; "" before a legacy session has one
    session: str = ""  # the server's own session id; "" when there is none
    headers: Mapping[str, str] = field(
        default_factory=dict
    )  # further MCP headers: Mcp-Method, Last-Event-ID, …
    rpc_method: str = ""  # of the message in `body`
    rpc_id: str | int | None = None  # None: a notification or a response
    about: str = ""  # a tools/call's "apr_…" or "call_…" on record


def new_request_id() -> str:
    """The id of a request of the gateway's own: never one an agent would choose."""
    return f"signoff-{secrets.token_hex(8)}"


class Answer(Protocol):
    """One HTTP answer. Read `body` once, then `aclose`; closing early cancels the request."""

    status: int
    content_type: str
    session: str  # the session id the server hands out, or ""
    headers: Mapping[str, str]  # further MCP headers that belong to the agent

    def body(self) -> AsyncIterator[bytes]:
        """The bytes as they come: one JSON text, or an SSE stream."""

    async def aclose(self) -> None: ...


class NotSent(Exception):
    """The server could not be reached and certainly not one byte of the request left."""


class Unconfirmed(NotSent):
    """An administrator has yet to confirm how the server is started or reached."""


class OutcomeUnknown(Exception):
    """Bytes of the request may have left and no (whole) answer came back."""


class Upstream(Protocol):
    """One server. Implementations: `http.HttpUpstream`, `stdio.StdioUpstream`."""

    name: str

    async def send(self, request: Request) -> Answer:
        """Send one request.

        Raises:
            NotSent: nothing left this process.
            OutcomeUnknown: it may have left; no answer came. Also raised by `Answer.body`.
        """

    async def ready(self, request: Request) -> None:
        """Return once the process or session that would take this request is open, or cannot be
        opened, which `send` then says. Bounded by the opening's own time-out.
        """

    async def aclose(self) -> None: ...
