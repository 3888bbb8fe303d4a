"""A server as agents of either era can use it. Where the eras agree, nothing is touched.

It stands where the server's own `Upstream` would, so what is judged, held, recorded and counted is
the same call on both sides: one request, whatever it takes to have it answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import structlog

from gateway.protocol.message import MODERN_VERSIONS, ErrorCode
from gateway.relay.bridge.detection import RevisionDetector
from gateway.relay.bridge.legacy_agent import HeaderParams, LegacyAgents
from gateway.relay.bridge.legacy_client import MARK
from gateway.relay.bridge.legacy_request import Answered, NotModern
from gateway.relay.bridge.messages import as_object, decoded
from gateway.relay.bridge.modern_agent import ModernAgents
from gateway.relay.bridge.opening import WrongRevision
from gateway.relay.bridge.session_pool import SessionPool
from gateway.relay.bridge.translate import MODERN
from gateway.relay.upstreams.reading import read_json, read_response
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Request, Upstream
from gateway.relay.upstreams.whole_answer import WholeAnswer
from gateway.servers import Protocol

log = structlog.get_logger()

PATIENCE = 600.0
"""Most seconds the agent's user may take to answer a question of the server."""

_BEFORE = 0.9
"""A server whose question no one answers falls silent: it is told before it is given up."""

_OF_THE_REQUEST = (
    ErrorCode.INVALID_PARAMS,
    ErrorCode.HEADER_MISMATCH,
    ErrorCode.MISSING_CAPABILITY,
    ErrorCode.PARSE_ERROR,
)
"""Errors with HTTP 400 that a server of 2026-07-28 gives; others say that it is none. No set: what
a server gives for a code may be anything.
"""


class Bridge:
    """One server. See `upstream.Upstream`."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        protocol: Protocol = "auto",
        header_params: HeaderParams,
        answered: Answered,
        max_result: int,
        timeout: float,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`timeout`: seconds the server may be silent. `refused`: see `Eras`; others: `Talk`."""
        self.name = upstream.name
        self._upstream = upstream
        patience = min(PATIENCE, timeout * _BEFORE)
        self._eras = RevisionDetector(upstream, protocol, max_result=max_result, refused=refused)
        self._pool = SessionPool(upstream, max_result=max_result)
        self._modern_agents = ModernAgents(self._pool, max_result=max_result, patience=patience)
        self._legacy_agents = LegacyAgents(
            upstream,
            header_params=header_params,
            still_modern=self._eras.still_modern,
            answered=answered,
            max_result=max_result,
            patience=patience,
        )

    async def send(self, request: Request) -> Answer:
        """See `upstream.Upstream.send`."""
        if request.protocol in MODERN_VERSIONS:
            return await self._from_modern(request)
        if request.session.startswith(MARK):
            return await self._in_session(request)
        if request.rpc_method == "initialize":
            return await self._initialize(request)
        return await self._upstream.send(request)

    async def ready(self, request: Request) -> None:
        """See `upstream.Upstream.ready`."""
        if request.protocol in MODERN_VERSIONS:
            with contextlib.suppress(NotSent, OutcomeUnknown):
                if await self._eras.learn(request.grant) is False:
                    await self._modern_agents.ready(request)
                    return
        elif request.session.startswith(MARK):  # its requests travel as a modern agent's
            request = replace(request, protocol=MODERN)
        await self._upstream.ready(request)

    async def aclose(self) -> None:
        self._modern_agents.close()
        self._legacy_agents.close()
        await self._pool.aclose()
        await self._upstream.aclose()

    async def _from_modern(self, request: Request) -> Answer:
        modern = self._eras.modern
        if modern is None:
            modern = await self._eras.learn(request.grant)
        try:
            if modern is False:
                return await self._modern_agents.send(request)
            answer = await self._upstream.send(request)
        except WrongRevision:
            self._eras.doubt()
            if await self._eras.learn(request.grant) is False:
                raise
            return await self._upstream.send(request)
        except (NotSent, OutcomeUnknown):
            self._eras.doubt()
            raise
        if answer.status == 400:  # noqa: PLR2004 - HTTP
            return await self._contradicted(request, answer)
        return answer

    async def _contradicted(self, request: Request, answer: Answer) -> Answer:
        """A modern server refused a request whole: perhaps it is none any more."""
        refused = await _taken(answer)
        error = as_object((decoded(refused.data) or {}).get("error"))
        if error.get("code") in _OF_THE_REQUEST or self._eras.fixed:
            return refused
        if await self._eras.still_modern(request.grant):
            return refused
        return await self._modern_agents.send(request)

    async def _initialize(self, request: Request) -> Answer:
        """Ask the server itself; where it knows no sessions, keep one for it."""
        if self._eras.only_modern:
            try:
                return await self._legacy_agents.initialize(request)
            except NotModern:
                self._eras.doubt()
        try:
            refused = await self._opened(request)
        except OutcomeUnknown:
            if not await self._modern_after_all(request):
                raise
            return await self._legacy_agents.initialize(request)
        opened = "result" in (decoded(refused.data) or {})
        if opened or refused.status in _AT_THE_DOOR or not await self._modern_after_all(request):
            return refused
        return await self._legacy_agents.initialize(request)

    async def _modern_after_all(self, request: Request) -> bool:
        """Whether a server that opened no session speaks 2026-07-28 instead."""
        if self._eras.fixed:
            return False
        self._eras.doubt()
        self._eras.only_modern = await self._eras.learn(request.grant) is True
        return self._eras.only_modern

    async def _opened(self, request: Request) -> WholeAnswer:
        answer = await self._upstream.send(request)
        if answer.status != 200 or request.rpc_id is None:  # noqa: PLR2004 - HTTP
            return await _taken(answer)
        try:
            found = await read_response(answer, request.rpc_id, limit=_LIMIT)
        finally:
            await answer.aclose()
        return WholeAnswer(200, found.body, session=answer.session, headers=answer.headers)

    async def _in_session(self, request: Request) -> Answer:
        try:
            return await self._legacy_agents.send(request)
        except NotModern:
            return WholeAnswer(404)  # the agent opens a new session, with the server itself


_LIMIT = 4 << 20
_AT_THE_DOOR = (401, 403, 407, 429)


async def _taken(answer: Answer) -> WholeAnswer:
    """A small answer as a whole."""
    try:
        body = await read_json(answer, _LIMIT)
    finally:
        await answer.aclose()
    return WholeAnswer(
        answer.status,
        body,
        session=answer.session,
        content_type=answer.content_type,
        headers=answer.headers,
    )
