"""Reading a server's answer: find the one response in it, pass on what comes before.

An answer is one JSON text or an SSE stream that ends with the response (basic/transports). What is
not the response (progress, logging, requests to the client) is handed to `on_message` as it came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import orjson

from approvals.aside import aside
from approvals.model import Execution
from gateway.jsonrpc import error_body
from gateway.message import HTTP_STATUS
from gateway.relay.sse import EventTooLarge, SseParser
from gateway.relay.upstream import Answer, OutcomeUnknown

#: Redirects and doubts about a credential concern the gateway; an agent would act on its own.
_ABOUT_US = frozenset({*range(300, 400), 401, 403, 407})

RETRY_MS: Final = 1_000
"""Until one comes back to a stream whose server did not say how long to wait."""

OnMessage = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Response:
    """A server's response to one request."""

    status: int  # HTTP
    body: bytes  # the JSON-RPC message, as the server wrote it
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


class TooLarge(OutcomeUnknown):
    """The answer is larger than the gateway passes on."""


def classify(message: dict[str, Any]) -> Execution:
    result = message.get("result")
    if not isinstance(result, dict):
        return Execution.UPSTREAM_ERROR
    if result.get("resultType") == "input_required":
        return Execution.INPUT_REQUIRED
    return Execution.TOOL_ERROR if result.get("isError") is True else Execution.SUCCEEDED


def response_to(body: bytes, rpc_id: str | int) -> dict[str, Any] | None:
    """The message, if it is the response to this request; None if it is anything else."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(message, dict):
        return None
    found = message.get("id")
    if found != rpc_id or type(found) is not type(rpc_id):  # True == 1 == 1.0
        return None
    if "method" in message or ("result" not in message and "error" not in message):
        return None
    return message


def handed_down(status: int, body: bytes, rpc_id: str | int | None) -> tuple[int, bytes]:
    """Status and body an agent gets for an answer that is not 200: the server's JSON-RPC, if it is
    some. Any other page may repeat what we sent, our credential included (06, T-46).
    """
    if status in _ABOUT_US:
        status = HTTPStatus.BAD_GATEWAY
    if _is_message(body) or (not body and rpc_id is None):
        return status, body
    text = f"The server behind the gateway answered with HTTP {status} and no message"
    return status, error_body(rpc_id, -32603, text)


def http_status(body: bytes, *, modern: bool) -> int:
    """The HTTP status of a response that is kept without one: 2026-07-28 gives some errors one."""
    error = orjson.loads(body).get("error") if modern else None
    code = error.get("code") if isinstance(error, dict) else None
    return HTTP_STATUS.get(code, HTTPStatus.OK) if isinstance(code, int) else 200


def _is_message(body: bytes) -> bool:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(message, dict) and message.get("jsonrpc") == "2.0"


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
    message = await aside(len(body), lambda: response_to(body, rpc_id))
    if message is None:
        raise Garbage(f"HTTP {answer.status} {answer.content_type}")
    return Response(answer.status, body, message)


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
            message = await aside(len(item.data), partial(response_to, item.data, rpc_id))
            if message is not None:
                return Response(answer.status, item.data, message)
            if on_message is not None:
                await on_message(item.data)
    raise Unfinished(last_event, retry_ms)
