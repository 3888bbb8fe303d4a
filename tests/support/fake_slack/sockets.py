"""Slack's side of Socket Mode, mounted on a `Workspace`: the real wire. Not a test.

An address works once; an envelope goes to one of the connections; what is not acknowledged within
three seconds is a warning sign for the person who pressed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.support.fake_slack.workspace import Workspace
from tests.support.patience import PATIENCE

Json = dict[str, Any]
ACK_SECONDS = PATIENCE  # Slack gives three; here a busy machine has its time
MOST = 10


class NotAcknowledged(Exception):
    """No one was connected, or no acknowledgement came in three seconds."""


@dataclass
class Connection:
    """One open WebSocket."""

    socket: web.WebSocketResponse
    received: list[Json] = field(default_factory=list)  # acknowledgements


class Sockets:
    """Socket Mode of one workspace."""

    def __init__(self, slack: Workspace) -> None:
        self.slack = slack
        self.connections: list[Connection] = []
        self.opened = 0  # connections ever made
        self.refuse = ""  # error that apps.connections.open answers
        self.responses: list[Json] = []  # what was posted to response_urls
        self.on_ack: Callable[[str], None] | None = None
        self._tickets: set[str] = set()
        self._serial = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._changed = asyncio.Condition()
        slack.app.router.add_route("*", "/api/apps.connections.open", self._open)
        slack.app.router.add_get("/link", self._link)
        slack.app.router.add_post("/respond/{number}", self._respond)
        slack.app.on_response_prepare.append(self._scopes)
        slack.app.on_shutdown.append(self._end)

    # What tests do.

    async def connected(self, number: int = 1, seconds: float = PATIENCE) -> None:
        """Until so many connections are open."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.connections) == number)

    async def made(self, number: int, seconds: float = PATIENCE) -> None:
        """Until so many connections have been made, ever, and one of them is open."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: self.opened >= number and bool(self.connections))

    async def deliver(
        self,
        payload: Json,
        *,
        kind: str = "interactive",
        to: int | None = None,
        envelope: str = "",
    ) -> Json | None:
        """What the app answers in its acknowledgement; None when it only says "received".

        Raises:
            NotAcknowledged: too late, or no one there.
        """
        envelope = envelope or f"env{next(self._serial)}"
        if not self.connections:
            raise NotAcknowledged("no one is connected")
        serial = next(self._serial)
        connection = self.connections[serial % len(self.connections) if to is None else to]
        answer = self._waiting[envelope] = asyncio.get_running_loop().create_future()
        await connection.socket.send_json(
            {
                "type": kind,
                "envelope_id": envelope,
                "payload": payload,
                "accepts_response_payload": kind != "events_api",
                **({"retry_attempt": 0, "retry_reason": ""} if kind == "events_api" else {}),
            }
        )
        try:
            async with asyncio.timeout(ACK_SECONDS):
                told = await answer
        except TimeoutError:
            raise NotAcknowledged("not within three seconds") from None
        answered: Json | None = told.get("payload")
        return answered

    async def disconnect(self, reason: str, *, close: bool = True) -> None:
        """Say goodbye on every connection, as Slack does; close them if it would."""
        for connection in list(self.connections):
            note = {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}}
            await connection.socket.send_json(note)
            if close:
                await connection.socket.close()

    def cut(self) -> None:
        """Every connection breaks."""
        for connection in self.connections:
            transport = connection.socket._req.transport if connection.socket._req else None  # noqa: SLF001 - as a cable that is pulled
            if transport is not None:
                transport.abort()

    # What Slack does.

    async def _open(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.slack.down and request.transport is not None:
            request.transport.abort()
        if self.refuse or token != self.slack.app_token:
            return web.json_response({"ok": False, "error": self.refuse or "invalid_auth"})
        if len(self.connections) >= MOST:
            return web.json_response({"ok": False, "error": "too_many_websockets"})
        ticket = f"ticket{next(self._serial)}"
        self._tickets.add(ticket)
        base = self.slack.url.removesuffix("/api/").replace("http", "ws", 1)
        return web.json_response({"ok": True, "url": f"{base}/link?ticket={ticket}"})

    async def _link(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=408)
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        connection = Connection(socket)
        hello = {
            "type": "hello",
            "num_connections": len(self.connections) + 1,
            "debug_info": {"host": "applink-1", "approximate_connection_time": 18060},
            "connection_info": {"app_id": self.slack.app_id},
        }
        await socket.send_json(hello)
        await self._change(connection, come=True)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._acknowledged(connection, json.loads(message.data))
        finally:
            await self._change(connection, come=False)
        return socket

    async def _scopes(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith("/api/"):
            response.headers["X-OAuth-Scopes"] = ",".join(sorted(self.slack.scopes))

    async def _respond(self, request: web.Request) -> web.Response:
        self.responses.append(await request.json())
        return web.Response(text="ok")

    def _acknowledged(self, connection: Connection, told: Json) -> None:
        connection.received.append(told)
        envelope = str(told.get("envelope_id"))
        waiting = self._waiting.pop(envelope, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(told)
        if self.on_ack is not None:
            self.on_ack(envelope)

    async def _change(self, connection: Connection, *, come: bool) -> None:
        async with self._changed:
            if come:
                self.connections.append(connection)
                self.opened += 1
            else:
                self.connections.remove(connection)
            self._changed.notify_all()

    async def _end(self, _: web.Application) -> None:
        for connection in list(self.connections):
            await connection.socket.close()
