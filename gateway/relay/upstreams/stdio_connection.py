"""JSON-RPC over one stdio process for many requesters: ids out, ids back, and who hears what.

Works on dicts and changes only ids, progress tokens and subscription ids, so that whatever else a
message carries arrives. Decides nothing about policy. Not pure: writes to its process.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS

from gateway.relay.upstreams.message_queue import MessageQueue
from gateway.relay.upstreams.process import Command, End, Process
from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown

Message = dict[str, Any]

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
#: A cancelled request may stay without a response (2025-11-25, basic/utilities/cancellation).
CANCEL_SECONDS = 5.0
_METHOD_NOT_FOUND = -32601
_INTERNAL_ERROR = -32603
_OPEN_ASKS = 1_000
_DIGITS = 19  # of a number of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one stdio server. Sizes in bytes, times in seconds."""

    line: int = 16 * 1024 * 1024  # one message of the server; also what waits for one reader
    processes: int = 32
    sessions: int = 1_000  # of a shared process; otherwise `processes` bounds them
    idle: float = 1_800.0
    silence: float = 15.0  # then an SSE comment, so that headers flow and proxies stay quiet
    answer: float = 300.0  # a request about which the server says nothing is given up
    start: float = 60.0  # from the process's start to its answer to `initialize`
    first_delay: float = 0.5  # before a crashed process is started again; doubles up to 30 s


@dataclass(slots=True, eq=False, kw_only=True)
class PendingRequest:
    """One request on its way: who asked, under which id, and where its answer goes."""

    own_id: int  # towards the process
    owner: str  # "": the gateway itself
    client_id: str | int
    token: str | int | None
    listen: bool
    mailbox: MessageQueue
    status: int = 200  # of an answer in one body
    abandoned: bool = False


