"""Multi round-trip calls (SEP-2322): a server's question handed down, the agent's answer let in.

Every question of a tools/call leaves with a state of ours around the server's, and every answer
must bring it back: so an answered call is neither asked for approval nor counted again, and no
answer gets to a call other than its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from approvals.digest import canonical, sha256
from approvals.model import Approval, Millis
from approvals.record.clock import Clock
from gateway.protocol.jsonrpc import ErrorCode, ToolCall, error_body
from gateway.protocol.request_state import (
    ANSWER_SECONDS,
    MOST_ROUNDS,
    OpenedState,
    RequestState,
    RequestStates,
)
from gateway.relay.agents.request import AgentRequest
from gateway.relay.agents.response import reply

QUESTION: Final = "input_required"
_FOREIGN: Final = "requestState does not belong to this call, is out of date or was changed"
_SPENT: Final = "requestState was used before: a question is answered once"
_UNASKED: Final = "inputResponses and requestState answer no open question of this call"
_ENDLESS: Final = "The server asked too many questions about one call"


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call that brings the answer to a question: as the server is to get it."""

    call: ToolCall
    opened: OpenedState

    @property
    def approval_id(self) -> str | None:
        """Of the approval it goes on with; None: the call needed none."""
        return self.opened.state.id if self.opened.state.id.startswith("apr_") else None


class Questions:
    """Seals questions and opens answers."""

    def __init__(self, states: RequestStates, clock: Clock) -> None:
        self._states = states
        self._clock = clock

    async def let_in(self, incoming: AgentRequest, call: ToolCall) -> AnsweredCall | None:
        """The retry this call is. None: it was refused, with a JSON-RPC error."""
        sealed = call.request_state or ""
        now = self._clock.now()
        opened = self._states.open(
            sealed, grant=incoming.caller.grant.id, server=incoming.caller.backend.name, now=now
        )
        if (
            opened is None
            or opened.state.tool != call.name
            or opened.state.arguments != sha256(call.canonical)
        ):
            await self.refuse(incoming, _FOREIGN)
            return None
        if opened.state.round > MOST_ROUNDS:
            await self.refuse(incoming, _ENDLESS)
            return None
        call = answering(call, opened.state.asked)
        extra = {key: value for key, value in call.extra.items() if key != "requestState"}
        if opened.state.server is not None:
            extra["requestState"] = opened.state.server
        return AnsweredCall(replace(call, extra=extra), opened)

    async def spent(self, incoming: AgentRequest) -> None:
        """Refuse an answer to a question that was answered."""
        await self.refuse(incoming, _SPENT)

    async def unasked(self, incoming: AgentRequest) -> None:
        """Refuse an answer to a question that no one asked: it would reach the server beside what
        was judged.
        """
        await self.refuse(incoming, _UNASKED)

    async def refuse(self, incoming: AgentRequest, text: str) -> None:
        body = error_body(incoming.message.id, ErrorCode.INVALID_PARAMS, text)
        await reply(incoming.send, 400 if incoming.caller.modern else 200, body)

    def asked(self, incoming: AgentRequest, approval: Approval, body: bytes) -> bytes:
        """The question of an approved call, for the agent that made this request."""
        until = approval.use_by or 0
        return self.question(incoming, body, about=approval.id, number=approval.round, until=until)

    def passed(self, incoming: AgentRequest, body: bytes, *, call_id: str, number: int) -> bytes:
        """The question of a call that needed no approval."""
        until = self._clock.now() + ANSWER_SECONDS * 1000
        return self.question(incoming, body, about=call_id, number=number, until=until)

    def question(
        self, incoming: AgentRequest, body: bytes, *, about: str, number: int, until: Millis
    ) -> bytes:
        """A server's `input_required` response with our state around its own."""
        message = json.loads(body)
        params = incoming.message.params or {}
        inner = message["result"].get("requestState")
        state = RequestState(
            id=about,
            tool=params["name"],
            arguments=sha256(canonical(params.get("arguments", {}))),
            round=number,
            until=until,
            server=inner if isinstance(inner, str) else None,
            asked=asked_in(message),
        )
        message["result"]["requestState"] = self._states.seal(
            state, grant=incoming.caller.grant.id, server=incoming.caller.backend.name
        )
        return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def asked_in(message: dict[str, Any]) -> tuple[str, ...]:
    """The names under which a server's question wants its answers."""
    result = message.get("result")
    requests = result.get("inputRequests") if isinstance(result, dict) else None
    return tuple(requests) if isinstance(requests, dict) else ()


def answering(call: ToolCall, asked: tuple[str, ...] | None) -> ToolCall:
    """The call with answers to what was asked alone (None: that is not known any more): others are
    ignored, as servers must (SEP-2322), and before they reach one.
    """
    given = call.input_responses
    if asked is None or given is None or given.keys() <= set(asked):
        return call
    kept = {name: one for name, one in given.items() if name in asked}
    return replace(call, extra={**call.extra, "inputResponses": kept})


def asks(message: dict[str, Any]) -> bool:
    """Whether a response to a request of 2026-07-28 is a question."""
    result = message.get("result")
    return isinstance(result, dict) and result.get("resultType") == QUESTION
