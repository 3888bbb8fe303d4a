"""Serves agents' requests for a server's tools, prompts and resource templates."""

from __future__ import annotations

import time
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import structlog

from approvals.digest import canonical
from gateway.enforcement import refusal_texts
from gateway.enforcement.catalogue import Catalogue
from gateway.protocol.jsonrpc import error_body
from gateway.protocol.sse import EventTooLarge
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect
from gateway.relay.agents.request import AgentRequest
from gateway.relay.agents.response import EventStream, reply
from gateway.relay.methods.pinned_lists import LISTS, ListingFailed, read_list
from gateway.relay.methods.tool_listing import ToolListing
from gateway.relay.upstreams.reading import Garbage, handed_down, read_json, read_response
from gateway.relay.upstreams.response_filter import Passed, ResponseFilter
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Unconfirmed

log = structlog.get_logger()


class Listing:
    """Serves the pinned lists."""

    def __init__(self, *, tool_listing: ToolListing, catalogue: Catalogue, max_result: int) -> None:
        self._pinned = tool_listing.pinned
        self._tool_listing = tool_listing
        self._catalogue = catalogue
        self._max_result = max_result

    async def serve(self, incoming: AgentRequest) -> None:
        """Answer an agent's request for one of the pinned lists."""
        message = incoming.message
        if message.id is None:
            raise RuntimeError("a request has an id")
        changes, began = self._catalogue.changes(incoming.caller.backend.name), time.monotonic()
        try:
            answer = await incoming.caller.backend.upstream.send(incoming.passed_on())
            try:
                if answer.status != HTTPStatus.OK:
                    body = await read_json(answer, self._max_result)
                    await reply(incoming.send, *handed_down(answer.status, body, message.id))
                    return
                if answer.content_type == "text/event-stream":
                    await self._serve_stream(incoming, answer)
                    return
                response = await read_response(answer, message.id, limit=self._max_result)
            finally:
                await answer.aclose()
            listed = await read_list(response.body, message.method)
            if listed is None:  # an error of the server's own
                await reply(incoming.send, 200, response.body)
                return
            told = await self._told(incoming, message.id, listed, changes=changes, began=began)
        except (NotSent, OutcomeUnknown, ListingFailed) as error:
            log.warning(
                "server.listing_failed", server=incoming.caller.backend.name, error=str(error)
            )
            text = (
                refusal_texts.unconfirmed()
                if isinstance(error, Unconfirmed)
                else f"The server behind the gateway did not list its {_plural(message.method)}"
            )
            await reply(incoming.send, 502, error_body(message.id, -32603, text))
            return
        await reply(incoming.send, 200, told)

    async def _serve_stream(self, incoming: AgentRequest, answer: Answer) -> None:
        """Hand a listing down as a stream, since that is what the server made of it: what it says
        on the way passes as it is, and only the list itself is ours.

        Raises:
            Garbage: the stream had nothing in it, or nothing that can be read.
            ListingFailed: the list in it is none that counts.
        """
        stream = EventStream(incoming.send)
        sieve = ResponseFilter(
            incoming.message.id,
            token=incoming.message.meta.get("progressToken"),
            limit=self._max_result,
            resumable=not incoming.caller.modern,
        )
        try:
            async with cancel_on_disconnect(incoming.receive):
                async for chunk in answer.body():
                    for passed in await sieve.sift(chunk):
                        await stream.raw(await self._listed(incoming, passed))
        except AgentGone:
            return
        except (OutcomeUnknown, EventTooLarge, ListingFailed) as error:
            if not stream.started:
                raise Garbage("a list as a stream") from error
            log.warning(
                "server.listing_failed", server=incoming.caller.backend.name, error=str(error)
            )
        if not stream.started:
            raise Garbage("an empty stream")
        await stream.end()

    async def _listed(self, incoming: AgentRequest, passed: Passed) -> bytes:
        """One event of the stream; the response's comes back filtered."""
        rpc_id, data = incoming.message.id, passed.event.data
        if rpc_id is None or data is None or not passed.own:
            return passed.encoded()
        listed = await read_list(data, incoming.message.method)
        if listed is None:
            return passed.encoded()
        told = replace(passed.event, data=await self._told(incoming, rpc_id, listed))
        return replace(passed, event=told).encoded()

    async def _told(
        self,
        incoming: AgentRequest,
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
        kind, member = LISTS[incoming.message.method]
        first = (incoming.message.params or {}).get("cursor") is None
        whole = first and not isinstance(listed.get("nextCursor"), str)
        name = incoming.caller.backend.name
        await self._pinned.observe(name, kind, listed[member], complete=whole, changes=changes)
        if whole and kind == "tool" and began is not None:
            self._tool_listing.made(name, began=began)
        shown = self._pinned.shown(
            name, incoming.message.method, listed, modern=incoming.caller.modern
        )
        return canonical({"jsonrpc": "2.0", "id": rpc_id, "result": shown})


def _plural(method: str) -> str:
    return "resource templates" if LISTS[method][0] == "template" else method.partition("/")[0]
