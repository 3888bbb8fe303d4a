"""Sends one message, or changes it, so that Slack shows it once whatever breaks meanwhile.

Claim the row, send, note what Slack said. Where it said nothing, the next try looks for the message
by its metadata before it posts another. Not pure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from approvals.digest import canonical, sha256
from approvals.model import Approval, Millis
from approvals.outbox_worker import DeliveryRetry, NotYet
from approvals.record.database import Database
from approvals.slack import messages
from approvals.slack.action_values import EVENT
from approvals.slack.api import (
    CHANNEL,
    CONTENT,
    GONE,
    TOKEN,
    Denied,
    Limited,
    SlackApi,
    Unreachable,
)
from approvals.slack.blocks import MessageBody
from approvals.slack.limits import check
from approvals.slack.messages import Sent
from approvals.slack.pacing import UPDATES, Lanes

log = structlog.get_logger()

UNSEEN: Final = 60_000
"""Milliseconds after which a message in doubt is posted again where we may not look for it."""

TOKEN_PAUSE: Final = 60.0
"""Seconds between tries while Slack refuses the token."""

_WAIT: Final = 2.0  # seconds until a message that someone else sends is looked at again
_SKEW: Final = 600  # seconds our clock and Slack's may differ
_PAGES: Final = 5  # of two hundred messages each, searched for one in doubt


class Closed(Exception):
    """Slack refuses this channel for good: `code` is its word."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a message is to show. `wanted` tells whether it is worth posting if it is not there;
    `bare` is sent instead when Slack refuses the face.
    """

    face: MessageBody
    approval: Approval
    wanted: bool
    new: MessageBody | None = (
        None  # what is posted in its place: it calls people, which a change does not
    )
    bare: Callable[[], MessageBody] | None = None
    thread: str = ""  # the message it is a reply to
    once: bool = False  # rather never than twice
    anyway: bool = False  # change it even if it shows this already: finds out whether it is there


Draw = Callable[[], Awaitable[Wanted]]
"""Draws a message from the record as it stands. Called again once the message is claimed, so that
what was read earlier never covers what was read later.
"""


class Sending:
    """The way out to Slack."""

    def __init__(self, api: SlackApi, database: Database, lanes: Lanes) -> None:
        self._api = api
        self._database = database
        self._lanes = lanes
        self.troubles: dict[str, str] = {}
        """What does not work, as sentences, by channel as it is named; "" for Slack as a whole."""

    async def show(self, sent: Sent, draw: Draw) -> Sent | None:
        """Bring the message up to date; as it is afterwards, None if it is not there.

        Raises:
            Retry, NotYet: not now.
            Closed: never in this channel.
        """
        if not self._has_work(sent, await draw()):
            return sent if sent.is_there else None
        await self._lanes.turn(UPDATES if sent.ts else _lane(sent))
        claimed = await self._database.journal.write(partial(messages.claim, message_id=sent.id))
        if claimed is None:
            raise NotYet("someone else sends it", after=_WAIT)
        async with self._settled(claimed):
            wanted = await draw()
            if not self._has_work(claimed, wanted):
                await self._release(claimed)
            elif claimed.ts:
                await self._update(claimed, wanted)
            else:
                await self._post(claimed, wanted)
        found = await self._database.read(partial(messages.find, message_id=sent.id))
        return found if found is not None and found.is_there else None

    async def is_behind(self, sent: Sent, draw: Draw) -> bool:
        """Whether the message shows something else than it should."""
        return self._has_work(sent, await draw())

    def _has_work(self, sent: Sent, wanted: Wanted) -> bool:
        if sent.state != messages.OPEN:
            return False
        if sent.ts:
            return wanted.anyway or sent.shown != _print(wanted.face)
        return wanted.wanted or sent.doubt_at is not None

    async def _update(self, claimed: Sent, wanted: Wanted) -> None:
        place = {"channel": claimed.channel, "ts": claimed.ts}
        try:
            await self._send("chat.update", claimed, wanted, place)
        except Denied as denied:
            if denied.code not in GONE:
                raise
            if not wanted.wanted or claimed.posts >= messages.MOST_POSTS:
                log.info("slack.message_gone", approval=claimed.approval_id, why=denied.code)
                await self._close(claimed, messages.GONE, denied.code)
                return
            await self._database.journal.write(partial(messages.lost, claimed=claimed))
            where = {"channel": claimed.channel}
            answer = await self._send("chat.postMessage", claimed, wanted, where)
            await self._shown(claimed, wanted, *_place(answer), new=True)
            return
        await self._shown(claimed, wanted, claimed.channel, claimed.ts, new=False)

    async def _post(self, claimed: Sent, wanted: Wanted) -> None:
        if claimed.doubt_at is not None:
            found = await self._look_for(claimed, wanted, claimed.doubt_at)
            if found is not None:
                place = {"channel": found[0], "ts": found[1]}
                await self._send("chat.update", claimed, wanted, place)
                await self._shown(claimed, wanted, *found, new=True)
                return
            if wanted.once or not wanted.wanted:
                await self._close(claimed, messages.GONE, "not known to be posted")
                return
        where = {"channel": claimed.channel or claimed.target}
        if wanted.thread:
            where["thread_ts"] = wanted.thread
        try:
            answer = await self._send("chat.postMessage", claimed, wanted, where)
        except Denied as denied:
            if denied.code != "channel_not_found" or not where["channel"].startswith("#"):
                raise
            # Slack takes a name here; not everything that speaks its API does.
            where["channel"] = await self._named(claimed, denied)
            answer = await self._send("chat.postMessage", claimed, wanted, where)
        await self._shown(claimed, wanted, *_place(answer), new=True)

    async def _named(self, claimed: Sent, denied: Denied) -> str:
        try:
            return await self._channel_id(claimed)
        except Denied:
            raise denied from None

    async def _send(
        self, method: str, claimed: Sent, wanted: Wanted, place: dict[str, str]
    ) -> dict[str, Any]:
        face = wanted.face
        if method == "chat.postMessage" and wanted.new is not None:
            face = wanted.new
        wrong = check(face.text, face.blocks)
        if not wrong:
            try:
                return await self._api.write(method, _params(claimed, wanted, face, place))
            except Denied as denied:
                if denied.code not in CONTENT or wanted.bare is None:
                    raise
                wrong = [denied.code]
        # A fault of ours in drawing the card must not hide the call from its reviewers.
        log.error("slack.card_refused", approval=claimed.approval_id, why=wrong[:3])
        bare = wanted.bare() if wanted.bare is not None else wanted.face
        return await self._api.write(method, _params(claimed, wanted, bare, place))

    async def _look_for(
        self, claimed: Sent, wanted: Wanted, since: Millis
    ) -> tuple[str, str] | None:
        """Where a message in doubt is; None if it is nowhere, or the time to look for it is over.

        Raises:
            NotYet: we may not look, and it is too early to post another.
        """
        try:
            channel = await self._channel_id(claimed)
            params = {"channel": channel, "oldest": str(since // 1000 - _SKEW), "limit": "200"}
            params["include_all_metadata"] = "true"
            if wanted.thread:
                params["ts"] = wanted.thread
            method = "conversations.replies" if wanted.thread else "conversations.history"
            for _ in range(_PAGES):
                answer = await self._api.read(method, params)
                for message in answer.get("messages", ()):
                    if _key(message) == claimed.id:
                        return channel, str(message["ts"])
                cursor = (answer.get("response_metadata") or {}).get("next_cursor")
                if not answer.get("has_more") or not cursor:
                    return None
                params["cursor"] = cursor
        except Limited as limited:  # of the few looks Slack grants, not of posts
            raise NotYet("it may have been posted", after=limited.after) from limited
        except Denied as denied:
            if denied.code in GONE:
                return None
            log.warning("slack.cannot_look", why=str(denied), approval=claimed.approval_id)
            left = since + UNSEEN - self._database.clock.now()
            if left > 0 and not wanted.once:
                raise NotYet("it may have been posted", after=left / 1000) from denied
        return None

    async def _channel_id(self, claimed: Sent) -> str:
        """Slack's id of the channel; history is not read by name."""
        target = claimed.channel or claimed.target
        if target[:1] in "CGD" and target.isalnum() and target.isupper():
            return target
        known = await self._database.read(partial(messages.channel_of, target=target))
        if known is not None:
            return known
        if target[:1] in "UW" and target.isalnum() and target.isupper():
            answer = await self._api.read("conversations.open", {"users": target})
            return str(answer["channel"]["id"])
        params = {"types": "public_channel,private_channel", "limit": "1000"}
        params["exclude_archived"] = "true"
        for _ in range(_PAGES):
            answer = await self._api.read("conversations.list", params)
            for channel in answer.get("channels", ()):
                if channel.get("name") == target.removeprefix("#"):
                    return str(channel["id"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
            params["cursor"] = cursor
        raise Denied("channel_not_found")

    @asynccontextmanager
    async def _settled(self, claimed: Sent) -> AsyncIterator[None]:
        """Whatever goes wrong while the message is claimed, said in the outbox's words."""
        try:
            yield
        except NotYet:
            await self._release(claimed)
            raise
        except Limited as limited:
            for lane in (UPDATES, _lane(claimed)) if claimed.ts else (_lane(claimed),):
                self._lanes.close(lane, limited.after)
            await self._release(claimed)
            raise DeliveryRetry("ratelimited", after=limited.after) from limited
        except Unreachable as unreachable:
            self.troubles[""] = "Slack cannot be reached: new calls are announced once it can."
            await self._release(claimed, certain=not unreachable.acted)
            raise DeliveryRetry(str(unreachable)) from unreachable
        except Denied as denied:
            await self._refused(claimed, denied)

    async def _refused(self, claimed: Sent, denied: Denied) -> None:
        code = _word(denied.code)
        log.error("slack.refused", approval=claimed.approval_id, why=str(denied))
        if code in TOKEN:
            self.troubles[""] = f"Slack refuses the bot token ({code})."
            await self._release(claimed)
            raise DeliveryRetry(code, after=TOKEN_PAUSE) from denied
        if code in CHANNEL:
            self.troubles[claimed.target] = f"Slack refuses to post into a channel ({code})."
            await self._close(claimed, messages.FAILED, code)
            raise Closed(code) from denied
        if code in CONTENT or code in GONE:
            await self._close(claimed, messages.FAILED, code)
            return
        await self._release(claimed)
        raise DeliveryRetry(code) from denied

    async def _shown(
        self, claimed: Sent, wanted: Wanted, channel: str, ts: str, *, new: bool
    ) -> None:
        self.troubles.pop("", None)
        self.troubles.pop(claimed.target, None)
        await self._database.journal.write(
            partial(
                messages.is_shown,
                claimed=claimed,
                channel=channel,
                ts=ts,
                approval=wanted.approval,
                shown=_print(wanted.face),
                new=new,
            )
        )

    async def _close(self, claimed: Sent, state: str, error: str) -> None:
        await self._database.journal.write(
            partial(messages.close, claimed=claimed, state=state, error=error)
        )

    async def _release(self, claimed: Sent, *, certain: bool = True) -> None:
        await self._database.journal.write(
            partial(messages.release, claimed=claimed, certain=certain)
        )


def _params(
    claimed: Sent, wanted: Wanted, face: MessageBody, place: dict[str, str]
) -> dict[str, Any]:
    return {
        **place,
        "text": face.text,
        "blocks": list(face.blocks),
        "metadata": {
            "event_type": EVENT,
            "event_payload": {
                "id": wanted.approval.id,
                "revision": wanted.approval.revision,
                "kind": claimed.kind,
                "key": claimed.id,
            },
        },
        "parse": "none",
        "link_names": False,
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _key(message: dict[str, Any]) -> str:
    """Which of our messages this is; "" for anyone else's."""
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != EVENT:
        return ""
    payload = metadata.get("event_payload")
    return str(payload.get("key", "")) if isinstance(payload, dict) else ""


def _place(answer: dict[str, Any]) -> tuple[str, str]:
    """Where Slack put it. Its own id of the channel: only that can be used for changes."""
    channel, ts = answer.get("channel"), answer.get("ts")
    if not isinstance(channel, str) or not isinstance(ts, str):
        raise Unreachable("an answer without channel and ts", acted=True)
    return channel, ts


def _lane(sent: Sent) -> str:
    return f"post {sent.channel or sent.target}"


def _print(face: MessageBody) -> str:
    """Equal for equal messages."""
    return sha256(canonical([face.text, list(face.blocks)]))[:32]


def _word(code: str) -> str:
    """Slack's error code, if it looks like one: it is shown in public."""
    known = code.replace("_", "").isalnum() and code.isascii() and len(code) <= 64  # noqa: PLR2004
    return code if known else "unknown_error"