class StdioConnection:
    """One process and everything in flight on it. All methods but `run` return at once."""

    def __init__(
        self,
        command: Command,
        limits: Limits,
        *,
        modern: bool,
        inboxes: dict[str, MessageQueue],
        on_end: Callable[[End, float], None],
    ) -> None:
        """`inboxes`: owner -> its GET stream; shared with the lane, outlives this channel."""
        self._limits = limits
        self._tools_changed = command.tools_changed
        self._modern = modern
        self._inboxes = inboxes
        self._on_end = on_end
        self._ids = itertools.count(1)
        self._flights: dict[int, PendingRequest] = {}
        self._asks: dict[str | int, tuple[str, MessageQueue]] = {}
        self._born = time.monotonic()
        self.touched = self._born
        self.process = Process(
            command, line_limit=limits.line, on_message=self._receive, on_end=self._ended
        )

    @property
    def busy(self) -> bool:
        """Whether someone waits for something."""
        return any(not flight.abandoned for flight in self._flights.values())

    # Towards the process.

    def request(self, message: Message, owner: str) -> PendingRequest:
        """Send a request under an id of our own.

        Raises:
            NotSent: see `Process.write`.
        """
        own = next(self._ids)
        flight = PendingRequest(
            own_id=own,
            owner=owner,
            client_id=message["id"],
            token=_token(message),
            listen=message["method"] == "subscriptions/listen",
            mailbox=MessageQueue(limit=self._limits.line),
        )
        self.process.write(encode(_readdressed(message, own)))
        self._flights[own] = flight
        self.touched = time.monotonic()
        return flight

    def notify(self, message: Message, owner: str) -> None:
        """Send a notification; a cancellation only of what `owner` itself has in flight.

        Raises:
            NotSent: see `Process.write`.
        """
        if message["method"] != "notifications/cancelled":
            self.process.write(encode(message))
            return
        params = message.get("params")
        if not isinstance(params, dict):
            return
        own = self._own_id(params.get("requestId"), owner)
        if own is not None:
            self.process.write(encode({**message, "params": {**params, "requestId": own}}))
            asyncio.get_running_loop().call_later(CANCEL_SECONDS, self._forget_cancelled, own)

    def respond(self, message: Message, owner: str) -> None:
        """Pass on the answer to a question of the server, if `owner` was asked it.

        Raises:
            NotSent: see `Process.write`.
        """
        identifier = _identifier(message.get("id"))
        if identifier is not None and self._asks.get(identifier, ("",))[0] == owner:
            del self._asks[identifier]
            self.process.write(encode(message))

    def abandon(self, flight: PendingRequest) -> None:
        """No one reads this answer any more: a cancellation in the modern era, else nothing."""
        flight.mailbox.discard()
        if self._modern:
            self.give_up(flight)
        elif flight.own_id in self._flights:
            flight.abandoned = True
            loop = asyncio.get_running_loop()
            loop.call_later(self._limits.answer, self._flights.pop, flight.own_id, None)

    def give_up(self, flight: PendingRequest) -> None:
        """Stop waiting and tell the server so."""
        if self._flights.pop(flight.own_id, None) is not None:
            cancelled = {"requestId": flight.own_id, "reason": "no one waits any more"}
            self._tell({"method": "notifications/cancelled", "params": cancelled})

    # From the process.

    def _receive(self, message: Message) -> None:
        self.touched = time.monotonic()
        method = message.get("method")
        if not isinstance(method, str):
            self._settle(message)
        elif "id" in message:
            self._ask(message)
        else:
            self._notice(message)

    def _settle(self, message: Message) -> None:
        own = _number(message.get("id"))
        flight = self._flights.pop(own, None) if own is not None else None
        if flight is None:
            return
        restored = {**message, "id": flight.client_id}
        error, result = message.get("error"), message.get("result")
        if self._modern and isinstance(error, dict):
            code = error.get("code")
            flight.status = ERROR_CODE_HTTP_STATUS.get(code, 200) if type(code) is int else 200
        if flight.listen and isinstance(result, dict):
            restored["result"] = _resubscribed(result, flight.client_id)
        flight.mailbox.finish(encode(restored))

    def _notice(self, message: Message) -> None:
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if message["method"] == "notifications/tools/list_changed" and self._tools_changed:
            self._tools_changed()
        match message["method"]:
            case "notifications/progress":
                self._progress(message, params)
            case "notifications/cancelled" if _identifier(params.get("requestId")) in self._asks:
                _, place = self._asks.pop(params["requestId"])
                place.put(encode(message))
            case _ if self._modern:
                self._modern_notice(message, params)
            case "notifications/message" if (flight := self._only_flight()) is not None:
                flight.mailbox.put(encode(message))
            case "notifications/message" if len(self._inboxes) > 1:
                pass  # whose it is cannot be told, and it may hold what is not the others'
            case _:
                for inbox in self._inboxes.values():
                    inbox.put(encode(message))

    def _modern_notice(self, message: Message, params: Message) -> None:
        meta = params.get("_meta")
        own = _number(meta.get(SUBSCRIPTION)) if isinstance(meta, dict) else None
        if own is None:
            flight = self._only_flight()
        elif (flight := self._flights.get(own)) is not None:
            message = {**message, "params": _resubscribed(params, flight.client_id)}
        if flight is not None:
            flight.mailbox.put(encode(message))

    def _progress(self, message: Message, params: Message) -> None:
        own = _number(params.get("progressToken"))
        flight = self._flights.get(own) if own is not None else None
        if flight is not None and flight.token is not None:
            restored = {**message, "params": {**params, "progressToken": flight.token}}
            flight.mailbox.put(encode(restored))

    def _ask(self, message: Message) -> None:
        """A request of the server: to the one it can be for, or refused."""
        identifier = _identifier(message["id"])
        if identifier is None:
            return
        if self._modern:  # 2026-07-28 has no requests from servers
            self._refuse(identifier, _METHOD_NOT_FOUND, "Method not found")
            return
        owners = {flight.owner for flight in self._flights.values() if flight.owner}
        owners = owners or set(self._inboxes)
        if len(owners) != 1 or len(self._asks) >= _OPEN_ASKS:
            self._refuse(identifier, _INTERNAL_ERROR, "No client to ask")
            return
        owner = owners.pop()
        flight = self._only_flight()
        place = flight.mailbox if flight is not None else self._inboxes.get(owner)
        if message["method"] == "ping" and flight is None and not (place and place.reading):
            self._tell({"id": identifier, "result": {}})  # no one listens, the connection stands
        elif place is None:
            self._refuse(identifier, _INTERNAL_ERROR, "No client to ask")
        else:
            self._asks[identifier] = (owner, place)
            place.put(encode(message))

    def _ended(self, end: End) -> None:
        for flight in self._flights.values():
            flight.mailbox.fail(OutcomeUnknown(end.why))
        self._flights.clear()
        self._asks.clear()
        self._on_end(end, time.monotonic() - self._born)

    # Small parts.

    def _only_flight(self) -> PendingRequest | None:
        """The one request that something unlabelled can belong to."""
        flights = [each for each in self._flights.values() if each.owner and not each.listen]
        return flights[0] if len(flights) == 1 and not flights[0].abandoned else None

    def _own_id(self, client_id: object, owner: str) -> int | None:
        for own, flight in self._flights.items():
            same = type(flight.client_id) is type(client_id) and flight.client_id == client_id
            if same and flight.owner == owner:
                return own
        return None

    def _forget_cancelled(self, own: int) -> None:
        flight = self._flights.pop(own, None)
        if flight is not None:
            flight.mailbox.fail(OutcomeUnknown("cancelled"))

    def _refuse(self, identifier: str | int, code: int, text: str) -> None:
        self._tell({"id": identifier, "error": {"code": code, "message": text}})

    def _tell(self, message: Message) -> None:
        """Write something of our own; a process that cannot take it needs no answer."""
        try:
            self.process.write(encode({"jsonrpc": "2.0", **message}))
        except NotSent:
            return


def encode(message: Message) -> bytes:
    """One line of JSON, lone surrogates as escapes."""
    try:
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(message, separators=(",", ":")).encode()


def _identifier(value: object) -> str | int | None:
    """A JSON-RPC id, which is text or a whole number."""
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _number(value: object) -> int | None:
    """An id or token of ours as the server gives it back; some make text of numbers."""
    if isinstance(value, str):
        plain = len(value) <= _DIGITS and value.isdecimal() and value.isascii()
        return int(value) if plain else None
    return value if type(value) is int else None


def _token(message: Message) -> str | int | None:
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return _identifier(meta.get("progressToken")) if isinstance(meta, dict) else None


def _readdressed(message: Message, own: int) -> Message:
    """The same request under our id and, where it has one, our progress token."""
    sent = {**message, "id": own}
    if _token(message) is not None:
        params = message["params"]
        sent["params"] = {**params, "_meta": {**params["_meta"], "progressToken": own}}
    return sent


def _resubscribed(params: Message, client_id: str | int) -> Message:
    """The same with the listener's own id as subscription id, where there is one."""
    meta = params.get("_meta")
    if not isinstance(meta, dict) or SUBSCRIPTION not in meta:
        return params
    return {**params, "_meta": {**meta, SUBSCRIPTION: client_id}}
