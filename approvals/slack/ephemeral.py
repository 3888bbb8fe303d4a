"""Words to one person alone: what came of a press that changed nothing on the card. Not pure.

Best effort, after everything that matters; a person who mashes a button burns no limits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import structlog

from approvals.slack.api import Denied, Limited, SlackApi, Unreachable
from approvals.slack.config import SlackConfig
from approvals.slack.home import sentence

log = structlog.get_logger()

HOOKS: Final = "hooks.slack.com"
SECONDS: Final = 5.0

_PAUSE: Final = 10.0  # seconds between two refusals to one person
_BURST: Final = 5  # other answers to one person in that time
_MOST: Final = 1_000  # people remembered


@dataclass(frozen=True, slots=True)
class EphemeralListener:
    """One person, and the ways by which Slack lets us reach them about one press."""

    user: str
    channel: str = ""
    response_url: str = ""


class Whispers:
    """Answers to people, one at a time and not too many."""

    def __init__(self, config: SlackConfig, api: SlackApi, now: Callable[[], float]) -> None:
        self._config = config
        self._api = api
        self._now = now  # seconds, monotonic
        self._told: OrderedDict[str, list[float]] = OrderedDict()

    async def refuse(self, listener: EphemeralListener, words: str) -> None:
        """Told to someone who may not decide: one in ten seconds."""
        if self._room(listener.user, most=1):
            await self._tell(listener, words)

    async def answer(self, listener: EphemeralListener, words: str) -> None:
        """Told to a reviewer."""
        if self._room(listener.user, most=_BURST):
            await self._tell(listener, words)

    async def replace(self, listener: EphemeralListener, words: str) -> None:
        """Put these words in place of a message that only this person sees."""
        if self._usable(listener.response_url):
            await self._respond(listener.response_url, sentence(words) | {"replace_original": True})

    def _room(self, user: str, *, most: int) -> bool:
        now = self._now()
        recent = [at for at in self._told.pop(user, []) if now - at < _PAUSE]
        room = len(recent) < most
        self._told[user] = [*recent, now] if room else recent
        while len(self._told) > _MOST:
            self._told.popitem(last=False)
        return room

    async def _tell(self, listener: EphemeralListener, words: str) -> None:
        """To where the press was; a modal opened from App Home has no such place."""
        message = {
            name: value for name, value in sentence(words).items() if name != "response_type"
        }
        if listener.channel and await self._try(
            "chat.postEphemeral",
            {"channel": listener.channel, "user": listener.user, **message},
        ):
            return
        if self._usable(listener.response_url):
            told = {**sentence(words), "replace_original": False}
            if await self._respond(listener.response_url, told):
                return
        await self._try("chat.postMessage", {"channel": listener.user, **message})

    async def _try(self, method: str, params: Mapping[str, Any]) -> bool:
        try:
            await self._api.write(method, params)
        except (Denied, Limited, Unreachable) as error:
            log.warning("slack.not_told", method=method, why=str(error))
            return False
        return True

    def _usable(self, url: str) -> bool:
        """Whether the address is one that Slack gives out; a payload's text is not trusted."""
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.netloc == HOOKS:
            return True
        api = urlsplit(self._config.api_url)
        return self._config.local and (parts.scheme, parts.netloc) == (api.scheme, api.netloc)

    async def _respond(self, url: str, message: Mapping[str, Any]) -> bool:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=not self._config.local) as client,
                client.post(url, json=message, allow_redirects=False) as answer,
            ):
                return answer.status == 200  # noqa: PLR2004 - OK
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("slack.not_told", method="response_url", why=type(error).__name__)
            return False
