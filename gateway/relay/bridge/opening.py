"""Opening a legacy session of the gateway's own, in the name of the agent that needs it."""

from __future__ import annotations

import asyncio

from gateway.relay.bridge.legacy_session import LegacySession
from gateway.relay.bridge.messages import Json, as_object, decoded, encoded
from gateway.relay.bridge.translate import LEGACY
from gateway.relay.upstreams.reading import read_response
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown, Request, Upstream

OPENING_SECONDS = 60.0
_CLIENT = {"name": "signoff", "version": "1"}


class WrongRevision(NotSent):
    """The server does not speak the revisions with sessions (any more)."""


async def open_session(
    upstream: Upstream, grant: str, capabilities: Json, client: Json, *, max_result: int
) -> LegacySession:
    """Open a session in a client's name, declaring what it declared.

    Raises:
        WrongEra: the server knows no sessions.
        NotSent: it cannot be reached, or refused; no request of the agent has left.
    """
    params = {
        "protocolVersion": LEGACY,
        "capabilities": capabilities,
        "clientInfo": client if "name" in client and "version" in client else _CLIENT,
    }
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    request = Request(
        method="POST",
        body=encoded(message),
        grant=grant,
        protocol="",
        rpc_method="initialize",
        rpc_id=0,
    )
    try:
        async with asyncio.timeout(OPENING_SECONDS):
            answer = await upstream.send(request)
            try:
                response = await read_response(answer, 0, limit=max_result)
            finally:
                await answer.aclose()
            result = response.message.get("result")
            if not isinstance(result, dict):
                code = as_object(response.message.get("error")).get("code")
                raise WrongRevision(f"initialize: error {code}")
            opened = decoded(response.body) or {}
            line = LegacySession(
                upstream,
                grant,
                session=answer.session,
                opened=as_object(opened.get("result")),
                max_result=max_result,
            )
            await line.begin()
    except (OutcomeUnknown, TimeoutError) as error:
        raise NotSent(f"initialize: {type(error).__name__}") from error
    return line
