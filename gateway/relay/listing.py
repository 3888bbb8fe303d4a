"""tools/list: what this agent may see, and how the gateway itself learns which tools there are.

Hidden tools are taken out, the gateway's own tool is put in where a call may be held, and every
whole listing is shown to the catalogue. The gateway asks by itself, in the agent's own session,
before the first call and again before an approved call runs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from approvals.clock import Clock
from approvals.digest import canonical
from gateway.catalogue import Catalogue
from gateway.guard import Guard
from gateway.headers import outbound_headers
from gateway.jsonrpc import encode, error_body
from gateway.message import CAPABILITIES_KEY, VERSION_KEY
from gateway.refusals import AWAIT_TOOL
from gateway.relay.exchange import Garbage, handed_down, read_json, read_response
from gateway.relay.response import EventStream, reply
from gateway.relay.sieve import Passed, Sieve
from gateway.relay.sse import EventTooLarge
from gateway.relay.upstream import Answer, NotSent, OutcomeUnknown
from gateway.relay.visit import Visit
from gateway.relay.watch import Gone, raising_gone
from gateway.strictjson import BadJson, strict_loads

log = structlog.get_logger()

TOOLS_CHANGED = b"notifications/tools/list_changed"
"""Stands in what a server says when its tools changed (server/tools)."""

_LISTING_SECONDS = 10.0
_MOST_CHANGES = 3  # during one listing; a server may say so without end
_MOST_PAGES = 100
_DEPTH = 128  # schemas nest deeper than arguments do

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
    """The server did not say which tools it has; carries the HTTP status it gave, or 0."""

    def __init__(self, status: int = 0) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Listing:
    """Serves and makes listings."""

    def __init__(
        self,
        *,
        guard: Guard,
        catalogue: Catalogue,
        clock: Clock,
        max_result: int,
        refresh_seconds: float,
    ) -> None:
        self._guard = guard
        self._catalogue = catalogue
        self._clock = clock
        self._max_result = max_result
        self._refresh_ms = int(refresh_seconds * 1000)
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._changes: dict[str, int] = {}  # how often a server said that its tools changed

    async def serve(self, visit: Visit) -> None:
        """Answer an agent's tools/list."""
        message = visit.message
        if message.id is None:
            raise RuntimeError("a request has an id")
        headers = dict(outbound_headers(visit.protocol, "tools/list", message.params or {}))
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
            listed = _tools(response.body)
        except (NotSent, OutcomeUnknown, ListingFailed) as error:
            log.warning("server.listing_failed", server=visit.backend.name, error=str(error))
            text = "The server behind the gateway did not list its tools"
            await reply(visit.send, 502, error_body(message.id, -32603, text))
            return
        if listed is None:  # an error of the server's own
            await reply(visit.send, 200, response.body)
            return
        await reply(visit.send, 200, await self._told(visit, message.id, listed))

    async def _serve_stream(self, visit: Visit, answer: Answer) -> None:
        """Hand a listing down as a stream, since that is what the server made of it: what it says
        on the way passes as it is, and only the list itself is ours.

        Raises:
            Garbage: the stream had nothing in it, or nothing that can be read.
        """
        stream = EventStream(visit.send)
        sieve = Sieve(
            visit.message.id,
            token=visit.message.meta.get("progressToken"),
            limit=self._max_result,
            resumable=not visit.modern,
        )
        try:
            async with raising_gone(visit.receive):
                async for chunk in answer.body():
                    for passed in await sieve.sift(chunk):
                        await stream.raw(await self._listed(visit, passed))
        except Gone:
            return
        except (OutcomeUnknown, EventTooLarge) as error:
            if not stream.started:
                raise Garbage("tools/list as a stream") from error
            log.warning("server.listing_failed", server=visit.backend.name, error=str(error))
        if not stream.started:
            raise Garbage("an empty stream")
        await stream.end()

    async def _listed(self, visit: Visit, passed: Passed) -> bytes:
        """One event of the stream; the response's comes back filtered."""
        rpc_id, data = visit.message.id, passed.event.data
        listed = _tools(data) if passed.own and data is not None else None
        if rpc_id is None or listed is None:
            return passed.encoded()
        told = replace(passed.event, data=await self._told(visit, rpc_id, listed))
        return replace(passed, event=told).encoded()

    async def _told(self, visit: Visit, rpc_id: str | int, listed: dict[str, Any]) -> bytes:
        """The response an agent gets for a listing, which is taken note of."""
        first = not (visit.message.params or {}).get("cursor")
        await self._observe(visit, listed, complete=first and "nextCursor" not in listed)
        shown = self._shown(visit.backend.name, listed, modern=visit.modern)
        return canonical({"jsonrpc": "2.0", "id": rpc_id, "result": shown})

    def resumed(self, server: str, passed: Passed) -> bytes:
        """One event of a stream that an agent came back to: a listing in it is filtered too."""
        result = passed.message.get("result") if passed.message is not None else None
        if not isinstance(result, dict) or not isinstance(result.get("tools"), list):
            return passed.encoded()
        try:
            message = strict_loads(passed.event.data or b"{}", max_depth=_DEPTH)
            message["result"] = self._shown(server, message["result"], modern=False)
        except BadJson:
            return b""  # what cannot be read cannot be filtered
        told = replace(passed.event, data=canonical(message))
        return replace(passed, event=told).encoded()

    async def ensure(self, visit: Visit, *, fresh: bool = False) -> None:
        """Make sure the server's tools are known; with `fresh`, ask now.

        Raises:
            ListingFailed: they are not known and the server did not say.
        """
        name = visit.backend.name
        listed_at = self._catalogue.listed_at(name)
        if fresh or listed_at is None:
            await self._ask(visit)
        elif self._clock.now() - listed_at > self._refresh_ms:
            self._soon(visit)

    def changed(self, visit: Visit) -> None:
        """The server says that its tools changed: they are listed now, by ourselves, and no call is
        judged before they are.
        """
        name = visit.backend.name
        self._changes[name] = self._changes.get(name, 0) + 1
        self._catalogue.outdated(name)
        self._soon(visit)

    def _soon(self, visit: Visit) -> None:
        """List the server's tools in a task of the gateway's own, one for each server."""
        name = visit.backend.name
        if name not in self._asking:
            task = asyncio.create_task(self._refresh(visit), name=f"listing {name}")
            self._asking[name] = task
            task.add_done_callback(lambda _: self._asking.pop(name, None))

    async def _refresh(self, visit: Visit) -> None:
        name = visit.backend.name
        try:
            for _ in range(_MOST_CHANGES):
                changes = self._changes.get(name, 0)
                await self._ask(visit)
                if self._changes.get(name, 0) == changes:
                    return
                self._catalogue.outdated(name)
        except ListingFailed as error:
            log.warning("server.listing_failed", server=visit.backend.name, error=str(error))

    async def offered(self, visit: Visit) -> list[dict[str, Any]]:
        """The server's tools as its agents may see them, asked for now; the gateway's own is not
        among them.

        Raises:
            ListingFailed: the server did not say.
        """
        listed = await self._ask(visit)
        return self._visible(visit.backend.name, listed)

    async def _ask(self, visit: Visit) -> list[Any]:
        tools: list[Any] = []
        cursor: str | None = None
        try:
            async with asyncio.timeout(_LISTING_SECONDS):
                for _ in range(_MOST_PAGES):
                    page = await self._page(visit, cursor)
                    tools += page["tools"]
                    cursor = page.get("nextCursor")
                    if not isinstance(cursor, str):
                        break
        except (NotSent, OutcomeUnknown, TimeoutError) as error:
            raise ListingFailed from error
        await self._observe(visit, {"tools": tools}, complete=True)
        return tools

    async def _page(self, visit: Visit, cursor: str | None) -> dict[str, Any]:
        rpc_id = f"signoff-{secrets.token_hex(8)}"  # never one the agent would choose
        params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        headers: dict[str, str] = {}
        if visit.modern:
            meta = visit.message.meta
            params["_meta"] = {
                key: meta[key] for key in (VERSION_KEY, CAPABILITIES_KEY) if key in meta
            }
            headers = dict(outbound_headers(visit.protocol, "tools/list", params))
        body = canonical({"jsonrpc": "2.0", "id": rpc_id, "method": "tools/list", "params": params})
        request = visit.request(body, rpc_method="tools/list", rpc_id=rpc_id, headers=headers)
        answer = await visit.backend.upstream.send(request)
        try:
            if answer.status != 200:  # noqa: PLR2004 - HTTP
                raise ListingFailed(answer.status)
            response = await read_response(answer, rpc_id, limit=self._max_result)
            listed = _tools(response.body)
        finally:
            await answer.aclose()
        if listed is None:
            raise ListingFailed(answer.status)
        return listed

    async def _observe(self, visit: Visit, listed: dict[str, Any], *, complete: bool) -> None:
        tools = [tool for tool in listed["tools"] if isinstance(tool, dict)]
        await self._catalogue.observe(
            visit.backend.name, tools, complete=complete, now=self._clock.now()
        )

    def _shown(self, server: str, listed: dict[str, Any], *, modern: bool) -> dict[str, Any]:
        shown = {**listed, "tools": self._visible(server, listed["tools"])}
        if "nextCursor" not in listed and self._guard.can_hold(server):
            shown["tools"].append(dict(AWAIT_DEFINITION))
        if modern:
            # What is listed depends on the grant and on a policy that may change at any moment.
            shown["cacheScope"] = "private"
            shown["ttlMs"] = 0
        return shown

    def _visible(self, server: str, tools: list[Any]) -> list[dict[str, Any]]:
        return [
            tool
            for tool in tools
            if isinstance(tool, dict) and not self._guard.hidden(server, tool.get("name"))
        ]


def _tools(body: bytes) -> dict[str, Any] | None:
    """The result of tools/list, strictly read; None: the server answered with an error."""
    try:
        message = strict_loads(body, max_depth=_DEPTH)
    except BadJson as bad:
        raise Garbage(f"tools/list: {bad.kind}") from bad
    result = message.get("result")
    if result is None:
        return None
    if not isinstance(result, dict) or not isinstance(result.get("tools"), list):
        raise Garbage("tools/list without tools")
    return result
