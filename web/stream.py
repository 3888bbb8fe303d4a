"""The live stream: what changed, as facts (sequence, id, kind), never as content. One reader of the
history serves every viewer; a viewer that does not read overflows into `resync` and costs no one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy import Connection, column, func, or_, select, table, text
from sse_starlette import EventSourceResponse, ServerSentEvent

from approvals.record.clock import Clock
from approvals.record.database import Database, RecordUnavailable
from approvals.record.tables import RARE
from web.context import PageContext
from web.problems import ApiProblem

log = logging.getLogger(__name__)

REPLAY = 500
"""Most events a returning viewer is told one by one; with more behind it, it reads again."""
BOUND = 256
"""Most events kept for a viewer that does not read."""
LONGEST_SEQ = 18
"""Digits of the largest cursor that is believed."""
VIEWERS = 4000
"""Most streams of one process."""
_SCAN = 200_000  # rows of history a replay may look through

_history = table("history", column("seq"), column("event"), column("approval_id"))
_news = (
    *("frozen", "thawed", "policy_loaded", "policy_refused"),
    *("policy_waiting", "policy_closed", "policy_confirmed"),
)
_ends = ("reviewer_removed", "reviewer_added", "credentials_revoked")
"""After which someone who looks on may have to stop: removed, of another role, signed out."""


@dataclass(frozen=True, slots=True)
class StreamChange:
    """One row of the history, as much of it as a stream may tell."""

    seq: int
    approval_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class StreamSpan:
    """What lies between a cursor and the head. `changes` None: too much to tell one by one.
    `people`: whether someone's right to look on may have changed.
    """

    head: int
    changes: tuple[StreamChange, ...] | None
    people: bool = False


def read_span(connection: Connection, after: int) -> StreamSpan:
    """The changes with a higher sequence number than `after`, and the head of the history."""
    head = int(connection.execute(select(func.max(_history.c.seq))).scalar() or 0)
    if after > head or head - after > _SCAN:
        return StreamSpan(head, () if after == head else None)
    ended = select(_history.c.seq).where(
        _history.c.seq > after, _history.c.event.in_(_ends), text(RARE)
    )
    people = connection.execute(ended.limit(1)).first() is not None
    rows = connection.execute(
        select(_history.c.seq, _history.c.approval_id, _history.c.event)
        .where(_history.c.seq > after, _history.c.seq <= head)
        .where(or_(_history.c.approval_id.is_not(None), _history.c.event.in_(_news)))
        .order_by(_history.c.seq)
        .limit(REPLAY + 1)
    ).all()
    if len(rows) > REPLAY:
        return StreamSpan(head, None, people)
    return StreamSpan(
        head, tuple(StreamChange(row[0], row[1] or "", row[2]) for row in rows), people
    )


class Watcher:
    """One open stream's mailbox. Bounded; what does not fit becomes one `resync`."""

    def __init__(self) -> None:
        self._changes: deque[StreamChange] = deque()
        self._lost = False
        self._ring = asyncio.Event()

    def offer(self, changes: tuple[StreamChange, ...] | None) -> None:
        if changes is None or len(self._changes) + len(changes) > BOUND:
            self._changes.clear()
            self._lost = True
        elif not self._lost:
            self._changes.extend(changes)
        self._ring.set()

    async def take(self, within: float) -> tuple[StreamChange, ...] | None:
        """What came in `within` seconds, perhaps nothing. None: look at everything again."""
        with anyio.move_on_after(within):
            await self._ring.wait()
        self._ring.clear()
        lost, self._lost = self._lost, False
        taken = tuple(self._changes)
        self._changes.clear()
        return None if lost else taken


