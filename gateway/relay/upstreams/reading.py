"""Reading a server's answer: find the one response in it, pass on what comes before.

An answer is one JSON text or an SSE stream that ends with the response (basic/transports). What is
not the response (progress, logging, requests to the client) is handed to `on_message` as it came.
Responses to anything else, and words that are the gateway's alone, are left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from json import dumps, loads
from typing import Any, Final

import orjson

from approvals.aside import aside
from approvals.model import Execution
from gateway.protocol import reserved
from gateway.protocol.jsonrpc import error_body
from gateway.protocol.message import HTTP_STATUS
from gateway.protocol.sse import EventTooLarge, SseParser
from gateway.protocol.strict_json import deeper_than
from gateway.relay.upstreams.upstream import Answer, OutcomeUnknown

#: Redirects and doubts about a credential concern the gateway; an agent would act on its own.
_ABOUT_US = frozenset({*range(300, 400), 401, 403, 407})

#: No credential, no right, no such session, wrong method or media, too large, too many.
_UNREAD: Final = frozenset({401, 403, 404, 405, 406, 413, 415, 429})

RESULT_DEPTH: Final = 128
"""Arrays and objects inside each other in what a server answers. From about 200 on parsers differ;
a page or an agent that cannot read a result it is handed is no use to anyone.
"""

RETRY_MS: Final = 1_000
"""Until one comes back to a stream whose server did not say how long to wait."""

OnMessage = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Response:
    """A server's response to one request."""

    status: int  # HTTP
    body: bytes  # the JSON-RPC message, as the server wrote it but for words that are ours alone
    message: dict[str, Any]  # the same, decoded; for looking, not for sending

    @property
    def execution(self) -> Execution:
        """What this response says about a tools/call."""
        return classify(self.message)


class Garbage(OutcomeUnknown):
    """The server answered, but not with a response to this request."""


class Unfinished(Garbage):
    """The stream ended before the response, which may be had by coming back to it (SEP-1699)."""

    def __init__(self, last_event: str, retry_ms: int) -> None:
        super().__init__("the stream ended without a response")
        self.last_event = last_event
        self.retry_ms = retry_ms


class Unreadable(Garbage):
    """The response is nested so deeply that readers give up, or differ (see `strictjson`)."""


class TooLarge(OutcomeUnknown):
    """The answer is larger than the gateway passes on."""


def classify(message: dict[str, Any]) -> Execution:
    result = message.get("result")
    if not isinstance(result, dict):
        return Execution.UPSTREAM_ERROR
    if result.get("resultType") == "input_required":
        return Execution.INPUT_REQUIRED
    return Execution.TOOL_ERROR if result.get("isError") is True else Execution.SUCCEEDED


def decoded(data: bytes) -> dict[str, Any] | None:
    """A server's message; None: it is none, or nothing that has one reading."""
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        # Half of a surrogate pair, as an escape, is all that a client may read and orjson does not.
        try:
            message = loads(data.decode("utf-8"), parse_constant=_no_number)
        except (ValueError, RecursionError):
            return None
    return message if isinstance(message, dict) else None


def is_response_to(message: dict[str, Any], rpc_id: str | int) -> bool:
    """Whether a message is the response to this request."""
    found = message.get("id")
    if found != rpc_id or type(found) is not type(rpc_id):  # True == 1 == 1.0
        return False
    return "method" not in message and ("result" in message or "error" in message)


def response_to(body: bytes, rpc_id: str | int) -> dict[str, Any] | None:
    """The message, if it is the response to this request; None if it is anything else.

    Raises:
        Unreadable: it is, and nested deeper than `RESULT_DEPTH`.
    """
    message = decoded(body)
    if message is None or not is_response_to(message, rpc_id):
        return None
    check_depth(body)
    return message


def check_depth(body: bytes) -> None:
    """See to it that anyone who gets a response can read it.

    Raises:
        Unreadable: it is nested deeper than `RESULT_DEPTH`.
    """
    if deeper_than(body, RESULT_DEPTH):
        raise Unreadable(f"nested deeper than {RESULT_DEPTH}")


def answer_in(body: bytes, rpc_id: str | int) -> tuple[dict[str, Any], bytes] | None:
    """The response to this request, decoded and as the agent may have it; None: it is none.

    Raises:
        Garbage: see `own_words`.
    """
    message = response_to(body, rpc_id)
    return None if message is None else (message, own_words(body, message))


