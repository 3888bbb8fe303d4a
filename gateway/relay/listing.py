"""tools/list: what this agent may see, and how the gateway itself learns which tools there are.

Hidden tools are taken out, the gateway's own tool is put in where a call may be held, and every
whole listing is shown to the catalogue. The gateway asks by itself, in the agent's own session,
before the first call and again before an approved call runs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
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
from gateway.relay.exchange import Garbage, Response, handed_down, read_json, read_response
from gateway.relay.response import reply
from gateway.relay.upstream import NotSent, OutcomeUnknown
from gateway.relay.visit import Visit
from gateway.strictjson import BadJson, strict_loads

log = structlog.get_logger()

_LISTING_SECONDS = 10.0
_MOST_PAGES = 100
_DEPTH = 128  # schemas nest deeper than arguments do

_AWAIT_DEFINITION: Mapping[str, Any] = {
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
                response = await read_response(answer, message.id, limit=self._max_result)
            finally:
                await answer.aclose()
            listed = _tools(response)
        except (NotSent, OutcomeUnknown, ListingFailed) as error:
            log.warning("server.listing_failed", server=visit.backend.name, error=str(error))
            text = "The server behind the gateway did not list its tools"
            await reply(visit.send, 502, error_body(message.id, -32603, text))
            return
        if listed is None:  # an error of the server's own
            await reply(visit.send, 200, response.body)
            return
        first = not (message.params or {}).get("cursor")
        await self._observe(visit, listed, complete=first and "nextCursor" not in listed)
        shown = self._shown(visit, listed)
        body = canonical({"jsonrpc": "2.0", "id": message.id, "result": shown})
        await reply(visit.send, 200, body)

    async def ensure(self, visit: Visit, *, fresh: bool = False) -> None:
        """Make sure the server's tools are known; with `fresh`, ask now.

        Raises:
            ListingFailed: they are not known and the server did not say.
        """
        name = visit.backend.name
        listed_at = self._catalogue.listed_at(name)
        if fresh or listed_at is None:
            await self._ask(visit)
        elif self._clock.now() - listed_at > self._refresh_ms and name not in self._asking:
            task = asyncio.create_task(self._refresh(visit), name=f"listing {name}")
            self._asking[name] = task
            task.add_done_callback(lambda _: self._asking.pop(name, None))

    async def _refresh(self, visit: Visit) -> None:
        try:
            await self._ask(visit)
        except ListingFailed as error:
            log.warning("server.listing_failed", server=visit.backend.name, error=str(error))

    async def _ask(self, visit: Visit) -> None:
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
            listed = _tools(await read_response(answer, rpc_id, limit=self._max_result))
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

    def _shown(self, visit: Visit, listed: dict[str, Any]) -> dict[str, Any]:
        server = visit.backend.name
        shown = {
            **listed,
            "tools": [
                tool
                for tool in listed["tools"]
                if isinstance(tool, dict) and not self._guard.hidden(server, tool.get("name"))
            ],
        }
        if "nextCursor" not in listed and self._guard.can_hold(server):
            shown["tools"].append(dict(_AWAIT_DEFINITION))
        if visit.modern:
            # What is listed depends on the grant and on a policy that may change at any moment.
            shown["cacheScope"] = "private"
            shown["ttlMs"] = 0
        return shown


def _tools(response: Response) -> dict[str, Any] | None:
    """The result of tools/list, strictly read; None: the server answered with an error."""
    try:
        message = strict_loads(response.body, max_depth=_DEPTH)
    except BadJson as bad:
        raise Garbage(f"tools/list: {bad.kind}") from bad
    result = message.get("result")
    if result is None:
        return None
    if not isinstance(result, dict) or not isinstance(result.get("tools"), list):
        raise Garbage("tools/list without tools")
    return result
