"""Lists of tools, prompts and resource templates: what this agent may see, and how the gateway
itself learns which tools there are.

Whatever the server says, an agent sees what is pinned: a changed definition reaches no one before
a person accepted it. Hidden tools are taken out, the gateway's own is put in where a call may be
held. The gateway asks by itself, in the agent's own session, when what it knows is stale and
again before an approved call runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from approvals.digest import canonical
from approvals.pins import Kind
from gateway.enforcement import refusal_texts
from gateway.enforcement.catalogue import Catalogue, TooManyNames, named
from gateway.enforcement.guard import Guard
from gateway.enforcement.refusal_texts import AWAIT_TOOL
from gateway.enforcement.refusals import Refusal
from gateway.protocol.jsonrpc import encode, error_body
from gateway.protocol.message import CAPABILITIES_KEY, CLIENT_KEY, VERSION_KEY
from gateway.protocol.routing_headers import outbound_headers
from gateway.protocol.sse import EventTooLarge
from gateway.protocol.strict_json import BadJson, strict_loads
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect
from gateway.relay.agents.request import Visit
from gateway.relay.agents.response import EventStream, reply
from gateway.relay.upstreams.reading import Garbage, handed_down, read_json, read_response
from gateway.relay.upstreams.response_filter import Passed, ResponseFilter
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Request, Unconfirmed

log = structlog.get_logger()

TOOLS_CHANGED = b"notifications/tools/list_changed"
"""Stands in what a server says when its tools changed (server/tools)."""

WAIT_SECONDS = 5.0
"""For which a call that found its server's tools stale waits for them to be listed."""

_LISTING_SECONDS = 30.0  # then the listing itself is given up; later calls may find it made
_OTHERS_SECONDS = 1.0  # for a listing in another agent's session, before one in the own begins
_MOST_PAGES = 100
_LARGE = 16 * 1024  # bytes of foreign text; more is not read on the event loop
_DEPTH = 128  # schemas nest deeper than arguments do

_OF_A_PROMPT = ("prompts/get", "completion/complete")

LISTS: Mapping[str, tuple[Kind, str]] = {
    "tools/list": ("tool", "tools"),
    "prompts/list": ("prompt", "prompts"),
    "resources/templates/list": ("template", "resourceTemplates"),
}
"""Method of a pinned list to what it lists and the member of its result that holds it."""

