"""What servers say unasked, brought to the agent of all of them: the GET stream of a legacy session
and `subscriptions/listen`. One that falls silent or breaks ends nothing of the others.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from gateway.enforcement.grants import Grant
from gateway.protocol.sse import Blocks, EventTooLarge, SseParser
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect, leave_when_set
from gateway.relay.agents.request import AgentRequest, Backend, Caller
from gateway.relay.agents.response import EventStream, Receive, Send, reply
from gateway.relay.agents.sessions import Session
from gateway.relay.aggregate.ids import ids_to_agent, of_event
from gateway.relay.aggregate.request import AggregateRequest, AnswerRewriter
from gateway.relay.aggregate.resource_owners import ResourceOwners
from gateway.relay.aggregate.session import AggregateSession
from gateway.relay.aggregate.task_owners import TaskOwners
from gateway.relay.methods.dispatch import Dispatch
from gateway.relay.upstreams.response_filter import Passed, ResponseFilter
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown

log = structlog.get_logger()

_AGAIN_SECONDS = 2.0  # until one comes back to a stream that broke
_PING_SECONDS = 15.0
_ACKNOWLEDGED_SECONDS = 5.0
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_MOST_NAMED = 1_000  # resources, or tasks, of one subscription
_FLAGS = ("toolsListChanged", "promptsListChanged", "resourcesListChanged")

Backends = dict[str, Backend]


class Streams:
    """Serves the streams without an end of their own."""

    def __init__(
        self,
        dispatch: Dispatch,
        stopping: asyncio.Event,
        owners: ResourceOwners,
        tasks: TaskOwners,
        *,
        max_block: int,
    ) -> None:
        self._dispatch = dispatch
        self._stopping = stopping
        self._owners = owners
        self._tasks = tasks
        self._max_block = max_block

    async def get(
        self,
        grant: Grant,
        backends: Backends,
        bundle: AggregateSession,
        last_event: str,
        receive: Receive,
        send: Send,
    ) -> None:
        """The GET stream of a legacy session: those of its servers, of ones opened later too. With
        a Last-Event-ID, the rest of one server's stream.
        """
        found = of_event(last_event)
        if found is not None and found[0] in bundle.opened and found[0] in backends:
            server, event_id = found
            session = bundle.opened[server].session
            down = AnswerRewriter(server, send, tokens=bundle.tokens, max_block=self._max_block)
            caller = _listener(grant, backends[server], session)
            await self._dispatch.stream(caller, "GET", event_id, receive, down)
            if down.gone:
                await reply(send, 405, headers=[(b"allow", b"GET, POST, DELETE")])
            return
        stream = EventStream(send)
        pumps: dict[str, asyncio.Task[None]] = {}

        def pump(server: str) -> None:
            if server in backends and (server not in pumps or pumps[server].done()):
                work = self._pump(grant, backends[server], bundle, stream)
                pumps[server] = asyncio.create_task(work, name=f"stream {server}")

        bundle.on_open.add(pump)
        try:
            async with cancel_on_disconnect(receive), leave_when_set(self._stopping):
                for server in list(bundle.opened):
                    pump(server)
                await _kept_alive(stream)
        except AgentGone:
            return
        finally:
            bundle.on_open.discard(pump)
            await _ended(pumps.values())
        await stream.end()

    async def delete(self, grant: Grant, backends: Backends, bundle: AggregateSession) -> None:
        """The agent ends its session, and so the servers' are ended."""

        async def end(server: str) -> None:
            caller = _listener(grant, backends[server], bundle.opened[server].session)
            try:
                async with asyncio.timeout(_ACKNOWLEDGED_SECONDS):
                    answer = await backends[server].upstream.send(caller.without_body("DELETE"))
                    await answer.aclose()
            except (NotSent, OutcomeUnknown, TimeoutError) as error:
                log.info("session.not_ended", server=server, error=str(error))

        opened = [server for server in bundle.opened if server in backends]
        await asyncio.gather(*(end(server) for server in opened))

    async def listen(self, incoming: AggregateRequest) -> None:
        """subscriptions/listen (2026-07-28): every server's part of it on one stream."""
        wanted = (incoming.message.params or {}).get("notifications")
        wanted = wanted if isinstance(wanted, dict) else {}
        stream = EventStream(incoming.send)
        listening = _Listening(stream, incoming.message.id, set(incoming.backends))
        tasks: list[asyncio.Task[None]] = []
        try:
            async with cancel_on_disconnect(incoming.receive), leave_when_set(self._stopping):
                parts = await self._parts(incoming, wanted)
                for server, part in parts.items():
                    asked = await incoming.part(server, incoming.asking(notifications=part))
                    work = self._listen(asked, listening)
                    tasks.append(asyncio.create_task(work, name=f"listen {server}"))
                await listening.begin()
                await _kept_alive(stream)
        except AgentGone:
            return
        finally:
            await _ended(tasks)
        await stream.end()

    async def _parts(
        self, incoming: AggregateRequest, wanted: dict[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """What of the subscription is each server's: of resources and tasks, its own."""
        grant = incoming.grant.id
        common = {key: wanted[key] for key in _FLAGS if key in wanted}
        parts = {server: dict(common) for server in incoming.backends}
        for uri in _texts(wanted.get("resourceSubscriptions")):
            owner = self._owners.owner(grant, uri)
            if isinstance(owner, str) and owner in parts:
                parts[owner].setdefault("resourceSubscriptions", []).append(uri)
        for task in _texts(wanted.get("taskIds")):
            server = await self._tasks.server(grant, task)
            if server in parts:
                parts[server].setdefault("taskIds", []).append(task)
        return parts

    async def _listen(self, asked: AgentRequest, listening: _Listening) -> None:
        """One server's part, as at its own URL; what is no event of a stream is no news."""
        server, cutter = asked.caller.backend.name, Blocks(self._max_block)

        async def send(event: Any) -> None:
            for block in cutter.feed(event.get("body", b"")):
                await listening.take(server, block)

        try:
            await self._dispatch.post(replace(asked, receive=_never, send=send))
        except EventTooLarge:
            log.info("server.stream_broken", server=server)
        finally:
            listening.over(server)

    async def _pump(
        self, grant: Grant, backend: Backend, bundle: AggregateSession, stream: EventStream
    ) -> None:
        """One server's GET stream, come back to when it breaks; its end is a server without one."""
        while (opened := bundle.opened.get(backend.name)) is not None:
            try:
                caller = _listener(grant, backend, opened.session)
                answer = await backend.upstream.send(caller.without_body("GET", last_event=""))
                if answer.content_type != "text/event-stream":
                    await answer.aclose()
                    return
                async with aclosing(self._passed(answer)) as events:
                    async for passed in events:
                        told = self._dispatch.heard(caller, passed)
                        await stream.raw(ids_to_agent(backend.name, told, bundle.tokens))
            except (NotSent, OutcomeUnknown, EventTooLarge) as error:
                log.info("server.stream_broken", server=backend.name, error=str(error))
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _passed(self, answer: Answer) -> AsyncGenerator[Passed, None]:
        sieve = ResponseFilter(None, limit=self._max_block, resumable=True)
        try:
            if answer.content_type == "text/event-stream":
                async for chunk in answer.body():
                    for passed in await sieve.sift(chunk):
                        yield passed
        finally:
            await answer.aclose()


@dataclass(slots=True)
class _Listening:
    """One agent's subscription: what servers say waits until all, or enough, have agreed to it."""

    stream: EventStream
    rpc_id: str | int | None
    awaited: set[str]  # servers that have neither agreed nor failed yet
    begun: bool = False
    agreed: dict[str, Any] = field(default_factory=dict)
    waiting: list[bytes] = field(default_factory=list)
    all_agreed: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, server: str, block: bytes) -> None:
        """One block of a server's stream."""
        message = _message(block)
        if message is None:
            return
        if message.get("method") == _ACKNOWLEDGED:
            self._agree(message)
            self.over(server)
        elif "method" not in message:
            return  # the server's own end of it; the others go on
        elif self.begun:
            await self.stream.raw(block)
        else:
            self.waiting.append(block)

    def over(self, server: str) -> None:
        """One server less to wait for."""
        self.awaited.discard(server)
        if not self.awaited:
            self.all_agreed.set()

    async def begin(self) -> None:
        """Tell the agent what was agreed to, then what came meanwhile."""
        try:
            async with asyncio.timeout(_ACKNOWLEDGED_SECONDS):
                await self.all_agreed.wait()
        except TimeoutError:
            log.info("listen.late")
        params = {"notifications": self.agreed, "_meta": {_SUBSCRIPTION: self.rpc_id}}
        told = {"jsonrpc": "2.0", "method": _ACKNOWLEDGED, "params": params}
        await self.stream.message(json.dumps(told).encode())
        self.begun = True
        for block in self.waiting:
            await self.stream.raw(block)
        self.waiting.clear()

    def _agree(self, message: dict[str, Any]) -> None:
        params = message.get("params")
        part = params.get("notifications") if isinstance(params, dict) else None
        for key, value in part.items() if isinstance(part, dict) else ():
            if key in _FLAGS:
                self.agreed[key] = bool(value) or self.agreed.get(key, False)
            elif isinstance(value, list):
                known = self.agreed.setdefault(key, [])
                known += [one for one in value if one not in known]


def _message(block: bytes) -> dict[str, Any] | None:
    for found in SseParser().feed(block):
        try:
            message = json.loads(found.data or b"null")
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict):
            return message
    return None


def _texts(value: Any) -> list[str]:
    found = value if isinstance(value, list) else []
    return [one for one in found[:_MOST_NAMED] if isinstance(one, str)]


def _listener(grant: Grant, backend: Backend, session: Session) -> Caller:
    """The agent as it listens in one server's session."""
    return Caller(
        grant=grant,
        backend=backend,
        modern=False,
        revision=session.protocol,
        session=session,
        envelope={},
    )


async def _never() -> Any:
    """ASGI `receive` of one who does not hang up: the agent's own is watched already."""
    await asyncio.Event().wait()


async def _kept_alive(stream: EventStream) -> None:
    """Hold the stream open, with a sign of life now and then."""
    await stream.start()
    while True:
        await asyncio.sleep(_PING_SECONDS)
        await stream.ping()


async def _ended(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
