"""How a refusal reaches the agent: as a tool result, which models read and hosts show calmly. What
is no call has none, and is refused with an error that carries the same facts.
"""

from __future__ import annotations

from approvals.model import Approval
from gateway.enforcement import refusal_texts, refusals
from gateway.enforcement.refusals import Refusal
from gateway.protocol.jsonrpc import error_body, result_body
from gateway.relay.agents.request import AgentRequest
from gateway.relay.agents.response import EventStream, reply
from gateway.relay.upstreams.reading import TooLarge, Unreadable
from gateway.relay.upstreams.upstream import OutcomeUnknown, Unconfirmed


async def refuse(
    incoming: AgentRequest, refusal: Refusal, stream: EventStream | None = None
) -> None:
    """Answer this call with a refusal, on the stream if one was begun."""
    await answer(incoming, refusal_body(incoming, refusal), stream)


def refusal_body(incoming: AgentRequest, refusal: Refusal) -> bytes:
    """A refusal as the response to this call."""
    if incoming.message.id is None:
        raise RuntimeError("a call has an id")
    return result_body(incoming.message.id, refusal.result(modern=incoming.caller.modern))


def unknown(error: OutcomeUnknown, approval: Approval | None = None) -> Refusal:
    """What the agent is told of a call that may have run."""
    if isinstance(error, TooLarge):
        return refusals.too_large(approval)
    if isinstance(error, Unreadable):
        return refusals.unreadable(approval)
    return refusals.outcome_unknown(approval)


async def answer(
    incoming: AgentRequest, body: bytes, stream: EventStream | None = None, *, status: int = 200
) -> None:
    """The one response to this call: JSON, or the last event of the stream that was begun."""
    if stream is None or not stream.started:
        await reply(incoming.send, status, body)
        return
    await stream.message(body)
    await stream.end()


def unreachable(error: Exception) -> str:
    """What the agent is told of a request that is no call and did not come to the server."""
    if isinstance(error, Unconfirmed):
        return refusal_texts.unconfirmed()
    return "The server behind the gateway cannot be reached"


async def refuse_request(incoming: AgentRequest, refusal: Refusal) -> None:
    """Answer a request that is no call with a refusal."""
    body = error_body(incoming.message.id, _REFUSED, refusal.text, refusal.data())
    await reply(incoming.send, 200, body)


_REFUSED = -32603  # the one code that no host takes for a fault of its own request