AWAIT_DEFINITION: Mapping[str, Any] = {
    "name": AWAIT_TOOL,
    "title": "Wait for an approval",
    "description": (
        "Waits until a person has decided on a held call, then returns that call's own result. "
        "Use it with the approval_id of a 'Not executed yet' answer."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {"approval_id": {"type": "string", "description": "apr_…"}},
        "required": ["approval_id"],
        "additionalProperties": False,
    },
    "annotations": {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
}


class ListingFailed(Exception):
    """The server did not say which tools it has; carries the HTTP status it gave, or 0. `waits`: it
    was not asked, for no one has confirmed how it is started or reached.
    """

    def __init__(self, status: int = 0, why: str = "", *, waits: bool = False) -> None:
        super().__init__(why or f"HTTP {status}")
        self.status = status
        self.waits = waits


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


class Listing:
    """Serves and makes listings."""

    def __init__(
        self,
        *,
        guard: Guard,
        catalogue: Catalogue,
        max_result: int,
        max_listing: int,
        refresh_seconds: float,
    ) -> None:
        """`max_listing`: bytes of all pages of one listing together."""
        self._guard = guard
        self._catalogue = catalogue
        self._max_result = max_result
        self.most_bytes = max_listing
        self._refresh_seconds = refresh_seconds
        self._asking: dict[tuple[str, str, str], _Asking] = {}  # by server, grant and session
        self._made_at: dict[str, float] = {}  # when a server's last whole listing began; monotonic
        self._background: dict[str, asyncio.Task[None]] = {}

    async def serve(self, visit: Visit) -> None:
        """Answer an agent's request for one of the pinned lists."""
        message = visit.message
        if message.id is None:
            raise RuntimeError("a request has an id")
        changes, began = self._catalogue.changes(visit.backend.name), time.monotonic()
        headers = dict(outbound_headers(visit.protocol, message.method, message.params or {}))
        request = visit.request(encode(message), headers=headers if visit.modern else {})
        try:
            answer = await visit.backend.upstream.send(request)
            try:
                if answer.status != 200:  # noqa: PLR2004 - HTTP
                    body = await read_json(answer, self._max_result)
                    await reply(visit.send, *handed_down(answer.status, body, message.id))
                    return
                if answer.content_type == "text/event-stream":
                    await self._serve_stream(visit, answer)
                    return
                response = await read_response(answer, message.id, limit=self._max_result)
            finally:
                await answer.aclose()
            listed = await _read(response.body, message.method)
            if listed is None:  # an error of the server's own
                await reply(visit.send, 200, response.body)
                return
            told = await self._told(visit, message.id, listed, changes=changes, began=began)
        except (NotSent, OutcomeUnknown, ListingFailed) as error:
            log.warning("server.listing_failed", server=visit.backend.name, error=str(error))
            text = (
                refusal_texts.unconfirmed()
                if isinstance(error, Unconfirmed)
                else f"The server behind the gateway did not list its {_plural(message.method)}"
            )
            await reply(visit.send, 502, error_body(message.id, -32603, text))
            return
        await reply(visit.send, 200, told)

    async def _serve_stream(self, visit: Visit, answer: Answer) -> None:
        """Hand a listing down as a stream, since that is what the server made of it: what it says
        on the way passes as it is, and only the list itself is ours.

        Raises:
            Garbage: the stream had nothing in it, or nothing that can be read.
            ListingFailed: the list in it is none that counts.
        """
        stream = EventStream(visit.send)
        sieve = ResponseFilter(
            visit.message.id,
            token=visit.message.meta.get("progressToken"),
            limit=self._max_result,
            resumable=not visit.modern,
        )
        try:
            async with cancel_on_disconnect(visit.receive):
                async for chunk in answer.body():
                    for passed in await sieve.sift(chunk):
                        await stream.raw(await self._listed(visit, passed))
        except AgentGone:
            return
        except (OutcomeUnknown, EventTooLarge, ListingFailed) as error:
            if not stream.started:
                raise Garbage("a list as a stream") from error
            log.warning("server.listing_failed", server=visit.backend.name, error=str(error))
        if not stream.started:
            raise Garbage("an empty stream")
        await stream.end()

    async def _listed(self, visit: Visit, passed: Passed) -> bytes:
        """One event of the stream; the response's comes back filtered."""
        rpc_id, data = visit.message.id, passed.event.data
        if rpc_id is None or data is None or not passed.own:
            return passed.encoded()
        listed = await _read(data, visit.message.method)
        if listed is None:
            return passed.encoded()
        told = replace(passed.event, data=await self._told(visit, rpc_id, listed))
        return replace(passed, event=told).encoded()

    async def _told(
        self,
        visit: Visit,
        rpc_id: str | int,
        listed: dict[str, Any],
        *,
        changes: int | None = None,
        began: float | None = None,
    ) -> bytes:
        """The response an agent gets for a listing, which is taken note of.

        Raises:
            ListingFailed: it lists more than the gateway takes up.
        """
        kind, member = LISTS[visit.message.method]
        first = (visit.message.params or {}).get("cursor") is None
        whole = first and not isinstance(listed.get("nextCursor"), str)
        name = visit.backend.name
        await self._observe(name, kind, listed[member], complete=whole, changes=changes)
        if whole and kind == "tool" and began is not None:
            self._made_at[name] = began
        shown = self._shown(name, visit.message.method, listed, modern=visit.modern)
        return canonical({"jsonrpc": "2.0", "id": rpc_id, "result": shown})

    def resumed(self, server: str, passed: Passed) -> bytes:
        """One event of a stream that an agent came back to: a list in it is shown as pinned, and so
        are the server's instructions.
        """
        result = passed.message.get("result") if passed.message is not None else None
        if not isinstance(result, dict) or self._as_pinned(server, result) is None:
            return passed.encoded()
        try:
            message = strict_loads(passed.event.data or b"{}", max_depth=_DEPTH)
        except BadJson:
            return b""  # what cannot be read cannot be filtered
        message["result"] = self._as_pinned(server, message["result"])
        told = replace(passed.event, data=canonical(message))
        return replace(passed, event=told).encoded()

    def _as_pinned(self, server: str, result: dict[str, Any]) -> dict[str, Any] | None:
        """A result with what is pinned in place of what the server says; None: nothing in it is."""
        for method, (_, member) in LISTS.items():
            if isinstance(result.get(member), list):
                return self._shown(server, method, result, modern=False)
        if "serverInfo" in result or "supportedVersions" in result:
            return _instructed(result, self._pinned_instructions(server, result))
        return None

    async def instructed(self, server: str, result: dict[str, Any]) -> dict[str, Any]:
        """What a server says of itself (`initialize`, `server/discover`), with its instructions as
        they are pinned, which are taken note of.
        """
        words = result.get("instructions")
        said = words if isinstance(words, str) else ""
        if said or self._catalogue.pin(server, "instructions", "") is None:
            # Silence is pinned too: words that come later are a change.
            await self._observe(server, "instructions", [{"instructions": said}], complete=False)
        return _instructed(result, self._pinned_instructions(server, result))

    def _pinned_instructions(self, server: str, result: dict[str, Any]) -> str:
        pin = self._catalogue.pin(server, "instructions", "")
        words = pin.definition.get("instructions") if pin and result.get("instructions") else ""
        return words if isinstance(words, str) else ""

    def withheld(self, visit: Visit) -> Refusal | None:
        """What the agent is told of a prompt that the server changed and no one accepted yet."""
        params = visit.message.params or {}
        subject = params if visit.message.method == "prompts/get" else params.get("ref")
        name = subject.get("name") if isinstance(subject, dict) else None
        if visit.message.method not in _OF_A_PROMPT or not isinstance(name, str):
            return None
        pin = self._catalogue.pin(visit.backend.name, "prompt", name)
        return self._guard.rules.changed_prompt() if pin is not None and pin.quarantined else None

    async def pinned(
        self, server: str, method: str, items: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """A whole list of prompts or templates as agents may see it, which is taken note of.

        Raises:
            ListingFailed: it lists more than the gateway takes up.
        """
        kind, _ = LISTS[method]
        await self._observe(server, kind, items, complete=True)
        return self._visible(server, kind, items)

    async def ensure(self, visit: Visit, *, fresh: bool = False) -> None:
        """Make sure the server's tools are known as they are now; with `fresh`, ask now. Who finds
        them stale waits for one listing with all others who do.

        Raises:
            ListingFailed: they are not, and the server did not say in time.
        """
        name = visit.backend.name
        if fresh:
            await _made(self._asked(visit, shared=False))
        elif not self._fresh(name, self._catalogue.changes(name)):
            await self._catch_up(visit)

    def _fresh(self, name: str, changes: int) -> bool:
        """Whether a listing that began after so many changes is young enough."""
        made_at = self._made_at.get(name)
        return (
            made_at is not None
            and time.monotonic() - made_at <= self._refresh_seconds
            and self._catalogue.fresh(name, changes)
        )

    async def _catch_up(self, visit: Visit) -> None:
        """Wait for a listing that began after every change known now. One in another session is
        waited for first, but not long: whose it is may be slow on purpose.
        """
        name = visit.backend.name
        changes = self._catalogue.changes(name)
        other = next((one for key, one in self._asking.items() if key[0] == name), None)
        if other is not None and self._key(visit) not in self._asking:
            with contextlib.suppress(ListingFailed):
                await other.over(_OTHERS_SECONDS)
        for _ in range(2):  # the first may have begun before the last change
            if self._fresh(name, changes):
                return
            await _made(self._asked(visit))
        if not self._fresh(name, changes):
            raise ListingFailed(why="its tools change while they are listed")

    def changed(self, visit: Visit) -> None:
        """The server says that its tools changed: no call is judged before they are listed again.
        They are at once, by ourselves, so that people see it; but not without a pause.
        """
        name = visit.backend.name
        self._catalogue.outdated(name)
        if name not in self._background:
            task = asyncio.create_task(self._refresh(visit), name=f"listing {name}")
            self._background[name] = task
            task.add_done_callback(lambda _: self._background.pop(name, None))

    async def _refresh(self, visit: Visit) -> None:
        try:
            await self._catch_up(visit)
        except ListingFailed as error:
            log.warning("server.listing_failed", server=visit.backend.name, error=str(error))
        await asyncio.sleep(WAIT_SECONDS)
        if not self._catalogue.fresh(
            visit.backend.name, self._catalogue.changes(visit.backend.name)
        ):
            with contextlib.suppress(ListingFailed):
                await self._catch_up(visit)

    async def offered(self, visit: Visit) -> list[dict[str, Any]]:
        """The server's tools as its agents may see them, asked for now; the gateway's own is not
        among them.

        Raises:
            ListingFailed: the server did not say.
        """
        asking = self._asked(visit)
        await _made(asking)
        listed = asking.task.result() if asking.task is not None else []
        return self._visible(visit.backend.name, "tool", listed)

    def _asked(self, visit: Visit, *, shared: bool = True) -> _Asking:
        """The listing under way in this visit's session, begun where there is none. One that is
        not `shared` begins now, whatever is under way.
        """
        key = self._key(visit)
        if shared and key in self._asking:
            return self._asking[key]
        asking = _Asking()
        asking.task = task = asyncio.create_task(
            self._ask(visit, asking), name=f"listing {visit.backend.name}"
        )
        if key not in self._asking:
            self._asking[key] = asking
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        task.add_done_callback(_heard)
        return asking

    def _key(self, visit: Visit) -> tuple[str, str, str]:
        session = visit.session.mark if visit.session is not None else ""
        return (visit.backend.name, visit.grant.id, session)

    async def _ask(self, visit: Visit, asking: _Asking) -> list[Any]:
        """Every tool the server lists, which is taken note of.

        Raises:
            ListingFailed: it does not list them, or more than the gateway takes up.
        """
        name = visit.backend.name
        first = self._request(visit, None)
        await visit.backend.upstream.ready(first)
        asking.open.set()
        changes, began = self._catalogue.changes(name), time.monotonic()
        try:
            async with asyncio.timeout(_LISTING_SECONDS):
                tools = await self._pages(visit, first)
        except (NotSent, OutcomeUnknown, TimeoutError) as error:
            waits = isinstance(error, Unconfirmed)
            raise ListingFailed(why=f"{type(error).__name__}: {error}", waits=waits) from error
        await self._observe(name, "tool", tools, complete=True, changes=changes)
        # Another process may have settled, or quarantined, what this one saw nothing of.
        await self._catalogue.load(name)
        self._made_at[name] = began
        return tools

    async def _pages(self, visit: Visit, request: Request) -> list[Any]:
        tools: list[Any] = []
        cursors: set[str] = set()
        room = self.most_bytes
        for _ in range(_MOST_PAGES):
            page, size = await self._page(visit, request, min(room, self._max_result))
            tools += page["tools"]
            room -= size
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str) or cursor in cursors:  # it goes round in a circle
                return tools
            cursors.add(cursor)
            request = self._request(visit, cursor)
        raise ListingFailed(why=f"more than {_MOST_PAGES} pages")

    def _request(self, visit: Visit, cursor: str | None) -> Request:
        rpc_id = f"signoff-{secrets.token_hex(8)}"  # never one the agent would choose
        params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        headers: dict[str, str] = {}
        if visit.modern:
            meta = visit.message.meta
            params["_meta"] = {
                key: meta[key] for key in (VERSION_KEY, CAPABILITIES_KEY, CLIENT_KEY) if key in meta
            }
            headers = dict(outbound_headers(visit.protocol, "tools/list", params))
        body = canonical({"jsonrpc": "2.0", "id": rpc_id, "method": "tools/list", "params": params})
        return visit.request(body, rpc_method="tools/list", rpc_id=rpc_id, headers=headers)

    async def _page(self, visit: Visit, request: Request, limit: int) -> tuple[dict[str, Any], int]:
        """One page, and its size in bytes."""
        if request.rpc_id is None:
            raise RuntimeError("a request has an id")
        answer = await visit.backend.upstream.send(request)
        try:
            if answer.status != 200:  # noqa: PLR2004 - HTTP
                raise ListingFailed(answer.status)
            response = await read_response(answer, request.rpc_id, limit=limit)
            listed = await _read(response.body, "tools/list")
        finally:
            await answer.aclose()
        if listed is None:
            raise ListingFailed(answer.status, "it answered with an error")
        return listed, len(response.body)

    async def _observe(
        self,
        server: str,
        kind: Kind,
        items: list[Any],
        *,
        complete: bool,
        changes: int | None = None,
    ) -> None:
        try:
            await self._catalogue.observe(
                server,
                [item for item in items if isinstance(item, dict)],
                kind=kind,
                complete=complete,
                changes=changes,
            )
        except TooManyNames as error:
            log.warning("server.too_many_names", server=server, kind=kind, error=str(error))
            raise ListingFailed(why=str(error)) from error

    def _shown(
        self, server: str, method: str, listed: dict[str, Any], *, modern: bool
    ) -> dict[str, Any]:
        kind, member = LISTS[method]
        shown = {**listed, member: self._visible(server, kind, listed[member])}
        last = not isinstance(listed.get("nextCursor"), str)
        if last:
            shown.pop("nextCursor", None)  # some write null, which is no cursor
        if kind == "tool" and last and self._guard.rules.can_hold(server):
            shown["tools"].append(dict(AWAIT_DEFINITION))
        if kind == "tool" and modern:
            # What is listed depends on the grant and on a policy that may change at any moment.
            shown["cacheScope"] = "private"
            shown["ttlMs"] = 0
        return shown

    def _visible(self, server: str, kind: Kind, items: list[Any]) -> list[dict[str, Any]]:
        """What agents may see of these items: their pins, whatever the server says now."""
        shown: list[dict[str, Any]] = []
        for item in items:
            name = named(kind, item) if isinstance(item, dict) else None
            if name is None or (kind == "tool" and self._guard.rules.hidden(server, name)):
                continue
            pin = self._catalogue.pin(server, kind, name)
            if pin is not None:
                shown.append(dict(pin.definition))
        return shown


async def _made(asking: _Asking) -> None:
    """Wait until the listing is made.

    Raises:
        ListingFailed: it came to nothing, or not in time.
    """
    if not await asking.over(WAIT_SECONDS):
        raise ListingFailed(why=f"no list of tools within {WAIT_SECONDS:g} s")


def _plural(method: str) -> str:
    return "resource templates" if LISTS[method][0] == "template" else method.partition("/")[0]


def _instructed(result: dict[str, Any], words: str) -> dict[str, Any]:
    """A server's account of itself with these instructions, or none."""
    told = {key: value for key, value in result.items() if key != "instructions"}
    return {**told, "instructions": words} if words else told


def _heard(task: asyncio.Task[list[Any]]) -> None:
    """Everybody who waited may be gone: an exception then is no one's to hear."""
    if not task.cancelled():
        task.exception()


async def _read(body: bytes, method: str) -> dict[str, Any] | None:
    """The result of a list, strictly read; None: the server answered with an error.

    Raises:
        Garbage: it is neither.
    """
    if len(body) > _LARGE:
        return await asyncio.to_thread(_result, body, method)
    return _result(body, method)


def _result(body: bytes, method: str) -> dict[str, Any] | None:
    try:
        message = strict_loads(body, max_depth=_DEPTH)
    except BadJson as bad:
        raise Garbage(f"{method}: {bad.kind}") from bad
    result = message.get("result")
    if result is None:
        return None
    if not isinstance(result, dict) or not isinstance(result.get(LISTS[method][1]), list):
        raise Garbage(f"{method} without a list")
    return result
