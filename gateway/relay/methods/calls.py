"""tools/call: what may pass is sent and its answer handed down; what may not is refused.

What is sent are the canonical bytes that were judged, never the agent's own. Headers towards the
server are made from those bytes too (SEP-2243), so they cannot say anything else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from approvals.aside import aside
from approvals.digest import sha256
from approvals.model import Call, Execution
from gateway.enforcement import refusals
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.guard import Guard
from gateway.enforcement.recording import Allowed, Held, RefusedByPolicy, Retried, Spent, Unasked
from gateway.enforcement.refusal_texts import AWAIT_TOOL
from gateway.enforcement.refusals import Refusal
from gateway.protocol.jsonrpc import ErrorCode, ToolCall, error_body, result_body, tool_call
from gateway.protocol.sse import EventTooLarge, ServerSentEvent, block
from gateway.relay.agents.detached_stream import outlive_agent
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect
from gateway.relay.agents.request import Visit
from gateway.relay.agents.response import EVENT_STREAM, reply
from gateway.relay.methods.holding import Holding
from gateway.relay.methods.listing import TOOLS_CHANGED, Listing, ListingFailed
from gateway.relay.methods.outbound import call_request
from gateway.relay.methods.questions import AnsweredCall, Questions, asks
from gateway.relay.methods.replies import refuse, unknown
from gateway.relay.methods.tasks import Tasks
from gateway.relay.upstreams.reading import (
    Garbage,
    TooLarge,
    Unreadable,
    answer_in,
    classify,
    handed_down,
    read_json,
    turned_away,
)
from gateway.relay.upstreams.response_filter import Passed, ResponseFilter, sign_of_life
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Unconfirmed

log = structlog.get_logger()

_NO_SESSION = (400, 404)
_SESSION_NEEDED = (
    "This server needs a session in this revision: send initialize first, and the Mcp-Session-Id "
    "of its answer with each request"
)
_WATCH_AFTER = 0.5  # seconds; most calls are over by then
_MOST_SESSIONS = 10_000


@dataclass(slots=True)
class _Seen:
    """What came back for a passed call. Noted as it passes, so that it stands whatever breaks off
    behind it.
    """

    guard: Guard
    allowed: Allowed
    started: float = field(default_factory=time.perf_counter)
    execution: Execution = Execution.OUTCOME_UNKNOWN
    result_digest: str = ""
    told: bool = False

    def note(self, message: dict[str, Any] | None, body: bytes, status: int = 200) -> None:
        """The response; None: the server answered with an HTTP error.

        What a call with an effect did is told before its agent hears of it: the agent's next call
        finds it.
        """
        self.execution = Execution.UPSTREAM_ERROR if message is None else classify(message)
        self.result_digest = sha256(body)
        if self.allowed.verdict.claim is not None:
            self.tell(doubtful=message is None and not turned_away(status, body))

    def tell(self, *, doubtful: bool = False) -> None:
        """Have the end recorded, once."""
        if self.told:
            return
        self.told = True
        latency = int((time.perf_counter() - self.started) * 1000)
        self.guard.passed(
            self.allowed, self.execution, self.result_digest, latency, doubtful=doubtful
        )


class Calls:
    """Serves tools/call."""

    def __init__(
        self,
        *,
        guard: Guard,
        holding: Holding,
        listing: Listing,
        catalogue: Catalogue,
        rounds: Questions,
        tasks: Tasks,
        max_result: int,
    ) -> None:
        self._guard = guard
        self._rounds = rounds
        self._tasks = tasks
        self._holding = holding
        self._listing = listing
        self._catalogue = catalogue
        self._max_result = max_result
        self._made: dict[tuple[str, str], int] = {}  # calls by grant and session
        self._sessionless: set[str] = set()  # servers that older revisions need no session for

    async def serve(self, visit: Visit) -> None:
        """Answer one tools/call."""
        call = await aside(visit.message.size, lambda: tool_call(visit.message))
        retry: AnsweredCall | None = None
        brings = call.request_state is not None or call.input_responses is not None
        if brings and not visit.modern:
            await self._rounds.unasked(visit)  # a session's questions are answered as responses
            return
        if call.request_state is not None:
            retry = await self._rounds.let_in(visit, call)
            if retry is None:
                return
            if retry.approval_id is not None:
                await self._holding.go_on(visit, retry)
                return
            call = retry.call
        if call.name == AWAIT_TOOL:  # ours alone, also while nothing can be held
            if brings:
                await self._rounds.unasked(visit)
                return
            await self._holding.resume(visit, call)
            return
        await self._judge(visit, call, retry)

    async def _judge(self, visit: Visit, call: ToolCall, retry: AnsweredCall | None) -> None:
        follow = self._tasks.envelope(visit, call) if _follows(visit, call) else None
        try:
            await self._list(visit)
            if call.task is not None and not self._grants_wish(visit, call):
                call = call.without_task()
            ruled = await self._guard.admit(
                self._recorded(visit, call, again=retry is not None),
                call.arguments,
                grant=visit.grant,
                follow=follow,
                retried=_retried(retry),
                answers_alone=retry is None and call.input_responses is not None,
            )
        except ListingFailed as error:
            await self._not_listed(visit, error)
            return
        match ruled:
            case RefusedByPolicy(refusal):
                await refuse(visit, refusal)
            case Allowed():
                await self._forward(visit, call, ruled)
            case Held(approval, _) if follow is not None:
                await self._tasks.begin(visit, approval)
            case Held(approval, hold):
                await self._holding.hold(visit, call, approval, hold)
            case Spent():
                await self._rounds.spent(visit)
            case Unasked():
                await self._rounds.unasked(visit)

    def _grants_wish(self, visit: Visit, call: ToolCall) -> bool:
        """Whether the server makes tasks of this tool's calls (2025-11-25): others take the wish
        for an error, and the newer revision knows none.
        """
        tool = self._catalogue.tool(visit.backend.name, call.name)
        offered = tool.definition.get("execution") if tool is not None else None
        support = offered.get("taskSupport") if isinstance(offered, dict) else None
        return not visit.modern and support in ("optional", "required")

    async def _list(self, visit: Visit) -> None:
        """Have the server's tools known. An agent of an older revision without a session has
        them listed the same way first, if no one has before: a server that wants a session says so
        here, before a person is asked about a call that it would not take.

        Raises:
            ListingFailed: the server did not say.
        """
        name = visit.backend.name
        bare = not visit.modern and visit.session is None
        await self._listing.ensure(visit, fresh=bare and name not in self._sessionless)
        if bare:
            self._sessionless.add(name)

    def _recorded(self, visit: Visit, call: ToolCall, *, again: bool) -> Call:
        """The call as it is judged; `again`: it was counted when it came first."""
        session = visit.session.mark if visit.session is not None else ""
        key = (visit.grant.id, session)
        if len(self._made) > _MOST_SESSIONS:
            self._made.clear()
        self._made[key] = made = self._made.get(key, 0) + (0 if again else 1)
        tool = self._catalogue.tool(visit.backend.name, call.name)
        return Call(
            grant=visit.grant.id,
            grant_label=visit.grant.label,
            server=visit.backend.name,
            tool=call.name,
            arguments=call.canonical,
            tool_hash=tool.call_hash if tool is not None else "",
            client=visit.client,
            session=session,
            session_calls=made,
            metadata=call.metadata,
        )

    async def _not_listed(self, visit: Visit, error: ListingFailed) -> None:
        if error.status == 404 and visit.session is not None:  # noqa: PLR2004 - HTTP
            await reply(visit.send, 404)  # the server forgot the session; so must the agent
            return
        if not visit.modern and visit.session is None and error.status in _NO_SESSION:
            body = error_body(visit.message.id, ErrorCode.INVALID_REQUEST, _SESSION_NEEDED)
            await reply(visit.send, 400, body)
            return
        refusal = refusals.not_sent(waits=True) if error.waits else refusals.server_unavailable()
        await refuse(visit, refusal)

    async def _forward(self, visit: Visit, call: ToolCall, allowed: Allowed) -> None:
        seen = _Seen(self._guard, allowed)
        try:
            # Only the newer revision reads a hang-up as a cancellation; closing the connection
            # towards the server, on the way out, is what cancels it there.
            if visit.modern:
                async with cancel_on_disconnect(visit.receive, after=_WATCH_AFTER):
                    await self._exchange(visit, call, allowed, seen)
            else:
                await self._exchange(visit, call, allowed, seen)
        except AgentGone:
            pass
        except NotSent as error:
            log.warning("call.not_sent", server=visit.backend.name, error=str(error))
            seen.execution = Execution.NOT_EXECUTED
            await refuse(visit, refusals.not_sent(waits=isinstance(error, Unconfirmed)))
        except OutcomeUnknown as error:
            log.warning("call.outcome_unknown", server=visit.backend.name, error=str(error))
            await refuse(visit, unknown(error))
        finally:
            seen.tell()

    async def _exchange(self, visit: Visit, call: ToolCall, allowed: Allowed, seen: _Seen) -> None:
        tool = self._catalogue.tool(visit.backend.name, call.name)
        request = call_request(visit, call, call.canonical, tool, about=allowed.call_id)
        answer = await visit.backend.upstream.send(request)
        try:
            if answer.content_type == "text/event-stream":
                await self._copy_stream(visit, answer, call, allowed, seen)
                return
            body = await read_json(answer, self._max_result)
        finally:
            await answer.aclose()
        found = await aside(len(body), partial(answer_in, body, call.id))
        if found is None and answer.status == 200:  # noqa: PLR2004 - HTTP
            raise Garbage(answer.content_type)
        message, body = found or (None, body)
        seen.note(message, body, answer.status)
        if answer.status == 200:  # noqa: PLR2004 - HTTP
            if message is not None and visit.modern and asks(message):
                body = self._asked(visit, allowed, body)
            await reply(visit.send, 200, body)
        else:
            await reply(visit.send, *handed_down(answer.status, body, call.id))

    async def _copy_stream(
        self, visit: Visit, answer: Answer, call: ToolCall, allowed: Allowed, seen: _Seen
    ) -> None:
        """Hand an SSE answer down as it comes, but for what is not this call's. In the newer
        revision the response may be a question, which leaves with our state around its own.

        What breaks off once it has begun ends the agent's stream too.
        """
        sieve = ResponseFilter(
            call.id,
            token=call.progress_token,
            limit=self._max_result,
            resumable=not visit.modern,
        )
        started = False
        try:
            chunks = answer.body() if visit.modern else outlive_agent(answer, visit.receive)
            async for chunk in chunks:
                found = await sieve.sift(chunk)
                if not started:
                    started = True
                    await self._start_stream(visit, answer.status)
                parts = [self._told(visit, allowed, seen, one) for one in found]
                passed = b"".join(parts) if found else sign_of_life(chunk)
                if passed:
                    await visit.send(
                        {"type": "http.response.body", "body": passed, "more_body": True}
                    )
        except EventTooLarge as error:
            if not started:
                raise TooLarge(f"over {self._max_result} bytes") from error
        except OutcomeUnknown as error:
            if not started:
                raise
            log.warning("server.stream_broken", server=visit.backend.name, error=str(error))
            if isinstance(error, Unreadable):  # it was answered, and there is nothing to wait for
                told = block(ServerSentEvent(_body(visit, unknown(error))))
                await visit.send({"type": "http.response.body", "body": told, "more_body": True})
        if not started:
            raise Garbage("an empty stream")
        await visit.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start_stream(self, visit: Visit, status: int) -> None:
        await visit.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", EVENT_STREAM),
                    (b"cache-control", b"no-cache, no-transform"),
                    (b"x-accel-buffering", b"no"),
                ],
            }
        )

    def _told(self, visit: Visit, allowed: Allowed, seen: _Seen, passed: Passed) -> bytes:
        """One event of a stream on its way to the agent; a question in it comes back sealed."""
        message, data = passed.message, passed.event.data
        if message is None or data is None:
            return passed.encoded()
        if TOOLS_CHANGED in data:
            self._listing.changed(visit)
        if passed.own:
            seen.note(message, data)
            if visit.modern and asks(message):
                told = replace(passed.event, data=self._asked(visit, allowed, data))
                return replace(passed, event=told).encoded()
        return passed.encoded()

    def _asked(self, visit: Visit, allowed: Allowed, body: bytes) -> bytes:
        return self._rounds.passed(visit, body, call_id=allowed.call_id, number=allowed.round + 1)


def _body(visit: Visit, refusal: Refusal) -> bytes:
    if visit.message.id is None:
        raise RuntimeError("a call has an id")
    return result_body(visit.message.id, refusal.result(modern=visit.modern))


def _follows(visit: Visit, call: ToolCall) -> bool:
    """Whether a held call becomes a task: the request itself must say that it may."""
    return visit.modern and call.declares_tasks


def _retried(retry: AnsweredCall | None) -> Retried | None:
    """What the guard has to know of an answer to an allowed call's question."""
    if retry is None:
        return None
    state = retry.opened.state
    answers = retry.call.input_responses or {}
    return Retried(state.id, state.round, retry.opened.mark, state.until, answers)
