"""Socket Mode: presses come in over connections that we open. Not pure.

slack_sdk's client speaks the protocol; when and how often to connect is decided here, because its
own loop never ends on a bad token and retries an address that works only once. A press is
acknowledged first; a connection that ends in between loses nothing, for the row decides.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from aiohttp import WSMessage
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from approvals.owned_tasks import OwnedTasks
from approvals.slack.api import Denied, Limited, SlackApi, Unreachable, opened
from approvals.slack.config import SlackConfig
from approvals.slack.health import INBOUND, SlackHealth
from approvals.slack.inbound import SLASH, Ack, Inbound
from approvals.slack.workspace import KnownWorkspace

log = structlog.get_logger()

SECONDS: Final = 5.0
"""For one question to Slack while connecting: a bad token is told within it."""

PING: Final = 3.0
_CONNECTING: Final = 8.0
_RETIRED: Final = 3.0  # seconds an old connection stays for the acknowledgements under way
_CLOSING: Final = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_REFUSED_PAUSE: Final = 60.0  # until someone may have put a token or the app right
_CROWDED_PAUSE: Final = 10.0
_REMEMBERED: Final = 2_000
_CODE: Final = re.compile(r"[a-z_]{1,60}")

_RENEWED = ("warning", "refresh_requested")
_DISABLED, _CROWDED = "link_disabled", "too_many_websockets"

_quiet = logging.getLogger("approvals.slack.socket_client")
_quiet.setLevel(logging.CRITICAL + 1)  # we tell of it ourselves, without addresses and tokens


class SocketRefused(Exception):
    """Slack will not have it like this; the text is ours and for everybody."""


class _Client(SocketModeClient):
    """slack_sdk's client that, instead of connecting again by itself, says that it is lost."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.lost = asyncio.Event()
        self.reason = ""  # of Slack's own disconnect message

    async def connect_to_new_endpoint(self, force: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - slack_sdk's
        self.lost.set()


async def introduce(api: SlackApi, pin: KnownWorkspace) -> None:
    """Ask Slack whose the bot token is.

    Raises:
        Refused: the token is not accepted, or belongs to another workspace than the settings'.
        Limited, Unreachable: not now.
    """
    try:
        told = await api.read("auth.test")
    except Denied as denied:
        raise SocketRefused(
            f"Slack does not accept the bot token ({_code(denied)}): see SIGNOFF_SLACK_BOT_TOKEN."
        ) from denied
    if not pin.team(str(told.get("team_id") or ""), str(told.get("url") or "")):
        raise SocketRefused(
            "The bot token belongs to another workspace than SIGNOFF_SLACK_TEAM_ID."
        )


async def address(app: SlackApi, config: SlackConfig) -> str:
    """A fresh address to connect to. `app` speaks with the app-level token.

    Raises:
        Refused: the token is not accepted, or Socket Mode is off.
        Limited, Unreachable: not now.
    """
    try:
        url = (await app.read("apps.connections.open")).get("url")
    except Denied as denied:
        raise SocketRefused(
            f"Slack opens no connection ({_code(denied)}): see SIGNOFF_SLACK_APP_TOKEN, its scope "
            "connections:write, and Socket Mode in the app's settings."
        ) from denied
    scheme = urlsplit(url).scheme if isinstance(url, str) else ""
    if scheme != "wss" and not (scheme == "ws" and config.local):
        raise Unreachable("no address", acted=False)
    return str(url)


class Socket:
    """The connection of one gateway. `run` it as one task; it ends only by being cancelled."""

    def __init__(
        self,
        config: SlackConfig,
        api: SlackApi,
        inbound: Inbound,
        *,
        health: SlackHealth,
        pin: KnownWorkspace,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._api = api
        self._inbound = inbound
        self._health = health
        self._pin = pin
        self._jitter = jitter
        self._pause = _FIRST_PAUSE
        self._acks: OrderedDict[str, asyncio.Task[Ack]] = OrderedDict()
        self._retiring = OwnedTasks()

    async def run(self) -> None:
        """Stay connected, whatever happens; without an app token only learn whose we are."""
        try:
            await self._until_known()
            if self._config.app_token is None:
                return
            async with opened(self._config.app_token, self._config.api_url, seconds=SECONDS) as app:
                await self._stay(app)
        finally:
            await self._retiring.end()

    async def _until_known(self) -> None:
        while True:
            pause = await self._tried(self._introduced())
            if pause is None:
                self._pause = _FIRST_PAUSE
                return
            await asyncio.sleep(pause)

    async def _introduced(self) -> None:
        await introduce(self._api, self._pin)
        if self._config.app_token is None:
            self._health.well(INBOUND)

    async def _stay(self, app: SlackApi) -> None:
        client: _Client | None = None
        while True:
            before = client
            made: list[_Client] = []
            pause = await self._tried(self._connect(app, made))
            if before is not None:
                self._retire(before, after=_RETIRED if made else 0)
            client = made[0] if made else None
            if client is not None:
                try:
                    pause = await self._lasted(client)
                except asyncio.CancelledError:
                    await _close(client)
                    raise
                if pause is not None:
                    self._retire(client, after=0)
                    client = None
            if pause is not None:
                await asyncio.sleep(pause)

    async def _lasted(self, client: _Client) -> float | None:
        """Seconds to wait once this connection has ended; None: connect again before closing it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await client.lost.wait()
        log.info("slack.disconnected", reason=client.reason or "lost")
        if loop.time() - began > _LONGEST_PAUSE:
            self._pause = _FIRST_PAUSE
        if client.reason in _RENEWED:
            return None
        if client.reason == _DISABLED:
            self._health.wrong(INBOUND, "Slack says that Socket Mode was switched off for the app.")
            return _REFUSED_PAUSE
        if client.reason == _CROWDED:
            self._health.wrong(INBOUND, "Too many connections of this app: Slack takes ten.")
            return _CROWDED_PAUSE * (1 + self._jitter())
        self._health.wrong(INBOUND, "The connection to Slack is lost; connecting again.")
        return self._next_pause()

    async def _tried(self, work: Any) -> float | None:
        """None when it worked; else the seconds to wait, with the reason told."""
        try:
            await work
        except SocketRefused as refused:
            self._health.wrong(INBOUND, str(refused))
            return _REFUSED_PAUSE
        except Limited as limited:
            self._health.wrong(INBOUND, "Slack asks to connect later.")
            return limited.after
        except Unreachable:
            self._health.wrong(INBOUND, "Slack cannot be reached.")
            return self._next_pause()
        except Exception:  # a loop that must live on; it logs and tries again
            log.exception("slack.socket_failed")
            self._health.wrong(INBOUND, "Connecting to Slack failed.")
            return self._next_pause()
        return None

    def _next_pause(self) -> float:
        pause = self._pause
        self._pause = min(_LONGEST_PAUSE, pause * 2)
        return pause * (0.5 + self._jitter())

    async def _connect(self, app: SlackApi, made: list[_Client]) -> None:
        url = await address(app, self._config)
        client: _Client = _Client(
            app_token=self._config.app_token,
            logger=_quiet,
            web_client=AsyncWebClient(base_url=self._config.api_url, logger=_quiet),
            ping_interval=PING,
            on_message_listeners=[lambda message: self._listen(client, message)],
        )
        if self._config.local:
            client.proxy = None
        client.wss_uri = url
        client.socket_mode_request_listeners.append(self._received)
        try:
            async with asyncio.timeout(_CONNECTING):
                await client.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            await _close(client)
            if isinstance(error, TimeoutError):
                raise Unreachable("no connection", acted=False) from error
            raise
        made.append(client)
        log.info("slack.connected")
        self._health.well(INBOUND)

    async def _listen(self, client: _Client, message: WSMessage) -> None:
        """What Slack says of the connection itself."""
        try:
            told = json.loads(message.data)
        except (TypeError, ValueError):
            return
        if not isinstance(told, dict):
            return
        if told.get("type") == "disconnect":
            client.reason = str(told.get("reason") or "")
        if told.get("type") == "hello":
            info = told.get("connection_info")
            app_id = info.get("app_id") if isinstance(info, dict) else ""
            if isinstance(app_id, str) and not self._pin.app(app_id):
                self._health.wrong(
                    INBOUND, "The app token belongs to another app than SIGNOFF_SLACK_APP_ID."
                )

    async def _received(
        self, client: AsyncBaseSocketModeClient, request: SocketModeRequest
    ) -> None:
        """One envelope: acknowledged, then worked on; the same one again is only acknowledged."""
        payload = request.payload if isinstance(request.payload, dict) else {}
        if request.type == "slash_commands":
            payload = {**payload, "type": SLASH}
        known = self._acks.get(request.envelope_id)
        answering = known or asyncio.create_task(self._inbound.handle(payload))
        if known is None:
            self._acks[request.envelope_id] = answering
            while len(self._acks) > _REMEMBERED:
                self._acks.popitem(last=False)
        ack = await answering
        if known is None and not self._inbound.has_room(ack):
            self._acks.pop(request.envelope_id, None)  # should it come again, it may be done
            return
        try:
            await client.send_socket_mode_response(
                SocketModeResponse(request.envelope_id, payload=ack.body)
            )
        except Exception as error:  # noqa: BLE001 - lost in between; what was pressed is done all the same
            log.warning("slack.not_acknowledged", why=type(error).__name__)
        if known is None:
            self._inbound.start(ack)

    def _retire(self, client: _Client, *, after: float) -> None:
        """Close it once what it received is acknowledged."""

        async def closing() -> None:
            try:
                await asyncio.sleep(after)
            finally:
                await _close(client)

        self._retiring.start(closing(), name="slack retiring")


async def _close(client: _Client) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_CLOSING):
            await client.close()  # type: ignore[no-untyped-call]
    tasks = (client.message_processor, client.message_receiver, client.current_session_monitor)
    for task in tasks:
        if task is not None:
            task.cancel()
    await asyncio.gather(*(one for one in tasks if one is not None), return_exceptions=True)
    await client.aiohttp_client_session.close()


def _code(denied: Denied) -> str:
    return denied.code if _CODE.fullmatch(denied.code) else "refused"
