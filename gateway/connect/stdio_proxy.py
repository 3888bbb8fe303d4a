"""A host that only starts commands: its stdin and stdout, joined to a URL of the gateway.

Every message passes as it is, both ways and in both eras; only what belongs to the transport is
made here (headers, the session, coming back to a broken stream). It judges nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from approvals.owned_tasks import OwnedTasks
from gateway.enforcement.refusals import Refusal
from gateway.protocol.message import MODERN_VERSIONS, VERSION_KEY
from gateway.protocol.param_headers import HeaderParam, header_params
from gateway.protocol.routing_headers import outbound_headers
from gateway.protocol.sse import SseParser
from gateway.relay.upstreams.reading import RETRY_MS
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown, Request, Upstream

log = structlog.get_logger()

Json = dict[str, Any]

_LAST_ANSWERS_SECONDS = 1.0  # for what is under way when the host closes our stdin
_GOODBYE_SECONDS = 2.0
_AGAIN_SECONDS = 0.5
_LARGEST = 64 * 1024 * 1024
_GONE = 404
_AWAY = Refusal(
    "Not executed: the gateway does not answer. Nothing was sent. It is started by `signoff up`.",
    {"verdict": "deny", "status": "not_executed"},
)
_LOST = Refusal(
    "Outcome unknown: the gateway went away while the call was under way. If it waited for "
    "approval, repeating the identical call goes on waiting.",
    {"verdict": "allow", "status": "outcome_unknown"},
)
_REFUSED = {
    401: "The gateway does not accept this grant: see `signoff grant list`",
    403: "This grant does not reach that server",
}


@dataclass(frozen=True, slots=True)
class HostMessage:
    """One message of the host: decoded to look at, and the bytes that are sent on."""

    message: Json
    raw: bytes

    @property
    def id(self) -> Any:
        return self.message.get("id")

    @property
    def method(self) -> str:
        found = self.message.get("method")
        return found if isinstance(found, str) else ""

    @property
    def params(self) -> Json:
        found = self.message.get("params")
        return found if isinstance(found, dict) else {}

    @property
    def version(self) -> str:
        """The revision the message itself names: 2026-07-28; "" in sessions."""
        meta = self.params.get("_meta")
        found = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
        return found if isinstance(found, str) else ""


class StdioProxy:
    """One host's conversation."""

    def __init__(
        self, gateway: Upstream, say: Callable[[bytes], None], *, patience: float = 30.0
    ) -> None:
        """`say` takes one message for the host, without a line end. `patience`: seconds for a
        gateway that is away to come back.
        """
        self._gateway = gateway
        self._say = say
        self._patience = patience
        self._tasks = OwnedTasks()
        self._requests: dict[str, asyncio.Task[None]] = {}  # by the JSON of their id
        self._cancelled: set[str] = set()
        self._order = asyncio.Lock()  # messages leave in the order they came
        self._reopening = asyncio.Lock()
        self._session = ""
        self._protocol = ""
        # initialize and initialized, to open again the same way
        self._opening: list[HostMessage] = []
        self._listener: asyncio.Task[None] | None = None
        self._params: dict[str, tuple[HeaderParam, ...]] = {}

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Serve the host until its lines end, then take leave of the gateway."""
        try:
            async for line in lines:
                if line.strip():
                    self._take(line)
            await self._tasks.wait(_LAST_ANSWERS_SECONDS)
        finally:
            if self._listener is not None:
                self._listener.cancel()
            await self._tasks.end()
            await self._goodbye()

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._error(None, -32700, "Parse error: the line is not one JSON value")
            return
        if not isinstance(message, dict):
            self._error(None, -32600, "A line must be a single JSON-RPC message object")
            return
        said = HostMessage(message, line.strip())
        if said.method and "id" in message:
            key = json.dumps(said.id)
            task = self._tasks.start(self._request(said))
            self._requests[key] = task
            task.add_done_callback(lambda _: self._forget(key))
        else:
            self._tasks.start(self._tell(said))

    def _forget(self, key: str) -> None:
        self._requests.pop(key, None)
        self._cancelled.discard(key)

    # Towards the gateway.

    async def _tell(self, said: HostMessage) -> None:
        """A notification, or the host's answer to a question."""
        async with self._order:
            if said.method == "notifications/cancelled":
                key = json.dumps(said.params.get("requestId"))
                if key in self._requests:
                    self._cancelled.add(key)
                    if not self._session:  # 2026-07-28: the end of its connection cancels it
                        self._requests[key].cancel()
            if not self._opening:
                return  # nothing is told in that revision
            if said.method == "notifications/initialized":
                self._opening = [self._opening[0], said]
            try:
                await _whole(await self._gateway.send(self._asked(said)))
            except (NotSent, OutcomeUnknown) as error:
                log.warning("gateway.not_told", method=said.method, error=str(error))
            if said.method == "notifications/initialized":
                self._follow()

    async def _request(self, said: HostMessage) -> None:
        try:
            if said.method == "initialize":  # what comes after it waits for its answer
                async with self._order:
                    await self._answered(said)
            else:
                await self._after_earlier_messages()
                await self._answered(said)
        except NotSent as error:
            log.warning("gateway.away", error=str(error))
            self._refuse(said, _AWAY)
        except OutcomeUnknown as error:
            log.warning("gateway.lost", error=str(error))
            self._refuse(said, _LOST)

    async def _after_earlier_messages(self) -> None:
        """Wait until what came before has been told."""
        async with self._order:
            pass

    async def _answered(self, said: HostMessage) -> None:
        """Send a request and say what comes, its response last. A gateway that is away is waited
        for; a call that may have left is never sent again.

        Raises:
            NotSent: it stayed away.
            OutcomeUnknown: a call was under way when it went.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while True:
            try:
                answer = await self._gateway.send(self._asked(said))
                if answer.status == _GONE and self._session and said.method != "initialize":
                    await answer.aclose()
                    answer = await self._reopened(said)
                await self._read(said, answer)
            except (NotSent, OutcomeUnknown) as error:
                unsafe = isinstance(error, OutcomeUnknown) and said.method == "tools/call"
                if unsafe or loop.time() > until:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def _reopened(self, said: HostMessage) -> Answer:
        """The answer in a new session: the old one is gone, so nothing was done in it."""
        lost = self._session
        async with self._reopening:
            if self._session == lost:
                first = self._opening[0]
                self._session = self._protocol = ""
                answer = await self._gateway.send(self._asked(first))
                self._opened(answer, await _whole(answer))
                for told in self._opening[1:]:
                    await _whole(await self._gateway.send(self._asked(told)))
                self._follow()
        return await self._gateway.send(self._asked(said))

    def _asked(self, said: HostMessage) -> Request:
        headers: dict[str, str] = {}
        if said.version:
            called = said.params.get("name") if said.method == "tools/call" else None
            marked = self._params.get(called, ()) if isinstance(called, str) else ()
            headers = dict(outbound_headers(said.version, said.method, said.params, marked))
        return Request(
            method="POST",
            body=said.raw,
            grant="",
            protocol="" if said.version else self._protocol,
            session="" if said.version else self._session,
            headers=headers,
            rpc_method=said.method,
            rpc_id=said.id,
        )

    def _follow(self) -> None:
        """Listen to what the gateway says unasked, unless that is being done."""
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen(), name="gateway's own stream")

    async def _listen(self) -> None:
        """What the gateway says unasked, in a legacy session."""
        last = ""
        while True:
            retry = RETRY_MS
            try:
                answer = await self._gateway.send(self._resumption(last))
                if answer.content_type != "text/event-stream":
                    await answer.aclose()
                    return
                async for data, event_id, pause in _events(answer):
                    last, retry = event_id or last, pause or retry
                    if data:
                        self._pass(data)
            except (NotSent, OutcomeUnknown) as error:
                log.info("gateway.stream_broken", error=str(error))
            await asyncio.sleep(retry / 1000)

    def _resumption(self, last: str) -> Request:
        return Request(
            method="GET",
            body=b"",
            grant="",
            protocol=self._protocol,
            session=self._session,
            headers={"Last-Event-ID": last} if last else {},
        )

    async def _goodbye(self) -> None:
        if not self._session:
            return
        request = Request(
            method="DELETE", body=b"", grant="", protocol=self._protocol, session=self._session
        )
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await (await self._gateway.send(request)).aclose()
        except (NotSent, OutcomeUnknown, TimeoutError):
            return

    # Towards the host.

    async def _read(self, said: HostMessage, answer: Answer) -> None:
        """Say what is in an answer, up to the response."""
        last, retry = "", RETRY_MS
        while True:
            try:
                if answer.content_type != "text/event-stream":
                    if last:
                        raise OutcomeUnknown("the rest of the stream cannot be had")
                    self._respond(said, answer, await _whole(answer))
                    return
                async for data, event_id, pause in _events(answer):
                    last, retry = event_id or last, pause or retry
                    if data and _responds(data, said.id):
                        self._respond(said, answer, data)
                        return
                    if data:
                        self._pass(data)
            finally:
                await answer.aclose()
            if json.dumps(said.id) in self._cancelled:
                return  # no one waits for it
            if not last or not self._session:
                raise OutcomeUnknown("the stream ended without a response")
            await asyncio.sleep(retry / 1000)
            answer = await self._gateway.send(self._resumption(last))

    def _respond(self, said: HostMessage, answer: Answer, body: bytes) -> None:
        if said.method == "initialize":
            self._opening = [said]
            self._opened(answer, body)
        if said.method == "tools/list":
            self._note_tools(body)
        if _responds(body, said.id):
            self._pass(body)
            return
        error = (_decoded(body) or {}).get("error")
        text = f"The gateway answered with HTTP {answer.status}"
        if answer.status in _REFUSED:
            self._error(said.id, -32603, _REFUSED[answer.status])
        elif isinstance(error, dict):  # it could not read the request's id, or would not
            self._error(said.id, error.get("code", -32603), error.get("message", text))
        else:
            self._error(said.id, -32603, text)

    def _opened(self, answer: Answer, body: bytes) -> None:
        result = (_decoded(body) or {}).get("result")
        if isinstance(result, dict):
            spoken = result.get("protocolVersion")
            self._session = answer.session
            self._protocol = spoken if isinstance(spoken, str) else ""

    def _note_tools(self, body: bytes) -> None:
        """Which arguments travel as headers too (2026-07-28)."""
        result = (_decoded(body) or {}).get("result")
        tools = result.get("tools") if isinstance(result, dict) else None
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                self._params[tool["name"]] = header_params(tool.get("inputSchema"))

    def _refuse(self, said: HostMessage, refusal: Refusal) -> None:
        if said.method != "tools/call":
            self._error(said.id, -32603, refusal.text)
            return
        result = refusal.result(modern=said.version in MODERN_VERSIONS)
        self._pass(json.dumps({"jsonrpc": "2.0", "id": said.id, "result": result}).encode())

    def _error(self, identifier: Any, code: int, text: str) -> None:
        error = {"code": code, "message": text}
        self._pass(json.dumps({"jsonrpc": "2.0", "id": identifier, "error": error}).encode())

    def _pass(self, data: bytes) -> None:
        # Between the tokens of JSON a line end is white space, and inside a string there is none.
        self._say(data.replace(b"\n", b" ").replace(b"\r", b" "))


async def _whole(answer: Answer) -> bytes:
    """A body that is not a stream, or that is read for no one."""
    try:
        return b"".join([chunk async for chunk in answer.body()])
    finally:
        await answer.aclose()


async def _events(answer: Answer) -> AsyncIterator[tuple[bytes, str, int | None]]:
    """(data, event id, retry) of each event."""
    parser = SseParser(_LARGEST)
    async for chunk in answer.body():
        for found in parser.feed(chunk):
            yield found.data or b"", found.id or "", found.retry


def _decoded(body: bytes) -> Json | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _responds(body: bytes, identifier: Any) -> bool:
    """Whether this is the response to the request of that id."""
    found = _decoded(body)
    return (
        found is not None
        and "method" not in found
        and found.get("id") == identifier
        and ("result" in found or "error" in found)
    )
