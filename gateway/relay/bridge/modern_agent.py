"""A 2026-07-28 agent in front of a server that only knows sessions.

Each request travels on a session of the gateway's own (`pool`), and comes back as the agent's
revision has it. Questions of the server become `input_required` (`flight`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from approvals.digest import canonical, sha256
from gateway.protocol.jsonrpc import encode_call
from gateway.protocol.message import CAPABILITIES_KEY, CLIENT_KEY, ErrorCode
from gateway.relay.bridge.legacy_session import LegacySession, SessionGone
from gateway.relay.bridge.messages import (
    Id,
    Json,
    as_object,
    decoded,
    encoded,
    identifier,
    refusal,
    response,
)
from gateway.relay.bridge.modern_request import ModernRequest
from gateway.relay.bridge.parked_state import Bound, ParkedStates
from gateway.relay.bridge.session_pool import SessionPool
from gateway.relay.bridge.subscriptions import Listening
from gateway.relay.bridge.translate import (
    ASKING,
    LEVEL_KEY,
    LEVELS,
    client_capabilities,
    discovered,
    legacy_params,
)
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Request
from gateway.relay.upstreams.whole_answer import WholeAnswer, accepted

log = structlog.get_logger()

MOST_PARKED = 1_000
MOST_PARKED_EACH = 50  # of one grant

_PASSED = frozenset(
    {
        *("tools/list", "tools/call", "prompts/list", "prompts/get", "completion/complete"),
        *("resources/list", "resources/templates/list", "resources/read"),
    }
)
_TASKS = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
_AGAIN = "again"
_BAD_STATE = "Invalid or expired requestState"


@dataclass(frozen=True, slots=True)
class Parked:
    """A call that waits at the server for an answer of the agent's user."""

    flight: ModernRequest
    expiry: asyncio.TimerHandle


