"""Short messages about the gateway itself: that something waits for an administrator.

Best effort: what is told here stands on the page and in the log as well. Not pure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from approvals.slack.api import Denied, Limited, SlackApi, Unreachable
from approvals.slack.config import SlackConfig
from approvals.slack.text import escape, fit, visible

log = structlog.get_logger()

REST: Final = 60.0
"""Seconds between two messages about the same thing: a file may be written again and again."""

_TRIES: Final = 6
_PAUSE: Final = 5.0  # seconds after a failure, doubled each time
_LONGEST: Final = 600  # characters of foreign words in a message


class Notices:
    """Tells the gateway's channel. `tell` returns at once."""

    def __init__(self, config: SlackConfig, api: SlackApi) -> None:
        self._channel = config.channel
        self._url = config.public_url.rstrip("/")
        self._api = api
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def tell(self, about: str, path: str, text: Callable[[], str | None]) -> None:
        """Say something now, or as soon as an earlier message about the same is old enough.

        Args:
            about: what it is about; one message of each kind is on its way at most.
            path: of our page, where something can be done.
            text: the words when the time has come; None: there is nothing to say any more.
        """
        running = self._tasks.get(about)
        if self._channel is None or (running is not None and not running.done()):
            return
        self._tasks[about] = asyncio.create_task(
            self._say(self._channel, path, text), name=f"slack notice {about}"
        )

    async def aclose(self) -> None:
        """Give up what is not sent."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _say(self, channel: str, path: str, text: Callable[[], str | None]) -> None:
        said: str | None = None
        while (wanted := text()) is not None and wanted != said:
            await self._post({"channel": channel, **_drawn(wanted, f"{self._url}{path}")})
            said = wanted
            await asyncio.sleep(REST)  # what came meanwhile is told then, once

    async def _post(self, message: dict[str, Any]) -> None:
        for number in range(_TRIES):
            try:
                await self._api.write("chat.postMessage", message)
            except Denied as denied:
                log.warning("slack.notice_refused", why=denied.code)
                return
            except Limited as limited:
                await asyncio.sleep(limited.after)
            except Unreachable as lost:
                if lost.acted:
                    return  # perhaps it is there: once is enough
                await asyncio.sleep(_PAUSE * 2**number)
            else:
                return


def _drawn(text: str, link: str) -> dict[str, Any]:
    """The message: what others wrote is text and nothing else."""
    shown = fit(visible(text), _LONGEST)
    blocks = [
        {"type": "section", "text": {"type": "plain_text", "text": shown, "emoji": False}},
        {"type": "section", "text": {"type": "mrkdwn", "text": f"<{link}|Look and confirm>"}},
    ]
    return {"text": escape(shown), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
