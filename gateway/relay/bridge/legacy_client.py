"""A legacy agent's session with a server that knows none: kept by the gateway, in its id.

The id says what the client declared, so that it outlives the gateway; agents get it sealed
(`gateway.relay.agents.sessions`). What a client changed since (log level, subscriptions) is memory.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
from dataclasses import dataclass, field

from gateway.relay.bridge.messages import Id, Json, encoded
from gateway.relay.upstreams.message_queue import MessageQueue

MARK = "bridged."
"""What such an id begins with; no server's own does, or it is taken for one."""

_LONGEST = 600  # bytes; the sealed id holds it twice and must stay a header
_MOST = 10_000


@dataclass(slots=True, eq=False)
class LegacyClient:
    """What is known of one session."""

    capabilities: Json
    info: Json
    level: str | None = None
    resources: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # its subscriptions
    asked: dict[Id, asyncio.Future[Json]] = field(default_factory=dict)
    running: dict[Id, asyncio.Task[None]] = field(default_factory=dict)
    inbox: MessageQueue | None = None  # of its GET stream, while it has one open

    @property
    def idle(self) -> bool:
        return not self.asked and not self.running and self.inbox is None


class LegacyClients:
    """Sessions by id; the least recently used are forgotten down to what their ids say."""

    def __init__(self) -> None:
        self._clients: dict[str, LegacyClient] = {}
        self._ended: dict[str, None] = {}

    def new(self, capabilities: Json, info: Json) -> str:
        """The id of a new session."""
        said = encoded({"c": capabilities, "i": info})
        if len(said) > _LONGEST:
            known = ("sampling", "elicitation", "roots")
            said = encoded({"c": {key: {} for key in known if key in capabilities}, "i": {}})
        written = base64.urlsafe_b64encode(said).rstrip(b"=").decode("ascii")
        return f"{MARK}{secrets.token_hex(12)}.{written}"

    def find(self, session: str) -> LegacyClient | None:
        """The session; None: not one of ours, or ended."""
        if session in self._ended:
            return None
        client = self._clients.pop(session, None) or _read(session)
        if client is None:
            return None
        self._clients[session] = client  # the last one used stands last
        if len(self._clients) > _MOST:
            old = next((key for key, each in self._clients.items() if each.idle), session)
            del self._clients[old]
        return client

    def end(self, session: str) -> None:
        self._ended[session] = None
        if len(self._ended) > _MOST:
            del self._ended[next(iter(self._ended))]
        client = self._clients.pop(session, None)
        if client is None:
            return
        for task in list(client.running.values()):
            task.cancel()
        if client.inbox is not None:
            client.inbox.discard()

    def close(self) -> None:
        for session in list(self._clients):
            self.end(session)


def _read(session: str) -> LegacyClient | None:
    written = session.removeprefix(MARK).partition(".")[2]
    try:
        said = json.loads(base64.b64decode(written + "=" * (-len(written) % 4), b"-_"))
        return LegacyClient(capabilities=said["c"], info=said["i"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
