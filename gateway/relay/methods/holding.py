"""Held calls: the agent waits, leaves, returns. The row decides; the transport only attaches.

A held call waits here for its row to leave `pending`, at most `hold` seconds, with progress notes
on the way. Time up: the agent gets a handle and may come back by `signoff_await_approval` or by
repeating the identical call. An approved call is claimed and run once, in a task of its own: the
agent's hanging up ends the waiting, never the running.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import structlog

from approvals.aside import aside
from approvals.edits import AppliedEdit
from approvals.model import Approval, Delivery, Execution, Millis, State
from approvals.record.clock import Clock
from approvals.record.journal import RecordUnavailable
from approvals.reversal import runs_from
from approvals.seal import SealBroken
from approvals.service import Approvals
from gateway.enforcement import refusals
from gateway.enforcement.guard import Guard
from gateway.enforcement.refusals import Addition, Refusal, with_addition, with_data
from gateway.protocol.jsonrpc import ToolCall
from gateway.protocol.strict_json import deeper_than
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect
from gateway.relay.agents.request import AgentRequest
from gateway.relay.agents.response import EventStream
from gateway.relay.methods.client_timeouts import ClientTimeouts
from gateway.relay.methods.execution import Ending, Executions, Ran, Unknown
from gateway.relay.methods.progress import Progress
from gateway.relay.methods.questions import AnsweredCall, Questions, answering, asked_in
from gateway.relay.methods.replies import answer, refuse
from gateway.relay.upstreams.reading import RESULT_DEPTH, http_status

log = structlog.get_logger()

_AWAIT_SECONDS = 50
_CANCELLED = "The agent cancelled the call."
_LEFT = "The agent left."


@dataclass(frozen=True, slots=True)
class StillWaiting:
    """Time is up and there is nothing to tell yet."""

    approval: Approval


Outcome = Ending | StillWaiting


class Holding:
    """Attaches requests to approvals."""

    def __init__(
        self,
        *,
        approvals: Approvals,
        guard: Guard,
        executions: Executions,
        rounds: Questions,
        patience: ClientTimeouts,
        clock: Clock,
        url: str,
        progress_seconds: float,
    ) -> None:
        self._approvals = approvals
        self._guard = guard
        self._executions = executions
        self._rounds = rounds
        self._patience = patience
        self._clock = clock
        self._url = url
        self._progress_seconds = progress_seconds
        self.stopping = asyncio.Event()
        self._waiting: dict[tuple[str, str, str | int], asyncio.Task[Any]] = {}
        self._here: dict[str, set[object]] = {}  # who waits here, by approval

    def stop(self) -> None:
        """The gateway is going down: let every waiting agent go with its handle. Thread-safe
        enough for a signal handler of the loop's own thread.
        """
        self.stopping.set()

    async def hold(
        self, incoming: AgentRequest, call: ToolCall, approval: Approval, hold: float
    ) -> None:
        """Answer a call that a person must decide on."""
        if (
            incoming.caller.modern
            and approval.execution is Execution.INPUT_REQUIRED
            and call.input_responses
        ):
            # An answer without the state it was asked with, as some clients send it.
            stored = await self._guard.stored_result(approval.id, attached_at=self._clock.now())
            if stored is None:
                await self._rounds.unasked(incoming)
                return
            call = answering(call, asked_in(json.loads(stored)))
            call = replace(call, answering=approval.round)
        await self._attach(incoming, call, approval, hold)

    async def resume(self, incoming: AgentRequest, call: ToolCall) -> None:
        """Answer `signoff_await_approval`: the outcome of an earlier call of the same grant."""
        identifier = call.arguments.get("approval_id")
        approval = await self._approvals.get(identifier) if isinstance(identifier, str) else None
        if (
            approval is None
            or approval.id != identifier
            or approval.call.grant != incoming.caller.grant.id
            or approval.call.server != incoming.caller.backend.name
        ):
            await refuse(incoming, refusals.unknown_approval())
            return
        hold = self._awaits(incoming)
        await self._guard.waits(approval.id, until=self._clock.now() + hold * 1000)
        await self._attach(incoming, call, approval, hold)

    def _awaits(self, incoming: AgentRequest) -> int:
        """Seconds for which an agent that came back waits in place."""
        grant = incoming.caller.grant
        return grant.waits(grant.hold or self._guard.default_hold or _AWAIT_SECONDS)

    async def go_on(self, incoming: AgentRequest, retry: AnsweredCall) -> None:
        """Answer a retry that brings the answer to a question of an approved call. It goes to the
        server once; who brings it again gets what became of it.
        """
        approval = await self._approvals.get(retry.opened.state.id)
        if approval is None or approval.delivery is Delivery.DELIVERED:
            await self._rounds.spent(incoming)
            return
        call = replace(retry.call, answering=retry.opened.state.round)
        hold = self._awaits(incoming)
        await self._guard.waits(approval.id, until=self._clock.now() + hold * 1000)
        await self._attach(incoming, call, approval, hold)

    def cancelled(self, incoming: AgentRequest) -> bool:
        """A legacy agent says that it no longer wants a call: its approval is withdrawn.

        Ids are the agent's own choice, so they count only within its own session. A client that
        merely lost patience (its reason says so) is leaving, not cancelling: then True, and the
        server must not hear of it, for an approved call may be running there.
        """
        params = incoming.message.params or {}
        request_id, reason = params.get("requestId"), params.get("reason")
        if incoming.caller.session is None or not isinstance(request_id, str | int):
            return False
        task = self._waiting.get(
            (incoming.caller.grant.id, incoming.caller.session.mark, request_id)
        )
        if task is None:
            return False
        left = isinstance(reason, str) and "time" in reason.lower()
        task.cancel(_LEFT if left else _CANCELLED)
        return left

    async def _attach(
        self, incoming: AgentRequest, call: ToolCall, approval: Approval, hold: float
    ) -> None:
        stream = EventStream(incoming.send)
        progress = Progress(stream, call.progress_token)
        loop = asyncio.get_running_loop()
        began = loop.time()
        key = self._key(incoming)
        task = asyncio.current_task()
        if key is not None and task is not None:
            self._waiting[key] = task
        waiter = object()
        self._here.setdefault(approval.id, set()).add(waiter)
        try:
            async with cancel_on_disconnect(incoming.receive):
                outcome = await self._wait(incoming, call, approval, hold, progress)
            if isinstance(outcome, StillWaiting | Refusal) and self._goes(approval, waiter):
                await self._record_leaving(
                    approval, outcome
                )  # first: what is told from now on is so
            await self._tell(incoming, stream, outcome)
        except AgentGone:
            await self._left(approval, waiter, cancelled=False)
            await self._patience.left(incoming.caller.grant, loop.time() - began, timed_out=False)
        except asyncio.CancelledError as stop:
            if stop.args not in ((_LEFT,), (_CANCELLED,)) or task is None:
                raise  # our own shutdown is never taken for the agent's leaving
            task.uncancel()
            await self._left(approval, waiter, cancelled=stop.args == (_CANCELLED,))
            if stop.args == (_LEFT,):
                await self._patience.left(
                    incoming.caller.grant, loop.time() - began, timed_out=True
                )
            await stream.end()  # the agent expects no response any more (utilities/cancellation)
        except RecordUnavailable:
            log.exception("record.unavailable", approval=approval.id)
            await refuse(incoming, refusals.untold(approval, url=self._link(approval)), stream)
        finally:
            self._goes(approval, waiter)
            if key is not None:
                self._waiting.pop(key, None)

    async def _record_leaving(self, approval: Approval, outcome: StillWaiting | Refusal) -> None:
        """Record that no one waits here any more.

        Raises:
            RecordUnavailable: it could not be recorded, and the agent would be told to wait on.
        """
        try:
            await self._guard.left(approval.id)
        except RecordUnavailable:
            if isinstance(outcome, StillWaiting):
                raise
            # What became of the call is known, and the agent is told that, not that no one knows.
            log.warning("record.leaving_not_recorded", approval=approval.id)

    def _goes(self, approval: Approval, waiter: object) -> bool:
        """One who waited here goes; whether no one waits here for the approval any more."""
        here = self._here.get(approval.id)
        if here is None:
            return True
        here.discard(waiter)
        if not here:
            del self._here[approval.id]
        return not here

    async def _wait(
        self,
        incoming: AgentRequest,
        call: ToolCall,
        approval: Approval,
        hold: float,
        progress: Progress,
    ) -> Outcome:
        """Follow the row until there is something to tell or the time is up."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + hold
        since = self._clock.now()
        while True:
            outcome = await self._look(incoming, call, approval, since, progress)
            if outcome is not None:
                return outcome
            remaining = ends - loop.time()
            if remaining <= 0 or self.stopping.is_set():
                return StillWaiting(approval)
            await progress.waiting(approval, self._link(approval))
            pause = min(self._progress_seconds, remaining, self._undone_in(approval))
            newer = await self._next(approval, pause)
            approval = newer if newer is not None else approval

    def _undone_in(self, approval: Approval) -> float:
        """Seconds until an approval can no longer be taken back for sure; endless: it is not so."""
        left = runs_from(approval) - self._clock.now()
        return left / 1000 if left > 0 else inf

    async def _next(self, approval: Approval, seconds: float) -> Approval | None:
        """The row when it has changed; None when time is up or the gateway stops."""
        change = asyncio.create_task(
            self._approvals.wait(approval.id, version=approval.version, timeout=seconds)
        )
        stop = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({change, stop}, return_when=asyncio.FIRST_COMPLETED)
            return change.result() if change.done() else None
        finally:
            change.cancel()
            stop.cancel()

    async def _look(
        self,
        incoming: AgentRequest,
        call: ToolCall,
        approval: Approval,
        since: Millis,
        progress: Progress,
    ) -> Outcome | None:
        """What there is to tell about the row as it stands; None: wait on."""
        match approval.state:
            case State.PENDING:
                return None
            case State.APPROVED:
                return await self._approved(incoming, call, approval, since, progress)
            case State.DENIED:
                return refusals.denied_by(approval)
            case State.EXPIRED:
                return refusals.expired(approval)
            case State.WITHDRAWN:
                return refusals.withdrawn(approval)
            case State.SUPERSEDED:
                return refusals.superseded(approval)

    async def _approved(
        self,
        incoming: AgentRequest,
        call: ToolCall,
        approval: Approval,
        since: Millis,
        progress: Progress,
    ) -> Outcome | None:
        match approval.execution:
            case Execution.NONE | Execution.NOT_EXECUTED:
                if runs_from(approval) > self._clock.now():
                    return None
                outcome = await self._executions.run(incoming.caller, call, approval, progress)
                if isinstance(outcome, Refusal) and approval.terms.when_detached == "execute":
                    return refusals.runs_later(approval, outcome, url=self._link(approval))
                return outcome
            case Execution.INPUT_REQUIRED if call.answering == approval.round:
                return await self._executions.run(incoming.caller, call, approval, progress)
            case Execution.EXECUTING:
                return None
            case Execution.OUTCOME_UNKNOWN:
                return Unknown(approval.id, refusals.outcome_unknown(approval))
            case _:
                stored = await self._guard.stored_result(approval.id, attached_at=since)
                if stored is None:
                    return refusals.already_delivered(approval)
                if deeper_than(stored, RESULT_DEPTH):  # kept by a release that took such answers
                    return Unknown(approval.id, refusals.unreadable(approval))
                asks = approval if approval.execution is Execution.INPUT_REQUIRED else None
                return Ran(approval.id, stored, asks, approval if approval.edited else None)

    async def _tell(self, incoming: AgentRequest, stream: EventStream, outcome: Outcome) -> None:
        match outcome:
            case Ran(approval_id, body, asks, edited):
                if asks is not None:
                    body = self._rounds.asked(incoming, asks, body)
                if edited is not None:
                    body = await self._with_edit(body, edited)
                told = under_id(body, incoming.message.id)
                await answer(
                    incoming, told, stream, status=http_status(told, modern=incoming.caller.modern)
                )
                self._guard.delivered(approval_id)
            case Unknown(approval_id, refusal):
                await refuse(incoming, refusal, stream)
                self._guard.delivered(approval_id)  # a repeat is a new call, held with a warning
            case Refusal():
                await refuse(incoming, outcome, stream)
            case StillWaiting(approval):
                refusal = refusals.waiting(approval, url=self._link(approval))
                await refuse(incoming, refusal, stream)

    async def _with_edit(self, body: bytes, approval: Approval) -> bytes:
        """The server's answer, and that a reviewer changed what it answers."""
        try:
            edit = await self._approvals.edit_of(approval.id)
        except (RecordUnavailable, SealBroken):  # it ran, and its answer must reach the agent
            arguments = approval.call.arguments
            edit = AppliedEdit("", json.loads(arguments), ()) if arguments else None
        if edit is None:
            return body
        addition = refusals.edited(approval, edit)
        return await aside(len(body), lambda: with_edit(body, addition))

    async def _left(self, approval: Approval, waiter: object, *, cancelled: bool) -> None:
        if not self._goes(approval, waiter) and not cancelled:
            return  # the same call is waited for here by another request
        if cancelled or approval.terms.when_detached == "withdraw":
            why = _CANCELLED if cancelled else _LEFT
            await self._approvals.withdraw(approval.id, grant=approval.call.grant, why=why)
        else:
            await self._guard.left(approval.id)

    def _link(self, approval: Approval) -> str:
        return f"{self._url}/approvals/{approval.id}"

    def _key(self, incoming: AgentRequest) -> tuple[str, str, str | int] | None:
        if incoming.caller.session is None or incoming.message.id is None:
            return None
        return (incoming.caller.grant.id, incoming.caller.session.mark, incoming.message.id)


def with_edit(body: bytes, addition: Addition) -> bytes:
    """A response with what is added to it: a result, or the data of an error."""
    message = json.loads(body)
    if isinstance(message.get("result"), dict):
        with_addition(message["result"], addition)
    elif isinstance(message.get("error"), dict):
        with_data(message["error"], addition)
    return json.dumps(message, separators=(",", ":")).encode("ascii")


def under_id(body: bytes, rpc_id: str | int | None) -> bytes:
    """A stored response under the id of the request that asks for it now."""
    message = json.loads(body)
    if message.get("id") == rpc_id and type(message["id"]) is type(rpc_id):
        return body
    message["id"] = rpc_id
    return json.dumps(message, separators=(",", ":")).encode("ascii")
