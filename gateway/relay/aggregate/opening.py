"""How a conversation with all servers begins: `initialize` and `server/discover`, answered by the
gateway from what its servers say of themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.enforcement import refusal_texts
from gateway.protocol.jsonrpc import LEGACY_VERSIONS, MODERN_VERSIONS, ErrorCode, client_of
from gateway.relay.aggregate.lists import MISSING, Gathered, ListFailed, gather, request
from gateway.relay.aggregate.request import IDENTITY, AggregateRequest
from gateway.relay.aggregate.session import AggregateSessions, ServerSession
from gateway.relay.methods.pinned_lists import PinnedLists
from gateway.relay.methods.tasks import advertised

OPENING_SECONDS = 5.0
"""For which `initialize` and `server/discover` wait for a server; what comes later is missing from
the capabilities, and its lists are there all the same.
"""

_LISTS = ("tools", "prompts", "resources")
_PASSED = ("completions", "logging")


async def initialize(
    incoming: AggregateRequest, bundles: AggregateSessions, pinned: PinnedLists
) -> None:
    """Open a legacy session (2025-11-25, basic/lifecycle) and with it, as far as they are there,
    one of each server.
    """
    params = incoming.message.params or {}
    asked, capabilities = params.get("protocolVersion"), params.get("capabilities")
    if not isinstance(asked, str) or not isinstance(capabilities, dict):
        text = "initialize needs protocolVersion and capabilities"
        await incoming.error(ErrorCode.INVALID_PARAMS, text)
        return
    protocol = asked if asked in LEGACY_VERSIONS else LEGACY_VERSIONS[-1]
    client = client_of(params.get("clientInfo"))
    bundle = bundles.make(incoming.grant, client, protocol, capabilities)

    async def ask(server: str) -> ServerSession:
        return await bundle.session(incoming.grant, incoming.backends[server])

    found = await gather(incoming.backends, ask, seconds=OPENING_SECONDS)
    opened: Mapping[str, ServerSession] = found.answers
    result: dict[str, Any] = {
        "protocolVersion": protocol,
        "capabilities": merged([one.capabilities for one in opened.values()]),
        "serverInfo": dict(IDENTITY),
    }
    said = {server: {"instructions": one.instructions} for server, one in opened.items()}
    words = instructions(await _pinned(pinned, said) | _waiting(found))
    sealed = bundles.sealed(incoming.grant, bundle, capabilities)
    await _answer(incoming, result, words, found.missing, sealed)


async def discover(incoming: AggregateRequest, limit: int, pinned: PinnedLists) -> None:
    """Answer `server/discover` (2026-07-28, basic/discovery)."""

    async def ask(server: str) -> dict[str, Any]:
        caller = await incoming.caller(server)
        result = await request(caller, "server/discover", {}, limit)
        if result is None:
            raise ListFailed("server/discover")
        return result

    found = await gather(incoming.backends, ask, seconds=OPENING_SECONDS)
    capabilities = merged([one.get("capabilities") for one in found.answers.values()])
    result = advertised({"supportedVersions": list(MODERN_VERSIONS), "capabilities": capabilities})
    words = instructions(await _pinned(pinned, found.answers) | _waiting(found))
    await _answer(incoming, result, words, found.missing)


def merged(capabilities: Iterable[Any]) -> dict[str, Any]:
    """What all servers together can do. Tools are always among it: a server may come back."""
    result: dict[str, Any] = {"tools": {"listChanged": True}}
    for one in capabilities:
        if not isinstance(one, dict):
            continue
        for key in _LISTS:
            if isinstance(one.get(key), dict):
                result[key] = {**result.get(key, {}), **_true(one[key])}
        for key in _PASSED:
            if isinstance(one.get(key), dict):
                result[key] = {}
    return result


def instructions(words: Mapping[str, Any]) -> str:
    """Each server's instructions under its name."""
    parts = [f"## {server}\n{text}" for server, text in words.items() if text]
    return "\n\n".join(parts)


async def _pinned(pinned: PinnedLists, said: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Each server's instructions as agents may see them."""
    told = {server: await pinned.instructed(server, one) for server, one in said.items()}
    return {server: one.get("instructions") for server, one in told.items()}


def _waiting(found: Gathered) -> dict[str, Any]:
    """What agents are told of the servers that may not be used yet, in place of instructions."""
    return dict.fromkeys(found.waiting, refusal_texts.unconfirmed())


async def _answer(
    incoming: AggregateRequest,
    result: dict[str, Any],
    words: str,
    missing: tuple[str, ...],
    sealed: str = "",
) -> None:
    if words:
        result["instructions"] = words
    if missing:
        result["_meta"] = {MISSING: list(missing)}
    headers = [(b"mcp-session-id", sealed.encode("ascii"))] if sealed else []
    await incoming.answer(result, cached=True, headers=headers)


def _true(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: True for key, value in flags.items() if value is True}
