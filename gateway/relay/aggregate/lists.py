"""Lists of several servers made one. A server that does not answer takes no one's list with it:
the tools it is known to have stay listed, and the answer says which servers are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog

from gateway.protocol.message import CAPABILITIES_KEY, VERSION_KEY
from gateway.relay.agents.request import Caller
from gateway.relay.aggregate.session import NotOpened
from gateway.relay.upstreams.reading import Response, read_response
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown, Unconfirmed, new_request_id

log = structlog.get_logger()

MISSING = "dev.signoff/missing"
"""Key of `_meta`: the servers whose part of the answer is missing."""

KEYS: Mapping[str, str] = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""Method to the member of its result that holds the list."""

SECONDS = 10.0
"""For one server to list everything."""

_MOST_PAGES = 100

Ask = Callable[[str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the servers answered, by server, in their order; and who did not answer."""

    answers: Mapping[str, Any]
    missing: tuple[str, ...]
    waiting: tuple[str, ...] = ()  # of those: no one has confirmed how they are started or reached


class ListFailed(Exception):
    """The server gave no list: an error, garbage, or nothing in time."""


class SessionLost(ListFailed):
    """The server has ended the session it was asked in."""


async def gather(servers: Iterable[str], ask: Ask, *, seconds: float = SECONDS) -> Gathered:
    """Ask every server at the same time and wait for each at most so long."""
    waiting: set[str] = set()

    async def one(server: str) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await ask(server)
        except (NotSent, OutcomeUnknown, NotOpened, ListFailed, TimeoutError) as error:
            log.warning("server.missing", server=server, error=str(error))
            if isinstance(error, Unconfirmed) or (isinstance(error, NotOpened) and error.waits):
                waiting.add(server)
            return None

    names = list(servers)
    found = await asyncio.gather(*(one(name) for name in names))
    answers = dict(zip(names, found, strict=True))
    missing = tuple(name for name in names if answers[name] is None)
    given = {name: one for name, one in answers.items() if one is not None}
    return Gathered(given, missing, tuple(name for name in missing if name in waiting))


async def request(
    caller: Caller, method: str, params: dict[str, Any], limit: int
) -> dict[str, Any] | None:
    """The result of a request of the gateway's own on this caller's behalf; None: an error.

    Raises:
        NotSent: the server cannot be reached.
        OutcomeUnknown: it gave no usable answer.
        SessionLost: it has ended the session.
    """
    return _result(await _asked(caller, method, params, limit))


async def _asked(caller: Caller, method: str, params: dict[str, Any], limit: int) -> Response:
    rpc_id = new_request_id()
    asked = caller.own_request(rpc_id, method, params, meta=(VERSION_KEY, CAPABILITIES_KEY))
    answer = await caller.backend.upstream.send(asked)
    try:
        if answer.status == HTTPStatus.NOT_FOUND and caller.session is not None:
            raise SessionLost(method)
        return await read_response(answer, rpc_id, limit=limit)
    finally:
        await answer.aclose()


def _result(response: Response) -> dict[str, Any] | None:
    result = response.message.get("result")
    return result if isinstance(result, dict) else None


async def pages(caller: Caller, method: str, limit: int, *, most: int) -> list[dict[str, Any]]:
    """All pages of one server's list, each of at most `limit` bytes and together of at most `most`.
    A server that has no such list has an empty one.

    Raises:
        NotSent, OutcomeUnknown: as `request`; it is too large.
        ListFailed: it has too many pages.
    """
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {}
    cursors: set[str] = set()
    for _ in range(_MOST_PAGES):
        response = await _asked(caller, method, params, min(limit, most))
        most -= len(response.body)
        result = _result(response)
        items = result.get(KEYS[method]) if result is not None else None
        if result is None or not isinstance(items, list):
            return found
        found += [item for item in items if isinstance(item, dict)]
        cursor = result.get("nextCursor")
        if not isinstance(cursor, str) or cursor in cursors:  # it goes round in a circle
            return found
        cursors.add(cursor)
        params = {"cursor": cursor}
    raise ListFailed(f"more than {_MOST_PAGES} pages")


def named(
    name: Callable[[str, str], str | None], lists: Mapping[str, Iterable[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Tools or prompts under the names that `name` gives them from server and own name. What has
    none, or one that is taken, is left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for server, items in lists.items():
        for item in items:
            own = item.get("name")
            joined = name(server, own) if isinstance(own, str) else None
            if joined is None or joined in found:
                log.warning("name.unusable", server=server)
                continue
            found[joined] = {**item, "name": joined}
    return list(found.values())