def own_words(data: bytes, message: dict[str, Any]) -> bytes:
    """A server's message without words that are the gateway's alone; `message` is the same,
    decoded, and loses them too. Nearly always the very bytes.

    Raises:
        Garbage: it holds such words, deeper than it can be written again.
    """
    if reserved.may_hold(data) and reserved.take_out(message):
        try:
            whole = loads(data)  # whole numbers of any size
            reserved.take_out(whole)
            return dumps(whole, separators=(",", ":")).encode("ascii")
        except RecursionError as error:
            raise Garbage("nested too deeply") from error
    for raw, escaped in _LINES_TO_SOME:
        if raw in data:
            data = data.replace(raw, escaped)
    return data


_LINES_TO_SOME = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)
"""What may stand in a JSON string as it is, and what some clients take for the end of an event's
line: what follows it would be read as another event."""


def _no_number(text: str) -> Any:
    raise ValueError(text)


def handed_down(status: int, body: bytes, rpc_id: str | int | None) -> tuple[int, bytes]:
    """Status and body an agent gets for an answer that is not 200: the server's JSON-RPC, if it is
    some, under the id of the agent's own request. Any other page may repeat what we sent, our
    credential included (T-46), and any other message would be taken for another's.
    """
    if status in _ABOUT_US:
        status = HTTPStatus.BAD_GATEWAY
    if rpc_id is None and (not body or status < HTTPStatus.BAD_REQUEST):
        return status, b""  # what asks for nothing is answered with nothing
    message = decoded(body)
    if message is not None and message.get("jsonrpc") == "2.0":
        error = message.get("error")
        try:
            if rpc_id is not None and is_response_to(message, rpc_id):
                return status, own_words(body, message)
            if isinstance(error, dict) and "method" not in message and "result" not in message:
                reserved.take_out(error)
                known = None if message.get("id") is None else rpc_id
                told = {"jsonrpc": "2.0", "id": known, "error": error}
                return status, dumps(told, separators=(",", ":")).encode("ascii")
        except (Garbage, RecursionError):
            pass
    text = f"The server behind the gateway answered with HTTP {status} and no message"
    return status, error_body(rpc_id, -32603, text)


def turned_away(status: int, body: bytes) -> bool:
    """Whether an answer that is not 200 and no response says that the request was not carried out:
    an error in JSON-RPC, under whatever id, or a status by which HTTP says so. Any other, such as
    that of a proxy in between, leaves it open.
    """
    if status in _UNREAD:
        return True
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(message, dict) and isinstance(message.get("error"), dict)


def http_status(body: bytes, *, modern: bool) -> int:
    """The HTTP status of a response that is kept without one: 2026-07-28 gives some errors one."""
    error = orjson.loads(body).get("error") if modern else None
    code = error.get("code") if isinstance(error, dict) else None
    return HTTP_STATUS.get(code, HTTPStatus.OK) if isinstance(code, int) else 200


async def read_json(answer: Answer, limit: int) -> bytes:
    """The whole body.

    Raises:
        TooLarge: more than `limit` bytes.
        OutcomeUnknown: the connection broke.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.body():
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"over {limit} bytes")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_response(
    answer: Answer, rpc_id: str | int, *, limit: int, on_message: OnMessage | None = None
) -> Response:
    """Read an answer up to and including its response.

    Raises:
        Unfinished: it was a stream that ended without a response to `rpc_id`.
        Garbage: it was something else.
        TooLarge: the response is over `limit` bytes.
        OutcomeUnknown: the connection broke first.
    """
    if answer.content_type == "text/event-stream":
        return await _read_stream(answer, rpc_id, limit, on_message)
    body = await read_json(answer, limit)
    found = await aside(len(body), partial(answer_in, body, rpc_id))
    if found is None:
        raise Garbage(f"HTTP {answer.status} {answer.content_type}")
    return Response(answer.status, found[1], found[0])


async def _read_stream(
    answer: Answer, rpc_id: str | int, limit: int, on_message: OnMessage | None
) -> Response:
    parser = SseParser(max_event=limit)
    last_event, retry_ms = "", RETRY_MS
    async for chunk in answer.body():
        try:
            events = parser.feed(chunk)
        except EventTooLarge as error:
            raise TooLarge(f"over {limit} bytes") from error
        for item in events:
            last_event = last_event if item.id is None else item.id
            retry_ms = retry_ms if item.retry is None else item.retry
            if not item.data:
                continue
            message = await aside(len(item.data), partial(decoded, item.data))
            if message is None:
                continue
            own = is_response_to(message, rpc_id)
            if not own and (on_message is None or not isinstance(message.get("method"), str)):
                continue
            data = await aside(len(item.data), partial(own_words, item.data, message))
            if own:
                return Response(answer.status, data, message)
            if on_message is not None:
                await on_message(data)
    raise Unfinished(last_event, retry_ms)
