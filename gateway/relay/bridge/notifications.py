"""A legacy session's GET stream in front of a modern server: `subscriptions/listen`, untagged."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from gateway.protocol.message import CAPABILITIES_KEY, VERSION_KEY
from gateway.protocol.routing_headers import outbound_headers
from gateway.relay.bridge.legacy_client import LegacyClient
from gateway.relay.bridge.messages import as_object, decoded, encoded, notification
from gateway.relay.bridge.translate import MODERN, OWN
from gateway.relay.upstreams.message_queue import MessageQueue
from gateway.relay.upstreams.reading import read_response
from gateway.relay.upstreams.upstream import (
    NotSent,
    OutcomeUnknown,
    Request,
    Upstream,
    new_request_id,
)

log = structlog.get_logger()

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds, until a broken stream is opened again
_PASSED = frozenset(
    {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    }
)


class Notifications:
    """Listens for one session for as long as its stream is open."""

    def __init__(
        self,
        upstream: Upstream,
        client: LegacyClient,
        grant: str,
        mailbox: MessageQueue,
        *,
        max_result: int,
    ) -> None:
        self._upstream = upstream
        self._client = client
        self._grant = grant
        self._mailbox = mailbox
        self._max_result = max_result

    async def run(self) -> None:
        """Listen, again whenever the session's subscriptions change. Ends by being cancelled, or
        where the server serves no subscriptions.
        """
        pause = _FIRST_PAUSE
        while True:
            self._client.changed.clear()
            listening = asyncio.create_task(self._listen())
            changed = asyncio.create_task(self._client.changed.wait())
            try:
                await asyncio.wait({listening, changed}, return_when=asyncio.FIRST_COMPLETED)
                served = not listening.done() or listening.result()
            finally:
                listening.cancel()
                changed.cancel()
                with suppress(asyncio.CancelledError):
                    await listening
            if not served:
                await asyncio.Event().wait()  # the stream stays open and silent
            if changed.done() and not changed.cancelled():
                pause = _FIRST_PAUSE
                continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _listen(self) -> bool:
        """One subscription until it ends; False: the server has none to give."""
        rpc_id = new_request_id()
        wanted = {
            **dict.fromkeys(
                ("toolsListChanged", "promptsListChanged", "resourcesListChanged"), True
            ),
            **({"resourceSubscriptions": sorted(self._client.resources)}
               if self._client.resources else {}),
        }  # fmt: skip
        meta = {VERSION_KEY: MODERN, CAPABILITIES_KEY: self._client.capabilities}
        method, params = "subscriptions/listen", {"notifications": wanted, "_meta": meta}
        request = Request(
            method="POST",
            body=encoded({"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": params}),
            grant=self._grant,
            protocol=MODERN,
            headers=dict(outbound_headers(MODERN, method, params)),
            rpc_method=method,
            rpc_id=rpc_id,
        )
        try:
            answer = await self._upstream.send(request)
            try:
                found = await read_response(
                    answer, rpc_id, limit=self._max_result, on_message=self._heard
                )
            finally:
                await answer.aclose()
        except (NotSent, OutcomeUnknown) as error:
            log.info("bridge.news_ended", server=self._upstream.name, error=type(error).__name__)
            return True
        return "error" not in found.message

    async def _heard(self, data: bytes) -> None:
        message = decoded(data) or {}
        method, params = message.get("method"), dict(as_object(message.get("params")))
        if method not in _PASSED:
            return
        meta = {
            key: each for key, each in as_object(params.pop("_meta", None)).items()
            if not key.startswith(OWN)
        }  # fmt: skip
        params = {**params, "_meta": meta} if meta else params
        self._mailbox.put(notification(str(method), params or None))