class ModernAgents:
    """Serves requests of 2026-07-28 over legacy sessions."""

    def __init__(self, pool: SessionPool, *, max_result: int, patience: float) -> None:
        """`patience`: seconds a question may stay unanswered before its call is cancelled."""
        self._pool = pool
        self._max_result = max_result
        self._patience = patience
        self._states = ParkedStates()
        self._parked: dict[str, Parked] = {}
        self._numbers = 0

    async def send(self, request: Request) -> Answer:
        """See `upstream.Upstream.send`.

        Raises:
            WrongEra: the server knows no sessions (any more); nothing was done.
        """
        message = decoded(request.body) or {}
        method, rpc_id = message.get("method"), identifier(message.get("id"))
        if not isinstance(method, str) or rpc_id is None:
            return accepted()  # 2026-07-28 has no notifications of clients over HTTP
        params = as_object(message.get("params"))
        if method in _TASKS:
            return refusal(rpc_id, ErrorCode.INVALID_PARAMS, "Unknown task", modern=True)
        if method in ASKING and isinstance(params.get("requestState"), str):
            return await self._resume(request, method, rpc_id, params)
        return await self._on_a_session(request, method, rpc_id, params)

    async def ready(self, request: Request) -> None:
        """Open the session this request would travel on.

        Raises:
            NotSent: it cannot be opened.
        """
        await self._line(request, as_object((decoded(request.body) or {}).get("params")))

    def close(self) -> None:
        """Cancel what waits for answers that will not come any more."""
        for parked in list(self._parked.values()):
            parked.expiry.cancel()
            parked.flight.cancel()
        self._parked.clear()

    async def _on_a_session(
        self, request: Request, method: str, rpc_id: Id, params: Json
    ) -> Answer:
        """Send it; a server that lost the session has not looked at it and gets it in a new one."""
        try:
            return await self._once(request, method, rpc_id, params)
        except SessionGone:
            log.info("bridge.session_gone", method=method)
            return await self._once(request, method, rpc_id, params)

    async def _once(self, request: Request, method: str, rpc_id: Id, params: Json) -> Answer:
        meta = as_object(params.get("_meta"))
        declared = client_capabilities(as_object(meta.get(CAPABILITIES_KEY)))
        program = as_object(meta.get(CLIENT_KEY))
        line = await self._line(request, params)
        match method:
            case "server/discover":
                result = discovered(line.opened, notices=line.notices)
                return WholeAnswer(200, response(rpc_id, result))
            case "subscriptions/listen":
                return await Listening(line, rpc_id).start(as_object(params.get("notifications")))
            case _ if method not in _PASSED:
                return refusal(rpc_id, ErrorCode.METHOD_NOT_FOUND, "Method not found", modern=True)
        level = _level(meta)
        if level is not None:
            await line.speak_from(level)
        bound = _bound(request, method, params)
        flight = ModernRequest(
            line,
            method=method,
            bound=bound,
            again=self._states.seal(_AGAIN, bound),
            declared=declared,
            program=program,
            park=self._park,
            limit=self._max_result,
        )
        flight.depart(_body(flight.own_id, method, params))
        return await flight.round(rpc_id, identifier(meta.get("progressToken")), level)

    async def _line(self, request: Request, params: Json) -> LegacySession:
        meta = as_object(params.get("_meta"))
        declared = client_capabilities(as_object(meta.get(CAPABILITIES_KEY)))
        return await self._pool.line(request.grant, declared, as_object(meta.get(CLIENT_KEY)))

    # Calls that wait for an answer.

    def _park(self, flight: ModernRequest) -> str | None:
        """Keep a flight for the agent's retry; the state it must come with, or None: no room."""
        of_grant = sum(
            1 for each in self._parked.values() if each.flight.bound.grant == flight.bound.grant
        )
        if len(self._parked) >= MOST_PARKED or of_grant >= MOST_PARKED_EACH:
            log.warning("bridge.too_many_parked", grant=flight.bound.grant)
            return None
        self._numbers += 1
        name = f"{self._numbers}"
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(self._patience, self._expire, name)
        self._parked[name] = Parked(flight, expiry)
        return self._states.seal(name, flight.bound)

    def _expire(self, name: str) -> None:
        parked = self._parked.pop(name)
        log.info("bridge.unanswered", server=parked.flight.line.upstream.name)
        parked.flight.cancel()

    async def _resume(self, request: Request, method: str, rpc_id: Id, params: Json) -> Answer:
        """Bring the answers to the call that waits for them, and wait for what it says next."""
        name = self._states.open(params["requestState"], _bound(request, method, params))
        if name == _AGAIN:
            return await self._on_a_session(request, method, rpc_id, params)
        parked = self._parked.pop(name, None) if name is not None else None
        if parked is None:
            return refusal(rpc_id, ErrorCode.INVALID_PARAMS, _BAD_STATE, modern=True)
        parked.expiry.cancel()
        flight, meta = parked.flight, as_object(params.get("_meta"))
        given = as_object(params.get("inputResponses"))
        for key, ask in list(flight.asks.items()):
            if not isinstance(given.get(key), dict):
                continue  # asked again
            del flight.asks[key]
            try:
                await flight.line.tell({"jsonrpc": "2.0", "id": ask.id, "result": given[key]})
            except (NotSent, OutcomeUnknown, TimeoutError) as error:
                flight.cancel()
                raise OutcomeUnknown("the answer could not be brought") from error
        return await flight.round(rpc_id, identifier(meta.get("progressToken")), _level(meta))


def _bound(request: Request, method: str, params: Json) -> Bound:
    named = params.get("uri" if method == "resources/read" else "name")
    digest = sha256(canonical(params.get("arguments") or {}))
    return Bound(request.grant, method, named if isinstance(named, str) else "", digest)


def _body(own_id: int, method: str, params: Json) -> bytes:
    """The request towards the server; a tool's arguments are the bytes that were judged."""
    kept = legacy_params(params, own_id)
    if method == "tools/call":
        arguments = canonical(kept.get("arguments", {}))
        return encode_call(own_id, kept["name"], arguments, kept.get("_meta"))
    return encoded({"jsonrpc": "2.0", "id": own_id, "method": method, "params": kept})


def _level(meta: Json) -> str | None:
    level = meta.get(LEVEL_KEY)
    return level if isinstance(level, str) and level in LEVELS else None
