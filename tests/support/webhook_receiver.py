"""A real HTTP server that receives webhooks and answers as it is told. Not a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Received:
    body: bytes
    headers: dict[str, str]


@dataclass
class Receiver:
    """`answers` are used up in order; then 204."""

    url: str = ""
    got: list[Received] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    silent: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        async with self.arrived:
            self.got.append(Received(await request.read(), headers))
            self.arrived.notify_all()
        if self.silent:
            await self.over.wait()
        return self.answers.pop(0) if self.answers else web.Response(status=204)

    async def until(self, enough: Callable[[list[Received]], bool]) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: enough(self.got))


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Listening on 127.0.0.1 for the length of the block."""
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.post)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield made
    finally:
        made.over.set()
        await runner.cleanup()
