"""Running an approved call: claim, send once, record, answer. In this order and no other.

The running belongs to a task of the gateway, not to the request that started it: an agent that
hangs up finds the result when it comes back.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from json import loads

import structlog

from approvals.digest import sha256
from approvals.execution import RunEnd
from approvals.model import Approval, Execution
from approvals.owned_tasks import OwnedTasks
from approvals.record.journal import RecordUnavailable
from gateway.enforcement import refusals
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.guard import Guard
from gateway.enforcement.recording import RefusedByPolicy
from gateway.enforcement.refusals import Refusal
from gateway.enforcement.runs import ClaimLost, Run
from gateway.protocol.jsonrpc import ToolCall, error_body
from gateway.protocol.request_state import MOST_ROUNDS
from gateway.relay.agents.request import Caller
from gateway.relay.methods.outbound import approved_call, call_request
from gateway.relay.methods.pinned_lists import ListingFailed
from gateway.relay.methods.progress import Progress
from gateway.relay.methods.replies import unknown
from gateway.relay.methods.server_task import ServerTask
from gateway.relay.methods.tool_listing import ToolListing
from gateway.relay.upstreams.reading import Response, Unfinished, read_response
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown, Request, Unconfirmed

log = structlog.get_logger()

_MOST_RETURNS = 100  # to the stream of one call
_LONGEST_RETRY = 30.0  # seconds; a server may ask for more


@dataclass(frozen=True, slots=True)
class Ran:
    """The call ran; `body` is the server's response, as it wrote it."""

    approval_id: str
    body: bytes
    asks: Approval | None = None  # set where the response is a question: the approval now
    edited: Approval | None = None  # set where a reviewer changed the arguments


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call may have run and the record says so; the agent is told `refusal`, once."""

    approval_id: str
    refusal: Refusal


Ending = Ran | Unknown | Refusal


class Executions:
    """The tasks in which approved calls run. Leave it with all of them ended."""

    def __init__(
        self, *, guard: Guard, tool_listing: ToolListing, catalogue: Catalogue, max_result: int
    ) -> None:
        self._guard = guard
        self._tool_listing = tool_listing
        self._catalogue = catalogue
        self._max_result = max_result
        self._tasks = OwnedTasks()
        self._exchanges: dict[str, asyncio.Task[Response]] = {}  # by approval

    @property
    def running(self) -> tuple[str, ...]:
        """The approvals whose call this process has sent and waits for."""
        return tuple(self._exchanges)

    def abandon(self, approval_id: str) -> None:
        """The agent no longer wants what runs: tell the server, by closing the request."""
        exchange = self._exchanges.get(approval_id)
        if exchange is not None:
            exchange.cancel()

    async def run(
        self, caller: Caller, call: ToolCall, approval: Approval, progress: Progress
    ) -> Ending | None:
        """Run an approved call once. None: someone else has it; look at the row again."""
        task = self._tasks.start(
            self._run(caller, call, approval, progress), name=f"execute {approval.id}"
        )
        return await asyncio.shield(task)

    async def aclose(self, patience: float) -> None:
        """Wait for what runs, at most `patience` seconds; what still runs then is unknown."""
        await self._tasks.wait(patience)
        self._tasks.cancel()

    async def _run(
        self, caller: Caller, call: ToolCall, approval: Approval, progress: Progress
    ) -> Ending | None:
        try:
            await self._tool_listing.ensure(caller, fresh=True)
        except ListingFailed as error:
            if error.waits:
                return refusals.not_sent(approval, waits=True)
            return refusals.server_unavailable(approval)
        given = call.input_responses
        match await self._guard.claim(approval.id, answering=call.answering, answers=given):
            case ClaimLost():
                return None
            case RefusedByPolicy(refusal):
                return refusal
            case Run() as run:
                try:
                    return await self._send(caller, call, run, progress)
                finally:
                    self._guard.let_go(run)

    async def _send(self, caller: Caller, call: ToolCall, run: Run, progress: Progress) -> Ending:
        claimed = run.approval
        started = time.perf_counter()
        response: Response | None = None
        execution = Execution.OUTCOME_UNKNOWN
        refusal: Refusal = refusals.outcome_unknown(claimed)
        try:
            response = await self._exchanged(caller, call, claimed, progress)
            execution = response.execution
            if execution is Execution.INPUT_REQUIRED:
                response, execution = _asked(response, claimed, modern=caller.modern)
        except NotSent as error:
            log.warning("call.not_sent", approval=claimed.id, error=str(error))
            waits = isinstance(error, Unconfirmed)
            execution, refusal = Execution.NOT_EXECUTED, refusals.not_sent(claimed, waits=waits)
            if call.answering is not None:  # an earlier round was: the question stands
                execution = Execution.INPUT_REQUIRED
        except OutcomeUnknown as error:
            log.warning("call.outcome_unknown", approval=claimed.id, error=str(error))
            refusal = unknown(error, claimed)
        body = response.body if response is not None else None
        try:
            end = RunEnd(
                execution,
                result=body,
                result_digest=sha256(body) if body is not None else "",
                latency_ms=int((time.perf_counter() - started) * 1000),
            )
            recorded = await self._guard.finish(run, end)
        except RecordUnavailable:
            # The call ran and that could not be recorded: the lease will run out and the row will
            # say "outcome unknown". So does the agent's answer; two stories would be worse.
            log.exception("record.unavailable", approval=claimed.id)
            return refusals.outcome_unknown(claimed)
        if recorded.execution is not execution:  # the lease ran out: so it stands on record
            return Unknown(claimed.id, refusals.outcome_unknown(recorded))
        if execution is Execution.OUTCOME_UNKNOWN:
            return Unknown(claimed.id, refusal)
        if body is None:
            return refusal
        asks = recorded if execution is Execution.INPUT_REQUIRED else None
        return Ran(claimed.id, body, asks, claimed if claimed.edited else None)

    async def _exchanged(
        self, caller: Caller, call: ToolCall, claimed: Approval, progress: Progress
    ) -> Response:
        """The server's response, unless the agent gives the call up while it runs."""
        exchange = asyncio.create_task(
            self._exchange(caller, call, claimed, progress), name=f"exchange {claimed.id}"
        )
        self._exchanges[claimed.id] = exchange
        try:
            return await exchange
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                exchange.cancel()
                raise  # the gateway stops
            raise OutcomeUnknown("given up by the agent") from None
        finally:
            del self._exchanges[claimed.id]

    async def _exchange(
        self, caller: Caller, call: ToolCall, claimed: Approval, progress: Progress
    ) -> Response:
        tool = self._catalogue.tool(caller.backend.name, claimed.call.tool)
        call = approved_call(call, claimed.call, modern=caller.modern)
        request = call_request(
            caller, call, claimed.call.arguments, tool, about=claimed.id, name=claimed.call.tool
        )
        if caller.modern and (task := ServerTask.resumed(call)) is not None:
            return await task.answered(caller, call, limit=self._max_result)
        try:
            response = await self._read(caller, call, request, progress)
        except Unfinished as left:
            # The server let go of the stream and may run on: the rest is had by coming back.
            response = await self._come_back(caller, call, left, progress)
        if caller.modern and (task := ServerTask.of(response)) is not None:
            return await task.followed(caller, call, limit=self._max_result)
        return response

    async def _come_back(
        self, caller: Caller, call: ToolCall, left: Unfinished, progress: Progress
    ) -> Response:
        last_event = ""
        for _ in range(_MOST_RETURNS):
            last_event = left.last_event or last_event
            if caller.session is None or not last_event:
                break
            await asyncio.sleep(min(left.retry_ms / 1000, _LONGEST_RETRY))
            try:
                rest = caller.without_body("GET", last_event)
                return await self._read(caller, call, rest, progress)
            except Unfinished as again:
                left = again
            except NotSent as error:  # this request; the call itself was sent
                raise OutcomeUnknown(str(error)) from error
        raise left

    async def _read(
        self, caller: Caller, call: ToolCall, request: Request, progress: Progress
    ) -> Response:
        answer = await caller.backend.upstream.send(request)
        try:
            return await read_response(
                answer, call.id, limit=self._max_result, on_message=progress.from_server
            )
        finally:
            await answer.aclose()


def _asked(response: Response, claimed: Approval, *, modern: bool) -> tuple[Response, Execution]:
    """What a question is: one, an error where there were too many, or a plain result to an agent
    whose revision knows no questions.
    """
    if not modern:
        return response, Execution.SUCCEEDED
    if claimed.round < MOST_ROUNDS:
        return response, Execution.INPUT_REQUIRED
    text = "The server asked too many questions about one call"
    body = error_body(response.message["id"], -32603, text)
    return Response(200, body, loads(body)), Execution.UPSTREAM_ERROR
