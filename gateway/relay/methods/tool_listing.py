"""How the gateway itself learns which tools a server has: it asks in the agent's own session, when
what it knows is stale and again before an approved call runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from http import HTTPStatus
from typing import Any

import structlog

from gateway.enforcement.catalogue import Catalogue
from gateway.protocol.message import CAPABILITIES_KEY, CLIENT_KEY, VERSION_KEY
from gateway.relay.agents.request import Caller
from gateway.relay.methods.pinned_lists import ListingFailed, PinnedLists, read_list
from gateway.relay.upstreams.reading import read_response
from gateway.relay.upstreams.upstream import (
    NotSent,
    OutcomeUnknown,
    Request,
    Unconfirmed,
    new_request_id,
)

log = structlog.get_logger()

TOOLS_CHANGED = b"notifications/tools/list_changed"
"""Bytes that mark the notification that a server's tools changed (server/tools)."""

WAIT_SECONDS = 5.0
"""For which a call that found its server's tools stale waits for them to be listed."""

_LISTING_SECONDS = 30.0  # then the listing itself is given up; later calls may find it made
_OTHERS_SECONDS = 1.0  # for a listing in another agent's session, before one in the own begins
_MOST_PAGES = 100
_ENVELOPE = (VERSION_KEY, CAPABILITIES_KEY, CLIENT_KEY)


