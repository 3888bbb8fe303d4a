"""One agent that takes all processes of a server keeps no other agent out: real processes."""

from __future__ import annotations

import sys
from dataclasses import replace

import anyio
import pytest

from gateway.relay.upstreams.eviction import Place, Use, first_to_go
from gateway.relay.upstreams.stdio import StdioUpstream
from gateway.relay.upstreams.stdio_answer import Inbox
from gateway.relay.upstreams.upstream import Request
from tests.relay.test_stdio import CHILDREN, post
from tests.relay.test_stdio_faults import AT_ONCE, call, text

pytestmark = pytest.mark.anyio

OPENING = {"protocolVersion": "2025-11-25", "capabilities": {}}
MOST = 8


def places(**owners: str) -> dict[str, Place]:
    """Places by key: "grant/use/used"."""
    found = {}
    for key, written in owners.items():
        owner, use, used = written.split("/")
        found[key] = Place(owner, Use[use], float(used))
    return found


@pytest.mark.parametrize(
    ("taken", "asking", "gone"),
    [
        # No one is above two of eight: the idle one that was used least, as ever.
        ({"a": "x/IDLE/2", "b": "y/IDLE/1", "c": "z/LISTENING/0"}, "new", "b"),
        # Above it: idle before listening before busy, and no one else's idle one.
        ({"a": "x/BUSY/1", "b": "x/LISTENING/9", "c": "x/BUSY/0", "d": "y/IDLE/0"}, "new", "b"),
        ({"a": "x/BUSY/1", "b": "x/BUSY/0", "c": "x/BUSY/2", "d": "y/IDLE/0"}, "new", "b"),
        # Who has a quarter takes nothing from others.
        ({"a": "x/BUSY/1", "b": "x/BUSY/0", "c": "y/IDLE/0"}, "x", None),
        ({"a": "x/BUSY/1", "b": "x/IDLE/0", "c": "y/IDLE/0"}, "x", "b"),
        # All in use, and no one has more than others: there is no place.
        ({"a": "x/BUSY/1", "b": "y/LISTENING/0"}, "new", None),
    ],
)
def test_who_makes_room(taken: dict[str, str], asking: str, gone: str | None) -> None:
    assert first_to_go(places(**taken), asking, most=MOST) == gone


async def opened(server: StdioUpstream, grant: str) -> str:
    """A new session of this grant; "": it got none."""
    answer = await server.send(replace(post("initialize", OPENING), grant=grant))
    assert answer.status in (200, 503)
    return answer.session


async def listening(server: StdioUpstream, session: str, grant: str) -> Inbox:
    """The session's GET stream, being read."""
    request = Request(method="GET", body=b"", grant=grant, protocol="2025-11-25", session=session)
    stream = await server.send(request)
    assert isinstance(stream, Inbox)
    return stream


async def test_an_agent_that_holds_every_process_gives_one_up_to_another() -> None:
    limits = AT_ONCE.__class__(first_delay=0.0, processes=4)
    server = StdioUpstream("it", sys.executable, [str(CHILDREN / "raw.py")], limits=limits)
    async with anyio.create_task_group() as readers:

        async def read(stream: Inbox) -> None:
            async for _ in stream.body():
                pass

        try:
            with anyio.fail_after(60):
                mine = await opened(server, "bystander")
                held = [await opened(server, "greedy") for _ in range(3)]
                for session in held:
                    readers.start_soon(read, await listening(server, session, "greedy"))
                await anyio.wait_all_tasks_blocked()
                # The bystander's idle session is no one's to take.
                assert await opened(server, "greedy") == ""
                assert b"pid" in await text(server, call("echo", session=mine, grant="bystander"))
                # A third agent gets a place of the greedy one's.
                other = await opened(server, "third")
                assert other
                assert b"pid" in await text(server, call("echo", session=other, grant="third"))
                assert b"pid" in await text(server, call("echo", session=mine, grant="bystander"))
                alive = [
                    await server.send(call("echo", session=one, grant="greedy")) for one in held
                ]
                assert sorted(answer.status for answer in alive) == [200, 200, 404]
        finally:
            await server.aclose()
        readers.cancel_scope.cancel()
