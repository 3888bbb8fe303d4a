"""A legacy session of the gateway's own, on behalf of agents that know no sessions.

One session serves one grant that declares one set of capabilities, so no agent hears another
grant's questions or news. It lasts: servers keep state in it (a browser, a branch, a cursor).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any, Protocol

import structlog

from approvals.owned_tasks import OwnedTasks
from gateway.protocol.message import ErrorCode
from gateway.protocol.sse import EventTooLarge, SseParser
from gateway.relay.bridge.messages import Id, Json, as_object, decoded, encoded, identifier
from gateway.relay.bridge.translate import LEGACY, LEVELS
from gateway.relay.upstreams.reading import (
    RETRY_MS,
    Response,
    Unfinished,
    read_json,
    read_response,
    response_to,
)
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Request, Upstream

log = structlog.get_logger()

TELL_SECONDS = 10.0
_STREAM_SECONDS = 2.0  # until a server has said whether it has a stream of its own
_MOST_RETURNS = 100
_LONGEST_RETRY = 30.0
_MOST_BESIDE = 100
_GONE = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)  # where a server does not know the session
_NEWS = frozenset(
    {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    }
)


class SessionGone(NotSent):
    """The server does not know the session (any more), so it did nothing with the request."""


class StreamListener(Protocol):
    """Who wants to hear what changes on the server."""

    def news(self, method: str, params: Json) -> None: ...

    def ended(self) -> None:
        """No more will come."""


class Asked(Protocol):
    """Who gets what a server says about a request in flight."""

    own_id: int
    program: Json  # what the agent says it is

    @property
    def waiting(self) -> bool:
        """Whether its agent is there to be asked."""

    def heard(self, message: Json) -> None: ...


class LegacySession:
    """One open session. Made by `opening.open_line`."""

    def __init__(
        self, upstream: Upstream, grant: str, *, session: str, opened: Json, max_result: int
    ) -> None:
        protocol = opened.get("protocolVersion")
        self.upstream = upstream
        self.grant = grant
        self.session = session
        self.opened = opened
        self.protocol = protocol if isinstance(protocol, str) else LEGACY
        self.used = time.monotonic()
        self.gone = False
        self.notices = False  # whether the server has a stream of its own
        self.ids = itertools.count(1)
        self.flights: dict[int, Asked] = {}
        self.listeners: set[StreamListener] = set()
        self._max_result = max_result
        self._watched: Counter[str] = Counter()
        self._level = len(LEVELS)
        self._streaming = asyncio.Event()
        self._stream: asyncio.Task[None] | None = None
        self._beside = OwnedTasks()

    @property
    def idle(self) -> bool:
        return not self.flights and not self.listeners

    @property
    def capabilities(self) -> Json:
        return as_object(self.opened.get("capabilities"))

    async def begin(self) -> None:
        """Say that the session is open, and listen to what the server has to say by itself."""
        await self.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self._stream = asyncio.create_task(self._listen(), name=f"{self.upstream.name} news")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STREAM_SECONDS):
                await self._streaming.wait()

    async def exchange(
        self, message: Json, on_message: Callable[[bytes], Awaitable[None]] | None = None
    ) -> Response:
        """Send a request and read its response, over as many streams as the server makes of it.

        Raises:
            SessionGone: it was not taken; a new session may take it.
            NotSent: nothing left.
            OutcomeUnknown: no whole response came.
        """
        return await self.exchange_bytes(
            encoded(message), message["method"], message["id"], on_message
        )

    async def exchange_bytes(
        self,
        body: bytes,
        method: str,
        rpc_id: Id,
        on_message: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Response:
        """The same for a request that is encoded already."""
        self.used = time.monotonic()
        left: Unfinished | None = None
        request = self._request("POST", body, method, rpc_id)
        for _ in range(_MOST_RETURNS):
            try:
                answer = await self.upstream.send(request)
                try:
                    if answer.status in _GONE and left is None:
                        refused = await self._taken(answer, rpc_id)
                        if refused is not None:
                            return refused
                    return await read_response(
                        answer, rpc_id, limit=self._max_result, on_message=on_message
                    )
                finally:
                    await answer.aclose()
            except Unfinished as again:
                last_event = again.last_event or (left.last_event if left else "")
                left = Unfinished(last_event, again.retry_ms)
                if not self.session or not last_event:
                    raise
            except NotSent as error:
                if left is None:
                    raise
                raise OutcomeUnknown(str(error)) from error  # the request itself was sent
            await asyncio.sleep(min(left.retry_ms / 1000, _LONGEST_RETRY))
            request = self._request("GET", b"", headers={"Last-Event-ID": left.last_event})
        raise OutcomeUnknown("a stream without an end")

    async def tell(self, message: Json) -> None:
        """Send a notification or a response.

        Raises:
            SessionGone, NotSent, OutcomeUnknown: it may not have arrived.
        """
        request = self._request("POST", encoded(message))
        async with asyncio.timeout(TELL_SECONDS):
            answer = await self.upstream.send(request)
            await answer.aclose()
        if answer.status in _GONE and self.session:
            self.gone = True
            raise SessionGone(f"HTTP {answer.status}")

    async def told(self, message: Json) -> None:
        """`tell` where no one can do anything about a failure."""
        try:
            await self.tell(message)
        except (NotSent, OutcomeUnknown, TimeoutError) as error:
            log.info("bridge.not_told", server=self.upstream.name, error=type(error).__name__)

    async def speak_from(self, level: str) -> None:
        """Let the server write log lines from this level on, where it can."""
        wanted = LEVELS.index(level)
        if wanted >= self._level or "logging" not in self.capabilities:
            return
        self._level = wanted
        await self._ask("logging/setLevel", {"level": level})

    async def watch(self, uri: str) -> bool:
        """Have the server say when a resource changes; False: it will not."""
        self._watched[uri] += 1
        return self._watched[uri] > 1 or await self._ask("resources/subscribe", {"uri": uri})

    async def unwatch(self, uri: str) -> None:
        self._watched[uri] -= 1
        if self._watched[uri] <= 0:
            del self._watched[uri]
            await self._ask("resources/unsubscribe", {"uri": uri})

    async def close(self) -> None:
        """End the session, here and on the server."""
        if self._stream is not None:
            self._stream.cancel()
        for listener in list(self.listeners):
            listener.ended()
        await self._beside.wait(TELL_SECONDS)
        self._beside.cancel()
        if not self.session or self.gone:
            return
        with contextlib.suppress(NotSent, OutcomeUnknown, TimeoutError):
            async with asyncio.timeout(TELL_SECONDS):
                await (await self.upstream.send(self._request("DELETE", b""))).aclose()

    async def _ask(self, method: str, params: Json) -> bool:
        """A small request of our own; whether it was granted."""
        message = {"jsonrpc": "2.0", "id": next(self.ids), "method": method, "params": params}
        try:
            async with asyncio.timeout(TELL_SECONDS):
                return "result" in (await self.exchange(message)).message
        except (NotSent, OutcomeUnknown, TimeoutError):
            return False

    async def _taken(self, answer: Answer, rpc_id: Id) -> Response | None:
        """An answer with a status that speaks of the session: a response all the same, or raise.

        Raises:
            SessionGone: it is gone, or sessions are.
        """
        if answer.status == HTTPStatus.NOT_FOUND and not self.session:
            return None
        body = await read_json(answer, self._max_result)
        message = response_to(body, rpc_id)
        if message is not None and _about_request(answer.status, message):
            return Response(answer.status, body, message)
        self.gone = True
        raise SessionGone(f"HTTP {answer.status}")

    def _request(
        self,
        method: str,
        body: bytes,
        rpc_method: str = "",
        rpc_id: Id | None = None,
        *,
        headers: dict[str, str] | None = None,
    ) -> Request:
        return Request(
            method=method,
            body=body,
            grant=self.grant,
            protocol=self.protocol,
            session=self.session,
            headers=headers or {},
            rpc_method=rpc_method,
            rpc_id=rpc_id,
        )

    # The server's own stream.

    async def _listen(self) -> None:
        try:
            await self._follow()
        except (NotSent, OutcomeUnknown, EventTooLarge) as error:
            log.info("bridge.news_ended", server=self.upstream.name, error=type(error).__name__)
        finally:
            self.notices = False
            self._streaming.set()

    async def _follow(self) -> None:
        last_event, pause = "", RETRY_MS
        while not self.gone:
            headers = {"Last-Event-ID": last_event} if last_event else {}
            answer = await self.upstream.send(self._request("GET", b"", headers=headers))
            try:
                if answer.status != HTTPStatus.OK or answer.content_type != "text/event-stream":
                    self.gone |= answer.status == HTTPStatus.NOT_FOUND and bool(self.session)
                    return
                self.notices = True
                self._streaming.set()
                parser = SseParser(max_event=self._max_result)
                with contextlib.suppress(OutcomeUnknown):
                    async for chunk in answer.body():
                        for item in parser.feed(chunk):
                            last_event = last_event if item.id is None else item.id
                            pause = pause if item.retry is None else item.retry
                            self._said(item.data or b"")
            finally:
                await answer.aclose()
            await asyncio.sleep(max(0.1, min(pause / 1000, _LONGEST_RETRY)))

    def _said(self, data: bytes) -> None:
        message = decoded(data)
        method = message.get("method") if message is not None else None
        if message is None or not isinstance(method, str):
            return
        if method in _NEWS:
            self.news(message)
        elif (flight := self._about(message)) is not None:
            flight.heard(message)
        elif (asked := identifier(message.get("id"))) is not None:
            # No one it can be for: nothing runs here, or more than one agent's.
            self.answer_soon(asked, None if method == "ping" else "No client to ask")

    def news(self, message: Json) -> None:
        """Something changed on the server."""
        for listener in list(self.listeners):
            listener.news(message["method"], as_object(message.get("params")))

    def answer_soon(self, asked: Id, refusal: str | None) -> None:
        """Answer a question of the server by ourselves: `{}`, or an error; a flood of them not."""
        if len(self._beside) >= _MOST_BESIDE:
            return
        reply: Json = {"jsonrpc": "2.0", "id": asked}
        if refusal is None:
            reply["result"] = {}
        else:
            reply["error"] = {"code": int(ErrorCode.METHOD_NOT_FOUND), "message": refusal}
        self.soon(self.told(reply))

    def soon(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something beside the reading."""
        self._beside.start(work)

    def _about(self, message: Json) -> Asked | None:
        """The request in flight that this belongs to: the one it names, the only one, or for a
        question one of the only agent's. The answer finds the server's question by its id.
        """
        token = as_object(message.get("params")).get("progressToken")
        if message["method"] == "notifications/progress":
            return next(
                (each for own, each in self.flights.items() if str(own) == str(token)), None
            )
        flights = list(self.flights.values())
        if len(flights) == 1:
            return flights[0]
        if "id" not in message or any(each.program != flights[0].program for each in flights):
            return None  # two agents may share a grant
        # Any call of one agent can carry the question; one that waits for an answer asks no more.
        return next((each for each in flights if each.waiting), None)


def _about_request(status: int, message: Json) -> bool:
    """Whether a refusal under our request's id speaks of that request, and not of the session."""
    code = as_object(message.get("error")).get("code")
    match status:
        case HTTPStatus.BAD_REQUEST:  # the request, unless it is the revision that is refused
            return bool(code != ErrorCode.UNSUPPORTED_VERSION)
        case _:  # servers that miss the session have not looked at the request
            return code in (ErrorCode.INVALID_PARAMS, ErrorCode.METHOD_NOT_FOUND)