class _Asking:
    """One listing under way, in one session."""

    def __init__(self) -> None:
        self.open = asyncio.Event()  # the process or session it needs is there
        self.task: asyncio.Task[list[Any]] | None = None

    async def over(self, seconds: float) -> bool:
        """Whether it is made, waiting so long once what it needs is open.

        Raises:
            ListingFailed: it came to nothing.
        """
        task = self.task
        if task is None:
            raise RuntimeError("a listing has a task")
        opened = asyncio.create_task(self.open.wait())
        try:
            await asyncio.wait({task, opened}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            task.result()
        return task.done()


class ToolListing:
    """Makes listings of servers' tools and knows how old they are."""

    def __init__(
        self,
        *,
        pinned: PinnedLists,
        catalogue: Catalogue,
        max_result: int,
        max_listing: int,
        refresh_seconds: float,
    ) -> None:
        """`max_listing`: bytes of all pages of one listing together."""
        self.pinned = pinned
        self._catalogue = catalogue
        self._max_result = max_result
        self.most_bytes = max_listing
        self._refresh_seconds = refresh_seconds
        self._asking: dict[tuple[str, str, str], _Asking] = {}  # by server, grant and session
        self._made_at: dict[str, float] = {}  # when a server's last whole listing began; monotonic
        self._background: dict[str, asyncio.Task[None]] = {}

    def made(self, server: str, *, began: float) -> None:
        """An agent was given the server's whole list, asked for at this monotonic time."""
        self._made_at[server] = began

    async def ensure(self, caller: Caller, *, fresh: bool = False) -> None:
        """Make sure the server's tools are known as they are now; with `fresh`, ask now. Who finds
        them stale waits for one listing with all others who do.

        Raises:
            ListingFailed: they are not, and the server did not say in time.
        """
        name = caller.backend.name
        if fresh:
            await _made(self._asked(caller, shared=False))
        elif not self._fresh(name, self._catalogue.changes(name)):
            await self._catch_up(caller)

    def _fresh(self, name: str, changes: int) -> bool:
        """Whether a listing that began after so many changes is young enough."""
        made_at = self._made_at.get(name)
        return (
            made_at is not None
            and time.monotonic() - made_at <= self._refresh_seconds
            and self._catalogue.fresh(name, changes)
        )

    async def _catch_up(self, caller: Caller) -> None:
        """Wait for a listing that began after every change known now. One in another session is
        waited for first, but not long: whose it is may be slow on purpose.
        """
        name = caller.backend.name
        changes = self._catalogue.changes(name)
        other = next((one for key, one in self._asking.items() if key[0] == name), None)
        if other is not None and self._key(caller) not in self._asking:
            with contextlib.suppress(ListingFailed):
                await other.over(_OTHERS_SECONDS)
        for _ in range(2):  # the first may have begun before the last change
            if self._fresh(name, changes):
                return
            await _made(self._asked(caller))
        if not self._fresh(name, changes):
            raise ListingFailed(why="its tools change while they are listed")

    def changed(self, caller: Caller) -> None:
        """The server says that its tools changed: no call is judged before they are listed again.
        They are at once, by ourselves, so that people see it; but not without a pause.
        """
        name = caller.backend.name
        self._catalogue.outdated(name)
        if name not in self._background:
            task = asyncio.create_task(self._refresh(caller), name=f"listing {name}")
            self._background[name] = task
            task.add_done_callback(lambda _: self._background.pop(name, None))

    async def _refresh(self, caller: Caller) -> None:
        try:
            await self._catch_up(caller)
        except ListingFailed as error:
            log.warning("server.listing_failed", server=caller.backend.name, error=str(error))
        await asyncio.sleep(WAIT_SECONDS)
        if not self._catalogue.fresh(
            caller.backend.name, self._catalogue.changes(caller.backend.name)
        ):
            with contextlib.suppress(ListingFailed):
                await self._catch_up(caller)

    async def offered(self, caller: Caller) -> list[dict[str, Any]]:
        """The server's tools as its agents may see them, asked for now; the gateway's own is not
        among them.

        Raises:
            ListingFailed: the server did not say.
        """
        asking = self._asked(caller)
        await _made(asking)
        listed = asking.task.result() if asking.task is not None else []
        return self.pinned.visible(caller.backend.name, "tool", listed)

    def _asked(self, caller: Caller, *, shared: bool = True) -> _Asking:
        """The listing under way in this caller's session, begun where there is none. One that is
        not `shared` begins now, whatever is under way.
        """
        key = self._key(caller)
        if shared and key in self._asking:
            return self._asking[key]
        asking = _Asking()
        asking.task = task = asyncio.create_task(
            self._ask(caller, asking), name=f"listing {caller.backend.name}"
        )
        if key not in self._asking:
            self._asking[key] = asking
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        task.add_done_callback(_heard)
        return asking

    def _key(self, caller: Caller) -> tuple[str, str, str]:
        session = caller.session.mark if caller.session is not None else ""
        return (caller.backend.name, caller.grant.id, session)

    async def _ask(self, caller: Caller, asking: _Asking) -> list[Any]:
        """Every tool the server lists, which is taken note of.

        Raises:
            ListingFailed: it does not list them, or more than the gateway takes up.
        """
        name = caller.backend.name
        first = self._request(caller, None)
        await caller.backend.upstream.ready(first)
        asking.open.set()
        changes, began = self._catalogue.changes(name), time.monotonic()
        try:
            async with asyncio.timeout(_LISTING_SECONDS):
                tools = await self._pages(caller, first)
        except (NotSent, OutcomeUnknown, TimeoutError) as error:
            waits = isinstance(error, Unconfirmed)
            raise ListingFailed(why=f"{type(error).__name__}: {error}", waits=waits) from error
        await self.pinned.observe(name, "tool", tools, complete=True, changes=changes)
        # Another process may have settled, or quarantined, what this one saw nothing of.
        await self._catalogue.load(name)
        self._made_at[name] = began
        return tools

    async def _pages(self, caller: Caller, request: Request) -> list[Any]:
        tools: list[Any] = []
        cursors: set[str] = set()
        room = self.most_bytes
        for _ in range(_MOST_PAGES):
            page, size = await self._page(caller, request, min(room, self._max_result))
            tools += page["tools"]
            room -= size
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str) or cursor in cursors:  # it goes round in a circle
                return tools
            cursors.add(cursor)
            request = self._request(caller, cursor)
        raise ListingFailed(why=f"more than {_MOST_PAGES} pages")

    def _request(self, caller: Caller, cursor: str | None) -> Request:
        params = {} if cursor is None else {"cursor": cursor}
        return caller.own_request(new_request_id(), "tools/list", params, meta=_ENVELOPE)

    async def _page(
        self, caller: Caller, request: Request, limit: int
    ) -> tuple[dict[str, Any], int]:
        """One page, and its size in bytes."""
        if request.rpc_id is None:
            raise RuntimeError("a request has an id")
        answer = await caller.backend.upstream.send(request)
        try:
            if answer.status != HTTPStatus.OK:
                raise ListingFailed(answer.status)
            response = await read_response(answer, request.rpc_id, limit=limit)
            listed = await read_list(response.body, "tools/list")
        finally:
            await answer.aclose()
        if listed is None:
            raise ListingFailed(answer.status, "it answered with an error")
        return listed, len(response.body)


async def _made(asking: _Asking) -> None:
    """Wait until the listing is made.

    Raises:
        ListingFailed: it came to nothing, or not in time.
    """
    if not await asking.over(WAIT_SECONDS):
        raise ListingFailed(why=f"no list of tools within {WAIT_SECONDS:g} s")


def _heard(task: asyncio.Task[list[Any]]) -> None:
    """Everybody who waited may be gone: an exception then is no one's to hear."""
    if not task.cancelled():
        task.exception()
