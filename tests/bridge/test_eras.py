"""What a server speaks is asked once, and again when it contradicts; where eras agree, nothing is
touched and no one is asked.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.relay.bridge.bridge import Bridge
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown
from gateway.servers import Protocol
from tests.bridge.crossing import SECONDS, bridge, call, legacy, modern, opened, served, whole
from tests.support.live_gateway import free_port, witness

pytestmark = pytest.mark.anyio


async def patiently(up: Bridge, tool: str, key: str) -> Any:
    """A call, again where the connection was one to a server that is gone."""
    for _ in range(5):
        try:
            return await call(up, tool, key)
        except (OutcomeUnknown, NotSent):
            continue
    raise AssertionError("no answer")


async def test_a_server_of_both_eras_is_asked_once_and_left_alone(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS), witness(tmp_path) as server:
        async with bridge(server.url) as up:
            await asyncio.gather(*(call(up, "free", str(number)) for number in range(5)))
            await call(up, "free", "later")
            assert server.methods().count("server/discover") == 1
            assert "initialize" not in server.methods()
            seen = await whole(up, legacy("initialize", _hello()))
            assert seen.session == ""  # the witness has no sessions, and gets none from the bridge
            assert server.methods()[-1] == "initialize"
            assert server.methods().count("server/discover") == 1


@pytest.mark.parametrize("protocol", ["legacy", "modern"])
async def test_what_is_configured_is_not_asked(tmp_path: Path, protocol: Protocol) -> None:
    with anyio.fail_after(SECONDS), witness(tmp_path) as server:
        async with bridge(server.url, protocol=protocol) as up:
            assert (await call(up, "free", "k")).text == "free k"
            session = (await whole(up, legacy("initialize", _hello()))).session
            params = {"name": "free", "arguments": {"key": "l"}}
            assert (await whole(up, legacy("tools/call", params, session=session))).text == "free l"
        assert [key for _, key in server.ran()] == ["k", "l"]
        asked = server.methods()
        if protocol == "legacy":
            assert "server/discover" not in asked
        else:
            assert asked.count("server/discover") == 1  # what `initialize` is answered from


async def test_what_is_configured_is_not_doubted(tmp_path: Path) -> None:
    port = free_port()
    with anyio.fail_after(SECONDS):
        async with bridge(f"http://127.0.0.1:{port}/mcp", protocol="legacy") as up:
            with pytest.raises(NotSent):
                await call(up, "free", "early")
            with witness(tmp_path, port=port) as server:
                assert (await call(up, "free", "k")).text == "free k"
                assert "server/discover" not in server.methods()


async def test_a_server_that_changed_its_era_is_found_out(tmp_path: Path) -> None:
    port = free_port()
    with anyio.fail_after(60):
        async with bridge(f"http://127.0.0.1:{port}/mcp") as up:
            for number, era in enumerate(("legacy", "modern", "legacy")):
                with served(era, tmp_path / f"{number}.jsonl", port=port):  # type: ignore[arg-type]
                    assert (await patiently(up, "plain", era)).text == f"plain {era}"


async def test_a_server_that_is_away_is_asked_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    with anyio.fail_after(SECONDS):
        async with bridge(f"http://127.0.0.1:{port}/mcp") as up:
            with pytest.raises(NotSent):
                await call(up, "plain", "early")
            with served("legacy", tmp_path / "it.jsonl", port=port):
                assert (await call(up, "plain", "k")).text == "plain k"


async def test_an_error_of_a_modern_server_is_no_contradiction(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS), served("modern", tmp_path / "it.jsonl") as url:
        async with bridge(url) as up:
            bad = await whole(up, modern("tools/list", meta={"progressToken": {}}))
            assert bad.status == 400
            assert (await call(up, "plain", "k")).text == "plain k"
            await opened(up)


def _hello() -> dict[str, Any]:
    info = {"name": "t", "version": "1"}
    return {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
