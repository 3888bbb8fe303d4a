"""The stream of a legacy call goes on without its agent, who may come back for it, but not for
ever: a server could keep it open without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway.relay.agents.response import Receive
from gateway.relay.upstreams.upstream import Answer, OutcomeUnknown

AFTERLIFE_SECONDS = 30.0


async def outlive_agent(answer: Answer, receive: Receive) -> AsyncIterator[bytes]:
    """The bytes of the answer, for as long as the agent is there and a while longer.

    Raises:
        OutcomeUnknown: the connection broke, or the agent stayed away.
    """
    loop = asyncio.get_running_loop()
    gone_at: list[float] = []

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone_at.append(loop.time())

    watcher = asyncio.create_task(watch(), name="absence watch")
    try:
        async for chunk in answer.body():
            if gone_at and loop.time() - gone_at[0] > AFTERLIFE_SECONDS:
                raise OutcomeUnknown("the agent is gone and the stream does not end")
            yield chunk
    finally:
        watcher.cancel()
