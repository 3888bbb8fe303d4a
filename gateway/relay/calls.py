"""tools/call: what may pass is sent and its answer handed down; what may not is refused.

What is sent are the canonical bytes that were judged, never the agent's own. Headers towards the
server are made from those bytes too (SEP-2243), so they cannot say anything else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from approvals.digest import sha256
from approvals.model import Call, Execution
from gateway import answers
from gateway.answers import Refusal
from gateway.catalogue import Catalogue
from gateway.guard import Allowed, Guard, Held, Refused
from gateway.jsonrpc import ToolCall, tool_call
from gateway.refusals import AWAIT_TOOL
from gateway.relay.exchange import Garbage, TooLarge, classify, handed_down, read_json, response_to
from gateway.relay.holding import Holding
from gateway.relay.listing import Listing, ListingFailed
from gateway.relay.outbound import call_request
from gateway.relay.response import EVENT_STREAM, reply
from gateway.relay.sse import EventTooLarge, SseParser
from gateway.relay.upstream import Answer, NotSent, OutcomeUnknown
from gateway.relay.verdicts import refuse
from gateway.relay.visit import Visit
from gateway.relay.watch import Gone, raising_gone

log = structlog.get_logger()

_WATCH_AFTER = 0.5  # seconds; most calls are over by then
_MOST_SESSIONS = 10_000


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came back for a passed call."""

    execution: Execution
    result_digest: str = ""


class Calls:
    """Serves tools/call."""

    def __init__(
        self,
        *,
        guard: Guard,
        holding: Holding,
        listing: Listing,
        catalogue: Catalogue,
        max_result: int,
    ) -> None:
        self._guard = guard
        self._holding = holding
        self._listing = listing
        self._catalogue = catalogue
        self._max_result = max_result
        self._made: dict[tuple[str, str], int] = {}  # calls by grant and session

    async def serve(self, visit: Visit) -> None:
        """Answer one tools/call."""
        call = tool_call(visit.message)
        if call.name == AWAIT_TOOL and self._guard.can_hold(visit.backend.name):
            await self._holding.resume(visit, call)
            return
        try:
            await self._listing.ensure(visit)
            ruled = await self._guard.admit(
                self._recorded(visit, call),
                call.arguments,
                grant=visit.grant,
            )
        except ListingFailed as error:
            await self._not_listed(visit, error)
            return
        match ruled:
            case Refused(refusal):
                await refuse(visit, refusal)
            case Allowed():
                await self._forward(visit, call, ruled)
            case Held(approval, hold):
                await self._holding.hold(visit, call, approval, hold)

    def _recorded(self, visit: Visit, call: ToolCall) -> Call:
        session = visit.session.mark if visit.session is not None else ""
        key = (visit.grant.id, session)
        if len(self._made) > _MOST_SESSIONS:
            self._made.clear()
        self._made[key] = made = self._made.get(key, 0) + 1
        tool = self._catalogue.tool(visit.backend.name, call.name)
        return Call(
            grant=visit.grant.id,
            grant_label=visit.grant.label,
            server=visit.backend.name,
            tool=call.name,
            arguments=call.canonical,
            tool_hash=tool.hash if tool is not None else "",
            client=visit.client,
            session=session,
            session_calls=made,
        )

    async def _not_listed(self, visit: Visit, error: ListingFailed) -> None:
        if error.status == 404 and visit.session is not None:  # noqa: PLR2004 - HTTP
            await reply(visit.send, 404)  # the server forgot the session; so must the agent
            return
        await refuse(visit, answers.server_unavailable())

    async def _forward(self, visit: Visit, call: ToolCall, allowed: Allowed) -> None:
        started = time.perf_counter()
        seen = _Seen(Execution.OUTCOME_UNKNOWN)
        try:
            # Only the newer revision reads a hang-up as a cancellation; closing the connection
            # towards the server, on the way out, is what cancels it there.
            if visit.modern:
                async with raising_gone(visit.receive, after=_WATCH_AFTER):
                    seen = await self._exchange(visit, call)
            else:
                seen = await self._exchange(visit, call)
        except Gone:
            pass
        except NotSent as error:
            log.warning("call.not_sent", server=visit.backend.name, error=str(error))
            seen = _Seen(Execution.NOT_EXECUTED)
            await refuse(visit, answers.not_sent())
        except OutcomeUnknown as error:
            log.warning("call.outcome_unknown", server=visit.backend.name, error=str(error))
            await refuse(visit, _unknown(error))
        finally:
            latency = int((time.perf_counter() - started) * 1000)
            self._guard.passed(allowed, seen.execution, seen.result_digest, latency)

    async def _exchange(self, visit: Visit, call: ToolCall) -> _Seen:
        tool = self._catalogue.tool(visit.backend.name, call.name)
        answer = await visit.backend.upstream.send(call_request(visit, call, call.canonical, tool))
        try:
            if answer.content_type == "text/event-stream":
                return await self._copy_stream(visit, answer, call)
            body = await read_json(answer, self._max_result)
        finally:
            await answer.aclose()
        message = response_to(body, call.id)
        if message is None and answer.status == 200:  # noqa: PLR2004 - HTTP
            raise Garbage(answer.content_type)
        if answer.status == 200:  # noqa: PLR2004 - HTTP
            await reply(visit.send, 200, body)
        else:
            await reply(visit.send, *handed_down(answer.status, body, call.id))
        execution = Execution.UPSTREAM_ERROR if message is None else classify(message)
        return _Seen(execution, sha256(body))

    async def _copy_stream(self, visit: Visit, answer: Answer, call: ToolCall) -> _Seen:
        """Hand an SSE answer down as it comes, and look for the response in it."""
        parser = SseParser(max_event=self._max_result)
        seen: _Seen | None = None
        started = False
        async for chunk in answer.body():
            try:
                events = parser.feed(chunk)
            except EventTooLarge as error:
                if started:
                    break  # the agent sees its stream end without a response
                raise TooLarge(f"over {self._max_result} bytes") from error
            if not started:
                started = True
                await visit.send(
                    {
                        "type": "http.response.start",
                        "status": answer.status,
                        "headers": [
                            (b"content-type", EVENT_STREAM),
                            (b"cache-control", b"no-cache, no-transform"),
                            (b"x-accel-buffering", b"no"),
                        ],
                    }
                )
            await visit.send({"type": "http.response.body", "body": chunk, "more_body": True})
            for item in events:
                message = response_to(item.data, call.id) if item.data else None
                if message is not None and item.data is not None:
                    seen = _Seen(classify(message), sha256(item.data))
        if not started:
            raise Garbage("an empty stream")
        await visit.send({"type": "http.response.body", "body": b"", "more_body": False})
        return seen or _Seen(Execution.OUTCOME_UNKNOWN)


def _unknown(error: OutcomeUnknown) -> Refusal:
    return answers.too_large() if isinstance(error, TooLarge) else answers.outcome_unknown()
