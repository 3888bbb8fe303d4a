"""A server that is not started or reached before an administrator has confirmed how."""

from __future__ import annotations

from collections.abc import Callable

from gateway.relay.upstreams.upstream import Answer, Request, Unconfirmed, Upstream


class Gate:
    """Stands before a server's `Upstream` until it may be used; see there."""

    def __init__(self, upstream: Upstream, is_open: Callable[[], bool]) -> None:
        self.name = upstream.name
        self._upstream = upstream
        self._is_open = is_open

    async def send(self, request: Request) -> Answer:
        """See `upstream.Upstream.send`."""
        if not self._is_open():
            raise Unconfirmed(f"{self.name}: its command or URL waits to be confirmed")
        return await self._upstream.send(request)

    async def ready(self, request: Request) -> None:
        """See `upstream.Upstream.ready`."""
        if self._is_open():
            await self._upstream.ready(request)

    async def aclose(self) -> None:
        await self._upstream.aclose()
