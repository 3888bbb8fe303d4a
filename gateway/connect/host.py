"""MCP on our own stdin and stdout, joined to a URL of a gateway."""

from __future__ import annotations

from gateway.connect.pipes import Pipes
from gateway.connect.stdio_proxy import StdioProxy
from gateway.relay.upstreams.http import HttpUpstream, pooled_session

_SILENCE = 86_400.0  # seconds; how long a call may take is the gateway's to say


async def speak(url: str, token: str) -> None:
    """Until the host closes our stdin, or stops reading."""
    async with pooled_session() as client:
        gateway = HttpUpstream(
            "gateway",
            url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_SILENCE,
            client=client,
        )
        pipes = Pipes()
        try:
            await StdioProxy(gateway, pipes.say).run(pipes.lines())
        finally:
            await pipes.aclose()
