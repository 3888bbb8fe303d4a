"""Which revisions one server speaks: learned by asking it once, asked again when it contradicts.

A legacy agent's `initialize` is its own question and goes to the server as it is; so what has to
be asked for is only whether a server speaks 2026-07-28.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from gateway.relay.bridge.legacy_agent import discovery
from gateway.relay.bridge.messages import as_object, decoded
from gateway.relay.bridge.translate import MODERN
from gateway.relay.upstreams.reading import read_response
from gateway.relay.upstreams.upstream import OutcomeUnknown, Request, Upstream
from gateway.servers import Protocol

log = structlog.get_logger()

ASK_SECONDS = 10.0
_ID = "signoff-era"
_UNTOLD = frozenset({*range(300, 400), 401, 402, 403, 407, 408, 429, *range(502, 600)})
"""Statuses that say nothing about revisions: of doors, of limits, of servers that are down."""

_UNTOLD_SECONDS = 30.0
"""For which a server that did not say is not asked again, and gets requests as they are."""


class RevisionDetector:
    """What is known of one server: whether it speaks 2026-07-28, and whether it speaks only that.
    `modern` None: not asked yet, or in doubt.
    """

    def __init__(
        self,
        upstream: Upstream,
        protocol: Protocol,
        *,
        max_result: int,
        refused: Callable[[str], None],
    ) -> None:
        """`refused` hears for which grant a server was asked and turned out to be legacy."""
        self._upstream = upstream
        self._max_result = max_result
        self._refused = refused
        self._asking: asyncio.Task[bool | None] | None = None
        self.fixed = protocol != "auto"
        self.modern: bool | None = {"auto": None, "legacy": False, "modern": True}[protocol]
        self.only_modern = protocol == "modern"
        self._last: bool | None = None
        self._untold_until = 0.0

    def doubt(self) -> None:
        """The server may have been started again, as another one: ask before the next request."""
        if not self.fixed:
            self.modern, self.only_modern = None, False

    async def still_modern(self, grant: str) -> bool:
        """Ask again whether it speaks 2026-07-28; what it does not say counts as no change.

        Raises:
            NotSent: it cannot be reached.
        """
        self.doubt()
        return await self.learn(grant) is not False

    async def learn(self, grant: str) -> bool | None:
        """Whether it speaks 2026-07-28, asking it where that is not known; None: it did not say.

        Raises:
            NotSent: it cannot be reached.
        """
        if self.modern is not None or time.monotonic() < self._untold_until:
            return self.modern
        if self._asking is None:
            # A task of its own: anyone who waits may go away, others wait for the same answer.
            self._asking = asyncio.create_task(self._ask(grant), name=f"{self._upstream.name} era")
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, task: asyncio.Task[bool | None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # everybody who waited may be gone

    async def _ask(self, grant: str) -> bool | None:
        body, headers = discovery(_ID, {})
        request = Request(
            method="POST",
            body=body,
            grant=grant,
            protocol=MODERN,
            headers=headers,
            rpc_method="server/discover",
            rpc_id=_ID,
        )
        try:
            async with asyncio.timeout(ASK_SECONDS):
                found = await self._answer(request)
        except (OutcomeUnknown, TimeoutError):
            found = False  # some older servers fall silent, or over, at a method they do not know
        if found is None:
            self._untold_until = time.monotonic() + _UNTOLD_SECONDS
        else:
            self.modern = found
            if found is not self._last:
                log.info("server.era", server=self._upstream.name, modern=found)
            self._last = found
        if found is False:
            self._refused(grant)
        return found

    async def _answer(self, request: Request) -> bool | None:
        answer = await self._upstream.send(request)
        try:
            if answer.status in _UNTOLD:
                return None
            found = await read_response(answer, _ID, limit=self._max_result)
        finally:
            await answer.aclose()
        message = decoded(found.body) or {}
        result, error = as_object(message.get("result")), as_object(message.get("error"))
        versions = result.get("supportedVersions") or as_object(error.get("data")).get("supported")
        return isinstance(versions, list) and MODERN in versions
