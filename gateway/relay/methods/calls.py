"""tools/call: what may pass is sent and its answer handed down; what may not is refused.

What is sent are the canonical bytes that were judged, never the agent's own. Headers towards the
server are made from those bytes too (SEP-2243), so they cannot say anything else.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

import structlog

from approvals.aside import aside
from approvals.model import Call, Execution
from gateway.enforcement import refusals
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.guard import Guard
from gateway.enforcement.recording import Allowed, Held, RefusedByPolicy, Retried, Spent, Unasked
from gateway.enforcement.refusal_texts import AWAIT_TOOL
from gateway.protocol.jsonrpc import ErrorCode, ToolCall, error_body, tool_call
from gateway.protocol.sse import EventTooLarge, event
from gateway.relay.agents.detached_stream import outlive_agent
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect
from gateway.relay.agents.request import AgentRequest, Caller
from gateway.relay.agents.response import begin_stream, reply
from gateway.relay.methods.answer_stream import AnswerStream
from gateway.relay.methods.call_outcome import CallOutcome
from gateway.relay.methods.holding import Holding
from gateway.relay.methods.outbound import call_request
from gateway.relay.methods.pinned_lists import ListingFailed
from gateway.relay.methods.questions import AnsweredCall, Questions, asks
from gateway.relay.methods.replies import refusal_body, refuse, unknown
from gateway.relay.methods.session_counter import SessionCounter
from gateway.relay.methods.tasks import Tasks
from gateway.relay.methods.tool_listing import ToolListing
from gateway.relay.upstreams.reading import (
    Garbage,
    TooLarge,
    Unreadable,
    answer_in,
    handed_down,
    read_json,
)
from gateway.relay.upstreams.response_filter import ResponseFilter
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Unconfirmed

log = structlog.get_logger()

_NO_SESSION = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
_SESSION_NEEDED = (
    "This server needs a session in this revision: send initialize first, and the Mcp-Session-Id "
    "of its answer with each request"
)
_WATCH_AFTER = 0.5  # seconds; most calls are over by then


class Calls:
    """Serves tools/call."""

    def __init__(
        self,
        *,
        guard: Guard,
        holding: Holding,
        tool_listing: ToolListing,
        catalogue: Catalogue,
        rounds: Questions,
        tasks: Tasks,
        max_result: int,
    ) -> None:
        self._guard = guard
        self._rounds = rounds
        self._tasks = tasks
        self._holding = holding
        self._tool_listing = tool_listing
        self._catalogue = catalogue
        self._max_result = max_result
        self._counter = SessionCounter()
        self._sessionless: set[str] = set()  # servers that older revisions need no session for

    async def serve(self, incoming: AgentRequest) -> None:
        """Answer one tools/call."""
        call = await aside(incoming.message.size, lambda: tool_call(incoming.message))
        retry: AnsweredCall | None = None
        brings = call.request_state is not None or call.input_responses is not None
        if brings and not incoming.caller.modern:
            await self._rounds.unasked(incoming)  # a session's questions are answered as responses
            return
        if call.request_state is not None:
            retry = await self._rounds.let_in(incoming, call)
            if retry is None:
                return
            if retry.approval_id is not None:
                await self._holding.go_on(incoming, retry)
                return
            call = retry.call
        if call.name == AWAIT_TOOL:  # ours alone, also while nothing can be held
            if brings:
                await self._rounds.unasked(incoming)
                return
            await self._holding.resume(incoming, call)
            return
        await self._judge(incoming, call, retry)

    async def _judge(
        self, incoming: AgentRequest, call: ToolCall, retry: AnsweredCall | None
    ) -> None:
        caller = incoming.caller
        # Whether a held call becomes a task: the request itself must say that it may.
        follows = caller.modern and call.declares_tasks
        follow = self._tasks.envelope(caller, call) if follows else None
        try:
            await self._list(caller)
            if call.task is not None and not self._grants_wish(caller, call):
                call = call.without_task()
            ruled = await self._guard.admit(
                self._recorded(caller, call, again=retry is not None),
                call.arguments,
                grant=caller.grant,
                follow=follow,
                retried=_retried(retry),
                answers_alone=retry is None and call.input_responses is not None,
            )
        except ListingFailed as error:
            await self._not_listed(incoming, error)
            return
        match ruled:
            case RefusedByPolicy(refusal):
                await refuse(incoming, refusal)
            case Allowed():
                await self._forward(incoming, call, ruled)
            case Held(approval, _) if follow is not None:
                await self._tasks.begin(incoming, approval)
            case Held(approval, hold):
                await self._holding.hold(incoming, call, approval, hold)
            case Spent():
                await self._rounds.spent(incoming)
            case Unasked():
                await self._rounds.unasked(incoming)

    def _grants_wish(self, caller: Caller, call: ToolCall) -> bool:
        """Whether the server makes tasks of this tool's calls (2025-11-25): others take the wish
        for an error, and the newer revision knows none.
        """
        tool = self._catalogue.tool(caller.backend.name, call.name)
        offered = tool.definition.get("execution") if tool is not None else None
        support = offered.get("taskSupport") if isinstance(offered, dict) else None
        return not caller.modern and support in ("optional", "required")

    async def _list(self, caller: Caller) -> None:
        """Have the server's tools known. An agent of an older revision without a session has
        them listed the same way first, if no one has before: a server that wants a session says so
        here, before a person is asked about a call that it would not take.

        Raises:
            ListingFailed: the server did not say.
        """
        name = caller.backend.name
        bare = not caller.modern and caller.session is None
        await self._tool_listing.ensure(caller, fresh=bare and name not in self._sessionless)
        if bare:
            self._sessionless.add(name)

    def _recorded(self, caller: Caller, call: ToolCall, *, again: bool) -> Call:
        """The call as it is judged; `again`: it was counted when it came first."""
        session = caller.session.mark if caller.session is not None else ""
        count = self._counter.now if again else self._counter.next
        tool = self._catalogue.tool(caller.backend.name, call.name)
        return Call(
            grant=caller.grant.id,
            grant_label=caller.grant.label,
            server=caller.backend.name,
            tool=call.name,
            arguments=call.canonical,
            tool_hash=tool.call_hash if tool is not None else "",
            client=caller.client,
            session=session,
            session_calls=count(caller.grant.id, session),
            metadata=call.metadata,
        )

    async def _not_listed(self, incoming: AgentRequest, error: ListingFailed) -> None:
        caller = incoming.caller
        if error.status == HTTPStatus.NOT_FOUND and caller.session is not None:
            await reply(incoming.send, 404)  # the server forgot the session; so must the agent
            return
        if not caller.modern and caller.session is None and error.status in _NO_SESSION:
            body = error_body(incoming.message.id, ErrorCode.INVALID_REQUEST, _SESSION_NEEDED)
            await reply(incoming.send, 400, body)
            return
        refusal = refusals.not_sent(waits=True) if error.waits else refusals.server_unavailable()
        await refuse(incoming, refusal)

    async def _forward(self, incoming: AgentRequest, call: ToolCall, allowed: Allowed) -> None:
        server = incoming.caller.backend.name
        outcome = CallOutcome(self._guard, allowed)
        try:
            # Only the newer revision reads a hang-up as a cancellation; closing the connection
            # towards the server, on the way out, is what cancels it there.
            if incoming.caller.modern:
                async with cancel_on_disconnect(incoming.receive, after=_WATCH_AFTER):
                    await self._exchange(incoming, call, outcome)
            else:
                await self._exchange(incoming, call, outcome)
        except AgentGone:
            pass
        except NotSent as error:
            log.warning("call.not_sent", server=server, error=str(error))
            outcome.execution = Execution.NOT_EXECUTED
            await refuse(incoming, refusals.not_sent(waits=isinstance(error, Unconfirmed)))
        except OutcomeUnknown as error:
            log.warning("call.outcome_unknown", server=server, error=str(error))
            await refuse(incoming, unknown(error))
        finally:
            outcome.tell()

    async def _exchange(self, incoming: AgentRequest, call: ToolCall, outcome: CallOutcome) -> None:
        caller, allowed = incoming.caller, outcome.allowed
        tool = self._catalogue.tool(caller.backend.name, call.name)
        request = call_request(caller, call, call.canonical, tool, about=allowed.call_id)
        answer = await caller.backend.upstream.send(request)
        try:
            if answer.content_type == "text/event-stream":
                await self._copy_stream(incoming, answer, call, outcome)
                return
            body = await read_json(answer, self._max_result)
        finally:
            await answer.aclose()
        found = await aside(len(body), partial(answer_in, body, call.id))
        if found is None and answer.status == HTTPStatus.OK:
            raise Garbage(answer.content_type)
        message, body = found or (None, body)
        outcome.note(message, body, answer.status)
        if answer.status == HTTPStatus.OK:
            if message is not None and caller.modern and asks(message):
                body = self._sealed(incoming, allowed, body)
            await reply(incoming.send, 200, body)
        else:
            await reply(incoming.send, *handed_down(answer.status, body, call.id))

    async def _copy_stream(
        self, incoming: AgentRequest, answer: Answer, call: ToolCall, outcome: CallOutcome
    ) -> None:
        """Hand an SSE answer down as it comes, but for what is not this call's. In the newer
        revision the response may be a question, which leaves with our state around its own.

        What breaks off once it has begun ends the agent's stream too.
        """
        caller = incoming.caller
        sieve = ResponseFilter(
            call.id,
            token=call.progress_token,
            limit=self._max_result,
            resumable=not caller.modern,
        )
        passed = AnswerStream(
            sieve,
            outcome,
            tools_changed=partial(self._tool_listing.changed, caller),
            seal_question=partial(self._sealed, incoming, outcome.allowed)
            if caller.modern
            else None,
        )
        send, started = incoming.send, False  # by hand: an EventStream's order costs each call
        try:
            chunks = answer.body() if caller.modern else outlive_agent(answer, incoming.receive)
            async for chunk in chunks:
                told = await passed.feed(chunk)
                if not started:
                    started = True
                    await begin_stream(send, status=answer.status)
                if told:
                    await send({"type": "http.response.body", "body": told, "more_body": True})
        except EventTooLarge as error:
            if not started:
                raise TooLarge(f"over {self._max_result} bytes") from error
        except OutcomeUnknown as error:
            if not started:
                raise
            log.warning("server.stream_broken", server=caller.backend.name, error=str(error))
            if isinstance(error, Unreadable):  # it was answered, and there is nothing to wait for
                told = event(refusal_body(incoming, unknown(error)))
                await send({"type": "http.response.body", "body": told, "more_body": True})
        if not started:
            raise Garbage("an empty stream")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _sealed(self, incoming: AgentRequest, allowed: Allowed, body: bytes) -> bytes:
        """A server's question as the agent gets it."""
        number = allowed.round + 1
        return self._rounds.passed(incoming, body, call_id=allowed.call_id, number=number)


def _retried(retry: AnsweredCall | None) -> Retried | None:
    """What the guard has to know of an answer to an allowed call's question."""
    if retry is None:
        return None
    state = retry.opened.state
    answers = retry.call.input_responses or {}
    return Retried(state.id, state.round, retry.opened.mark, state.until, answers)
