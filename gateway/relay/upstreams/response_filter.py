"""What of a server's stream an agent may have: what is no response, and the one response that its
own request gets.

Ids are small counting numbers and clients look for them in every stream they read, so a response
under another id would be taken for that request's. Event ids leave with the request they belong
to, so that a stream that is come back to is held to the same.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from approvals.aside import aside
from gateway.protocol.message import RequestId
from gateway.protocol.sse import ServerSentEvent, SseParser, block
from gateway.relay.upstreams.reading import check_depth, decoded, is_response_to, own_words

PING: Final = b": ping\n\n"
"""A comment that means nothing: a sign of life."""

_PROGRESS: Final = "notifications/progress"
_SEPARATORS: Final = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""What some clients take for the end of a line, beside what is one."""


@dataclass(frozen=True, slots=True)
class Passed:
    """One event as the agent may have it."""

    event: ServerSentEvent
    message: dict[str, Any] | None  # decoded; None: it carries none, as the first of a stream
    own: bool = False  # it is the response to the request whose stream this is

    def encoded(self) -> bytes:
        return block(self.event)


class ResponseFilter:
    """Reads one stream of a server, chunk by chunk."""

    def __init__(
        self,
        request: RequestId | None,
        *,
        limit: int,
        token: RequestId | None = None,
        resumable: bool = False,
    ) -> None:
        """`request`: whose response may pass; None: no one's, as on a session's own stream.
        `token`: the progress token of that request. `resumable`: event ids are handed down.
        """
        self._request = request
        self._token = token
        self._resumable = resumable
        self._parser = SseParser(max_event=limit)

    async def sift(self, chunk: bytes) -> list[Passed]:
        """What `chunk` completes and may pass; large events are read beside the event loop.

        Raises:
            EventTooLarge: the sieve is of no use any more.
            Unreadable: the request's own response is; see `exchange`.
        """
        return await aside(self._parser.held + len(chunk), partial(self._feed, chunk))

    def _feed(self, chunk: bytes) -> list[Passed]:
        passed = []
        for found in self._parser.feed(chunk):
            one = self._sifted(found)
            if one is not None:
                passed.append(one)
        return passed

    def _sifted(self, found: ServerSentEvent) -> Passed | None:
        event = self._named(found)
        if not found.data:
            return Passed(event, None)
        message = decoded(found.data)
        if message is None:
            return None  # what we cannot read, a client might
        method = message.get("method")
        own = False
        if not isinstance(method, str):
            own = self._request is not None and is_response_to(message, self._request)
            if not own:
                return None
            check_depth(found.data)
        elif method == _PROGRESS and self._request is not None and not self._about_us(message):
            return None
        data = own_words(found.data, message)
        return Passed(event if data is event.data else replace(event, data=data), message, own)

    def _about_us(self, message: dict[str, Any]) -> bool:
        return is_token(progress_token(message), self._token)

    def _named(self, found: ServerSentEvent) -> ServerSentEvent:
        """The event with ids and names that no client reads as more than one line."""
        if found.id is None and found.event is None:
            return found
        identifier, name = found.id, found.event
        if identifier and not (self._resumable and _one_line(identifier)):
            identifier = None
        elif identifier:
            identifier = f"{place_of(self._request)}{identifier}"
        if name is not None and not _one_line(name):
            name = None
        if identifier == found.id and name == found.event:
            return found
        return replace(found, id=identifier, event=name)


def sign_of_life(chunk: bytes) -> bytes:
    """What to hand down of a chunk that completes no event: a comment, if it is one."""
    return PING if chunk.startswith(b":") else b""


def place_of(request: RequestId | None) -> str:
    """What stands before the event ids of a request's stream, or of a session's own (None)."""
    written = b"" if request is None else json.dumps(request).encode("ascii")
    return base64.urlsafe_b64encode(written).decode("ascii").rstrip("=") + "."


def resumed(last_event: str) -> tuple[RequestId | None, str]:
    """Whose stream a Last-Event-ID comes back to (None: a session's own), and the server's id."""
    place, dot, identifier = last_event.partition(".")
    if not dot:
        return None, last_event
    if not place:
        return None, identifier
    try:
        padded = place + "=" * (-len(place) % 4)
        found = json.loads(base64.b64decode(padded, b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None, last_event
    if isinstance(found, str) or type(found) is int:
        return found, identifier
    return None, last_event


def progress_token(message: dict[str, Any]) -> Any:
    """The token of a progress note, whatever it is; None where there is none."""
    params = message.get("params")
    return params.get("progressToken") if isinstance(params, dict) else None


def is_token(found: Any, token: RequestId | None) -> bool:
    """Whether a server means this token; some make text of numbers."""
    known = isinstance(found, str) or type(found) is int
    return token is not None and known and str(found) == str(token)


def _one_line(text: str) -> bool:
    return text.isprintable() or not any(one in text for one in _SEPARATORS)
