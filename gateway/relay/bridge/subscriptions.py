"""`subscriptions/listen` in front of a legacy server: its own stream and resources/subscribe."""

from __future__ import annotations

from gateway.relay.bridge.legacy_session import LegacySession
from gateway.relay.bridge.messages import Id, Json, as_object, notification, response
from gateway.relay.bridge.queued_answer import QueuedAnswer
from gateway.relay.bridge.translate import OWN
from gateway.relay.upstreams.message_queue import MessageQueue
from gateway.relay.upstreams.upstream import Answer

SUBSCRIPTION = f"{OWN}subscriptionId"
_LIMIT = 1 << 20
_MOST_RESOURCES = 1_000
_FILTERS = {
    "toolsListChanged": ("tools", "notifications/tools/list_changed"),
    "promptsListChanged": ("prompts", "notifications/prompts/list_changed"),
    "resourcesListChanged": ("resources", "notifications/resources/list_changed"),
}


class Listening:
    """One subscription of a modern agent. See `line.Listener`."""

    def __init__(self, line: LegacySession, rpc_id: Id) -> None:
        self._line = line
        self._id = rpc_id
        self._mailbox = MessageQueue(limit=_LIMIT)
        self._wanted: set[str] = set()
        self._resources: set[str] = set()

    async def start(self, asked: Json) -> Answer:
        """Acknowledge what can be had and stream it."""
        granted: Json = {}
        offered = self._line.capabilities if self._line.notices else {}
        for name, (part, method) in _FILTERS.items():
            if asked.get(name) is True and as_object(offered.get(part)).get("listChanged") is True:
                granted[name] = True
                self._wanted.add(method)
        self._line.listeners.add(self)
        uris = asked.get("resourceSubscriptions")
        if isinstance(uris, list) and as_object(offered.get("resources")).get("subscribe") is True:
            for uri in uris[:_MOST_RESOURCES]:
                if isinstance(uri, str) and uri not in self._resources:
                    self._resources.add(uri)
                    if not await self._line.watch(uri):
                        self._resources.discard(uri)
                        self._line.soon(self._line.unwatch(uri))
            granted["resourceSubscriptions"] = [uri for uri in uris if uri in self._resources]
        self._mailbox.put(self._tagged("notifications/subscriptions/acknowledged", granted))
        return await QueuedAnswer(self._mailbox, closed=self._left).start()

    def news(self, method: str, params: Json) -> None:
        updated = method == "notifications/resources/updated"
        if method in self._wanted or (updated and params.get("uri") in self._resources):
            meta = {**as_object(params.get("_meta")), SUBSCRIPTION: self._id}
            self._mailbox.put(notification(method, {**params, "_meta": meta}))

    def ended(self) -> None:
        meta = {SUBSCRIPTION: self._id}
        self._mailbox.finish(response(self._id, {"resultType": "complete", "_meta": meta}))

    def _tagged(self, method: str, granted: Json) -> bytes:
        return notification(method, {"notifications": granted, "_meta": {SUBSCRIPTION: self._id}})

    def _left(self) -> None:
        if self not in self._line.listeners:
            return
        self._line.listeners.discard(self)
        for uri in self._resources:
            self._line.soon(self._line.unwatch(uri))
