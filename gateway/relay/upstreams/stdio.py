"""A server started as a command, given the shape of a Streamable HTTP server, in process.

Legacy sessions have a process each and modern grants have one each, or all share one per era: a
stdio process serves the era of its first request only. Knows ids and sessions, no policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from approvals.owned_tasks import OwnedTasks
from gateway.relay.upstreams.eviction import Place, Use, first_to_go
from gateway.relay.upstreams.message_queue import MessageQueue
from gateway.relay.upstreams.process import Command
from gateway.relay.upstreams.process_slot import (
    Handshake,
    InitializeRefused,
    ProcessSlot,
    RestartDelay,
)
from gateway.relay.upstreams.stdio_answer import Inbox, StdioStream, refused
from gateway.relay.upstreams.stdio_connection import Limits, Message, StdioConnection, encode
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Request
from gateway.relay.upstreams.whole_answer import WholeAnswer, accepted

__all__ = ["Limits", "StdioUpstream"]

log = logging.getLogger(__name__)

_LEGACY = "legacy"
_MODERN = "modern"
#: Putting a process tree down is bounded by five seconds (gateway.relay.upstreams.process).
_CLOSE_SECONDS = 5.5


@dataclass(slots=True, eq=False)
class _Session:
    """A legacy session. `used`: monotonic seconds."""

    grant: str
    slot: ProcessSlot
    used: float


class StdioUpstream:
    """One command. See `upstream.Upstream`."""

    def __init__(
        self,
        name: str,
        command: str,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        *,
        shared: bool = False,
        limits: Limits | None = None,
        errlog: IO[Any] | None = None,
        tools_changed: Callable[[], None] | None = None,
    ) -> None:
        """`errlog` takes the server's stderr (needs a file number); None: our log, labelled.
        `tools_changed` is called when the server says that they did, no matter who listens or not.
        """
        self.name = name
        self._command = Command(
            name=name,
            command=command,
            args=tuple(args),
            env=env or {},
            cwd=cwd,
            errlog=errlog,
            tools_changed=tools_changed,
        )
        self._shared = shared
        self._limits = limits or Limits()
        self._slots: dict[tuple[str, str], ProcessSlot] = {}
        self._sessions: dict[str, _Session] = {}
        self._paces: dict[str, RestartDelay] = {}
        self._tasks = OwnedTasks()  # one a process, until its tree is gone
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    async def send(self, request: Request) -> Answer:
        """See `upstream.Upstream.send`. Requests alone start a process."""
        if self._closed:
            raise NotSent(f"{self.name}: stopped")
        modern = request.protocol in MODERN_PROTOCOL_VERSIONS
        if request.method == "POST":
            message = json.loads(request.body)
            if not isinstance(message, dict):
                return refused(400, "Body must be one JSON-RPC message")
            if message.get("method") == "initialize" and "id" in message:
                return await self._initialize(request.grant, message)
            return await (self._modern if modern else self._legacy)(request, message)
        if modern or request.method not in ("GET", "DELETE"):
            return refused(405, "Method Not Allowed", allow="POST")
        session = self._session(request)
        if isinstance(session, WholeAnswer):
            return session
        if request.method == "DELETE":
            self._end(request.session, session)
            return WholeAnswer(200, content_type="")
        inbox = session.slot.inboxes[request.session]
        if inbox.reading:
            return refused(409, "Conflict: Only one SSE stream is allowed per session")
        return Inbox(inbox, self._limits)

    async def ready(self, request: Request) -> None:
        """See `upstream.Upstream.ready`."""
        if self._closed:
            return
        if request.protocol in MODERN_PROTOCOL_VERSIONS:
            owner = "" if self._shared else request.grant
            slot = self._slot((_MODERN, owner), request.grant, None)
        else:
            session = self._session(request)
            slot = session.slot if isinstance(session, _Session) else None
        if slot is not None:
            with contextlib.suppress(NotSent, OutcomeUnknown, InitializeRefused):
                await slot.open()

    async def aclose(self) -> None:
        """Stop every process and wait until its tree is gone; under six seconds."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for key in list(self._slots):
            self._drop(key)
        await self._tasks.wait(_CLOSE_SECONDS)
        self._tasks.cancel()

    # The legacy era: sessions.

    async def _initialize(self, grant: str, message: Message) -> Answer:
        identifier = secrets.token_urlsafe(24)  # 192 bits
        key = (_LEGACY, "" if self._shared else identifier)
        slot = self._slot(key, grant, Handshake(message))
        if slot is None:
            return refused(503, "Too many processes of this server are in use")
        self._make_room_for_a_session(grant)
        slot.inboxes[identifier] = MessageQueue(limit=self._limits.line)
        session = self._sessions[identifier] = _Session(grant, slot, time.monotonic())
        try:
            await slot.open()
        except InitializeRefused as no:
            self._never_opened(key, identifier, session)
            return WholeAnswer(200, encode({**no.answer, "id": message["id"]}))
        except BaseException:
            self._never_opened(key, identifier, session)
            raise
        handshake = slot.handshake
        if handshake is None or handshake.answer is None:
            raise OutcomeUnknown("no answer to initialize")
        return WholeAnswer(
            200, encode({**handshake.answer, "id": message["id"]}), session=identifier
        )

    async def _legacy(self, request: Request, message: Message) -> Answer:
        session = self._session(request)
        if isinstance(session, WholeAnswer):
            return session
        if "method" in message and "id" in message:
            try:
                channel = await session.slot.open()
            except (OutcomeUnknown, InitializeRefused) as error:
                # Only the opening was sent: the request itself has not begun.
                raise NotSent(f"{self.name}: could not be started again") from error
            flight = channel.request(message, request.session)
            return await StdioStream(channel, flight, self._limits).start()
        if message.get("method") == "notifications/initialized":
            self._initialized(session.slot, message)
        else:
            _pass_on(session.slot.channel, message, request.session)
        return accepted()

    def _initialized(self, slot: ProcessSlot, message: Message) -> None:
        """Sent once a process: a shared one has heard it from the first session."""
        if slot.handshake is not None and slot.handshake.initialized is None:
            slot.handshake = replace(slot.handshake, initialized=message)
            _pass_on(slot.channel, message, "")

    def _session(self, request: Request) -> _Session | WholeAnswer:
        if not request.session:
            return refused(400, "Bad Request: Missing session ID")
        session = self._sessions.get(request.session)
        if session is None or session.grant != request.grant:
            return refused(404, "Session not found")
        session.used = time.monotonic()
        return session

    def _end(self, identifier: str, session: _Session) -> None:
        if (_LEGACY, identifier) in self._slots:
            self._drop((_LEGACY, identifier))
            return
        self._sessions.pop(identifier, None)
        inbox = session.slot.inboxes.pop(identifier, None)
        if inbox is not None:
            inbox.discard()

    def _never_opened(self, key: tuple[str, str], identifier: str, session: _Session) -> None:
        """The process of an opening that failed serves no one, unless others came to share it."""
        self._end(identifier, session)
        if self._slots.get(key) is session.slot and not session.slot.inboxes:
            self._drop(key)

    def _make_room_for_a_session(self, grant: str) -> None:
        """Of a shared process; whose session goes is told 404 when it returns."""
        most = self._limits.sessions
        if len(self._sessions) >= most:
            places = {
                key: Place(each.grant, Use.IDLE, each.used) for key, each in self._sessions.items()
            }
            gone = first_to_go(places, grant, most=most)
            if gone is not None:
                self._end(gone, self._sessions[gone])

    # The modern era: grants.

    async def _modern(self, request: Request, message: Message) -> Answer:
        key = (_MODERN, "" if self._shared else request.grant)
        if "method" in message and "id" in message:
            slot = self._slot(key, request.grant, None)
            if slot is None:
                return refused(503, "Too many processes of this server are in use")
            channel = await slot.open()
            flight = channel.request(message, request.grant)
            return await StdioStream(channel, flight, self._limits).start()
        if "method" in message and key in self._slots:
            _pass_on(self._slots[key].channel, message, request.grant)
        return accepted()

    def forget_modern(self, grant: str) -> None:
        """The server turned out not to speak the modern era: its process that was asked serves
        no one, and how it took the question says nothing about its health.
        """
        owner = "" if self._shared else grant
        if (_MODERN, owner) in self._slots:
            self._drop((_MODERN, owner))
        self._paces.pop(owner, None)

    # Processes.

    def _slot(
        self, key: tuple[str, str], grant: str, handshake: Handshake | None
    ) -> ProcessSlot | None:
        """The slot of this key, made where there is none; None: too many are in use."""
        if (slot := self._slots.get(key)) is not None:
            return slot
        if len(self._slots) >= self._limits.processes:
            places = {
                each: Place(slot.owner, slot.use, slot.touched)
                for each, slot in self._slots.items()
            }
            gone = first_to_go(places, grant, most=self._limits.processes)
            if gone is None:
                return None
            log.info("stdio.evicted", extra={"server": self.name, "use": places[gone].use.name})
            self._drop(gone)
        # A grant that makes its processes crash slows down no one else.
        pace = self._paces.setdefault("" if self._shared else grant, RestartDelay())
        slot = self._slots[key] = ProcessSlot(
            self._command, self._limits, owner=grant, pace=pace, handshake=handshake, own=self._own
        )
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name=f"stdio {self.name} sweep")
        return slot

    def _drop(self, key: tuple[str, str]) -> None:
        """Stop a slot's process and forget it together with its sessions."""
        slot = self._slots.pop(key)
        slot.close()
        for identifier in slot.inboxes:
            self._sessions.pop(identifier, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, self._limits.idle / 4))
            before = time.monotonic() - self._limits.idle
            for key, slot in list(self._slots.items()):
                if slot.idle and slot.touched <= before:
                    log.info("stdio.idle", extra={"server": self.name})
                    self._drop(key)

    def _own(self, run: Coroutine[Any, Any, None]) -> None:
        self._tasks.start(run, name=f"stdio {self.name} process")


def _pass_on(channel: StdioConnection | None, message: Message, owner: str) -> None:
    """A notification or response; a process that died meanwhile does not need it."""
    if channel is None:
        return
    if "method" in message:
        channel.notify(message, owner)
    else:
        channel.respond(message, owner)
