"""A Slack workspace on loopback, as strict as Slack: its Web API, its limits, its refusals.

Speaks the real wire to the real client. `Workspace.app` takes further routes (sockets, clicks)
until it starts. What goes wrong is scripted: `workspace.script("chat.update", busy(30))`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from tests.support.fake_slack.message import Call, Fault, Message, Params, Refused
from tests.support.fake_slack.methods import METHODS, authorize
from tests.support.fake_slack.people import Channel, Group, Person
from tests.support.patience import PATIENCE

EVERYTHING = frozenset(
    (
        *("chat:write", "chat:write.public", "commands", "im:write", "connections:write"),
        *("users:read", "users:read.email", "usergroups:read", "channels:read", "groups:read"),
        *("channels:history", "groups:history", "im:history"),
    )
)


class Workspace:
    """Team T1, bot UBOT, a public channel C1 `#approvals` and a private one G1 `#payments`."""

    def __init__(
        self,
        *,
        window: float = 0.0,
        clock: Callable[[], float] = time.time,
        scopes: frozenset[str] = EVERYTHING,
    ) -> None:
        self.window = window  # seconds between two messages of a channel; Slack's is 1
        self.clock = clock
        self.scopes = scopes
        self.team_id, self.app_id, self.bot_id, self.bot_user = "T1", "A1", "B1", "UBOT"
        self.bot_token, self.app_token = "xoxb-test", "xapp-test"
        self.signing_secret = "8f742231b10e8888abcd99yyyzzz85a5"
        self.revoked = False
        self.down = False
        self.messages: list[Message] = []
        self.ephemerals: list[Params] = []
        self.homes: dict[str, Params] = {}
        self.views: dict[str, Params] = {}
        self.calls: list[Call] = []
        self.people = {
            id_: Person(id_, name, f"{name}@example.com")
            for id_, name in (("U1", "alice"), ("U2", "bob"), ("U3", "carol"))
        }
        self.groups: dict[str, Group] = {"S1": Group("S1", "finance", ["U1", "U2"])}
        self.channels = {
            "C1": Channel("C1", "approvals"),
            "G1": Channel("G1", "payments", private=True),
        }
        self.url = ""
        self.app = web.Application(client_max_size=4 << 20)
        self.app.router.add_route("*", "/api/{method}", self._serve)
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.last_post: dict[str, float] = {}
        self.last_ts = 0
        self.triggers: dict[str, float | None] = {}
        self.serial = itertools.count(1)
        self._changed = asyncio.Condition()

    # What tests do.

    def script(self, method: str, *faults: Fault) -> None:
        """The next calls of this method go like this, one fault each."""
        self._faults[method].extend(faults)

    def shown(self, channel: str | None = None, *, thread: bool = False) -> list[Message]:
        """Messages no one deleted, oldest first; with `thread` only the replies."""
        return [
            one
            for one in self.messages
            if not one.deleted
            and channel in (None, one.channel)
            and (one.thread_ts is not None) is thread
        ]

    def called(self, method: str) -> list[Call]:
        return [one for one in self.calls if one.method == method]

    def trigger(self) -> str:
        """A trigger_id as a click brings one: good once, for three seconds."""
        made = f"{next(self.serial)}.trigger"
        self.triggers[made] = self.clock()
        return made

    async def until(self, ready: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Until a call has made it true.

        Raises:
            TimeoutError: it never was.
        """
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: bool(ready()))

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[Workspace]:
        """Listening on 127.0.0.1 for the length of the block; `url` ends in /api/."""
        runner = web.AppRunner(self.app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
        try:
            yield self
        finally:
            await runner.cleanup()

    @contextmanager
    def in_thread(self) -> Iterator[Workspace]:
        """As `running`, on a loop of its own, for tests that are no coroutines."""
        started, ended = threading.Event(), asyncio.Event()
        loop = asyncio.new_event_loop()

        async def serve() -> None:
            async with self.running():
                started.set()
                await ended.wait()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
        thread.start()
        started.wait(PATIENCE)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(PATIENCE)
            loop.close()

    # What Slack does.

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        params = await _params(request)
        self.calls.append(Call(method, params, self.clock(), request.method))
        if self.down:
            return _hang_up(request)
        fault = self._faults[method].popleft() if self._faults[method] else None
        answer: Params = {}
        if fault is None or fault.acted:
            answer = self._answer(method, params, request.headers.get("Authorization", ""))
        async with self._changed:
            self._changed.notify_all()
        if fault is None:
            return _reply(answer)
        await asyncio.sleep(fault.seconds)
        if fault.cut:
            return _hang_up(request)
        if fault.status is not None and not fault.error:
            return web.Response(status=fault.status, text="upstream connect error")
        if fault.error:
            answer = {"ok": False, "error": fault.error}
        return _reply(answer, fault.status, fault.retry_after)

    def _answer(self, method: str, params: Params, authorization: str) -> Params:
        try:
            authorize(self, method, params, authorization)
            known = METHODS.get(method)
            if known is None:
                raise Refused("unknown_method", req_method=method)  # noqa: TRY301
            return {"ok": True, **known(self, params)}
        except Refused as refused:
            return refused.answer


async def _params(request: web.Request) -> Params:
    """What was asked, however it was sent: query, form or JSON; nested values are decoded."""
    found: Params = dict(request.query)
    if request.content_type == "application/json":
        found |= await request.json()
    elif request.can_read_body:
        found |= {name: str(value) for name, value in (await request.post()).items()}
    for name in ("blocks", "metadata", "view"):
        if isinstance(found.get(name), str):
            found[name] = json.loads(found[name])
    return found


def _reply(
    answer: Params, status: int | None = None, retry_after: int | None = None
) -> web.Response:
    limited = answer.get("error") == "ratelimited"
    headers = {}
    if limited:
        status = status or 429
        headers["Retry-After"] = str(retry_after or 1)
    return web.json_response(answer, status=status or 200, headers=headers)


def _hang_up(request: web.Request) -> web.Response:
    """The connection ends without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
