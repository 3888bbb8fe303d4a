"""A command-started server that says that its tools changed is heard, no matter who listens."""

from __future__ import annotations

import sys

import anyio
import pytest

from gateway.relay.upstreams.stdio import StdioUpstream
from tests.relay.test_stdio import CHILDREN, META, MODERN, post
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("protocol", [MODERN, "2025-11-25"])
async def test_a_change_of_tools_is_heard_without_a_listener(protocol: str) -> None:
    heard: list[str] = []
    server = StdioUpstream(
        "it",
        sys.executable,
        [str(CHILDREN / "raw.py")],
        tools_changed=lambda: heard.append("changed"),
    )
    params = {"say": ["notifications/tools/list_changed"], "_meta": META}
    try:
        with anyio.fail_after(PATIENCE):
            session = ""
            if protocol != MODERN:
                opening = {"protocolVersion": protocol, "capabilities": {}}
                answer = await server.send(post("initialize", opening))
                session = answer.session
            answer = await server.send(post("tell", params, session=session, protocol=protocol))
            assert b"result" in b"".join([chunk async for chunk in answer.body()])
            await answer.aclose()
    finally:
        await server.aclose()
    assert heard == ["changed"]