class LiveFeed:
    """Everybody who looks on. Reads the history while at least one does."""

    def __init__(
        self, database: Database, clock: Clock, *, poll: float = 0.2, beat: float = 15
    ) -> None:
        self._database = database
        self._clock = clock
        self._poll = poll
        self._beat = beat
        self._viewers: set[Watcher] = set()
        self._head = 0
        self._people = 0  # how often someone's right to look on may have changed
        self._readable = True
        self._reader: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def respond(
        self, after: int | None, still: Callable[[], Awaitable[bool]]
    ) -> EventSourceResponse:
        """The stream from a cursor on; `still` says whether this viewer may go on looking."""
        return EventSourceResponse(self.events(after, still), ping=0, send_timeout=10, sep="\n")

    async def events(
        self, after: int | None, still: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[ServerSentEvent]:
        viewer, head = await self._join()
        loop = asyncio.get_running_loop()
        asked, asked_at = self._people, loop.time()
        try:
            yield self._pulse()
            span = await self._since(after, head)
            for event in _told(span.changes, span.head):
                yield event
            while True:
                changes = await viewer.take(self._beat)
                if self._reader is None or self._reader.done():
                    return  # no one reads for this viewer: its browser comes back by itself
                # However much happens: no one is told more after being removed.
                if changes == () or asked != self._people or loop.time() - asked_at >= self._beat:
                    asked, asked_at = self._people, loop.time()
                    if not await still():
                        yield ServerSentEvent(event="bye", data="{}")
                        return
                if changes == () and self._readable:  # silence tells the page that it is stale
                    yield self._pulse()
                for event in _told(changes, self._head):
                    yield event
        finally:
            self._leave(viewer)

    def _pulse(self) -> ServerSentEvent:
        data = json.dumps({"now": self._clock.now()})
        return ServerSentEvent(event="beat", data=data, retry=2000)

    async def _since(self, after: int | None, head: int) -> StreamSpan:
        """What a viewer with this cursor missed up to `head`, from where its mailbox goes on."""
        if after is None or after == head:
            return StreamSpan(head, ())
        try:
            span = await self._database.read(lambda connection: read_span(connection, after))
        except RecordUnavailable:
            return StreamSpan(head, None)
        if span.changes is None:
            return StreamSpan(head, None)
        return StreamSpan(head, tuple(change for change in span.changes if change.seq <= head))

    async def _join(self) -> tuple[Watcher, int]:
        async with self._opening:
            if self._reader is None or self._reader.done():
                span = await self._database.read(lambda connection: read_span(connection, 2**62))
                self._head = span.head
                self._reader = asyncio.create_task(self._read(), name="stream")
        viewer = Watcher()
        self._viewers.add(viewer)
        return viewer, self._head

    def _leave(self, viewer: Watcher) -> None:
        self._viewers.discard(viewer)

    async def _read(self) -> None:
        """Tells every viewer what is new, until no one looks on."""
        idle = 0
        while True:
            await asyncio.sleep(self._poll)
            idle = 0 if self._viewers else idle + 1
            if idle * self._poll >= 1:
                return
            try:
                await self._look()
                self._readable = True
            except RecordUnavailable as error:
                self._readable = False
                log.warning("stream.record_unavailable", extra={"error": type(error).__name__})

    async def _look(self) -> None:
        after = self._head
        span = await self._database.read(lambda connection: read_span(connection, after))
        self._head = span.head
        self._people += span.people or span.changes is None
        if span.changes is None or span.changes or span.people:
            for viewer in self._viewers:
                viewer.offer(span.changes)


def _told(changes: tuple[StreamChange, ...] | None, head: int) -> list[ServerSentEvent]:
    if changes is None:
        return [ServerSentEvent(event="resync", id=str(head), data=json.dumps({"seq": head}))]
    return [
        ServerSentEvent(
            event="change",
            id=str(change.seq),
            # json.dumps escapes every line break and control character: no event can be forged.
            data=json.dumps(
                {"seq": change.seq, "id": change.approval_id, "kind": change.kind},
                ensure_ascii=True,
            ),
        )
        for change in changes
    ]


def stream_router(context: PageContext, stream: LiveFeed) -> APIRouter:
    routes = APIRouter()

    @routes.get("/events")
    async def events(
        request: Request, after: Annotated[int | None, Query(ge=0)] = None
    ) -> Response:
        """Changes as they happen. `Last-Event-ID`, else `after`, says where to go on."""
        await context.sessions.of_api(request)
        last = request.headers.get("last-event-id", "")
        cursor = (
            int(last) if last.isascii() and last.isdigit() and len(last) <= LONGEST_SEQ else after
        )
        if stream.viewers >= VIEWERS:
            raise ApiProblem(503, "too_many_viewers", "Too many pages are open.")

        async def still() -> bool:
            try:
                return await context.sessions.of_api(request) is not None
            except (ApiProblem, RecordUnavailable) as error:
                return isinstance(error, RecordUnavailable)

        return stream.respond(cursor, still)

    return routes
