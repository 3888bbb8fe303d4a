"""Slack's HTTP door: what Slack posts to this gateway when clicks do not come over Socket Mode.

No one signs in here: the signature over the raw body is the whole proof, and nothing of a request
is looked at before it holds. Who may decide what is asked of the record, as everywhere.
"""

from __future__ import annotations

import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from slack_sdk.signature import Clock, SignatureVerifier
from starlette.requests import ClientDisconnect

from approvals.slack.inbound import SLASH, Inbound
from web.border import BODY_LIMIT

log = structlog.get_logger()

WINDOW: Final = 300
"""Seconds a request's timestamp may differ from this machine's clock (T-55)."""

_REMEMBERED: Final = 600.0  # seconds; twice the window, as timestamps may lie in the future
_MOST: Final = 10_000
_TELL_EVERY: Final = 60.0
_MOST_FIELDS: Final = 50
_STAMP, _SIGNATURE = "x-slack-request-timestamp", "x-slack-signature"


class _Now(Clock):
    """The verifier's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def now(self) -> float:
        return self._now()


class Door:
    """Lets in what Slack signed, once. `now` is seconds since the epoch."""

    def __init__(
        self, signing_secret: str, inbound: Inbound, *, now: Callable[[], float] = time.time
    ) -> None:
        self.inbound = inbound
        self._now = now
        self._verifier = SignatureVerifier(signing_secret, _Now(now))
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._told_at = 0.0

    def admits(self, body: bytes, stamps: list[str], signatures: list[str]) -> bool:
        """Whether Slack signed exactly this, just now, and it was not here before."""
        if len(stamps) != 1 or len(signatures) != 1:
            return False
        stamp, signature = stamps[0], signatures[0]
        try:
            good = self._verifier.is_valid(body=body, timestamp=stamp, signature=signature)
            if not good:
                self._tell_of_clock(body, stamp, signature)
        except Exception:  # noqa: BLE001 - the verifier raises on what strangers can send: 401
            return False
        return good and self._first_time(signature)

    def _first_time(self, signature: str) -> bool:
        now = self._now()
        while self._seen and (
            len(self._seen) >= _MOST or next(iter(self._seen.values())) < now - _REMEMBERED
        ):
            self._seen.popitem(last=False)
        if signature in self._seen:
            log.warning("slack.replayed")
            return False
        self._seen[signature] = now
        return True

    def _tell_of_clock(self, body: bytes, stamp: str, signature: str) -> None:
        """Genuine but out of time means that one of the two clocks is wrong: the operator's."""
        written = self._verifier.generate_signature(timestamp=stamp, body=body) or ""
        off = int(self._now()) - int(stamp)
        if not hmac.compare_digest(written, signature) or self._now() - self._told_at < _TELL_EVERY:
            return
        self._told_at = self._now()
        log.error("slack.clock", seconds_off=off, do="Set this machine's clock.")


def router(door: Door) -> APIRouter:
    routes = APIRouter()
    for path, read in (
        ("/slack/interactions", _interaction),
        ("/slack/commands", _command),
        ("/slack/events", _event),
    ):
        routes.add_route(path, partial(_answer, door, read), methods=["POST"])
    return routes


async def _answer(
    door: Door, read: Callable[[bytes], dict[str, Any] | Response], request: Request
) -> Response:
    body = await _proven(door, request)
    payload = body if isinstance(body, Response) else read(body)
    if isinstance(payload, Response):
        return payload
    ack = await door.inbound.handle(payload)
    if not door.inbound.has_room(ack):
        return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    # The work is a task of its own: it goes on whether or not Slack waits for this answer.
    door.inbound.start(ack)
    return Response() if ack.body is None else JSONResponse(ack.body)


def _interaction(body: bytes) -> dict[str, Any] | Response:
    payloads = [value for name, value in _form(body) if name == "payload"]
    payload = _object(payloads[0]) if len(payloads) == 1 else None
    return Response(status_code=HTTPStatus.BAD_REQUEST) if payload is None else payload


def _command(body: bytes) -> dict[str, Any] | Response:
    fields = _form(body)
    given = dict(fields)
    if given.get("ssl_check") == "1":
        return Response()
    if not given.get("command") or len(given) != len(fields):
        return Response(status_code=HTTPStatus.BAD_REQUEST)
    return {**given, "type": SLASH}


def _event(body: bytes) -> dict[str, Any] | Response:
    event = _object(body.decode())
    if event is None:
        return Response(status_code=HTTPStatus.BAD_REQUEST)
    if event.get("type") == "url_verification":
        return JSONResponse({"challenge": str(event.get("challenge", ""))})
    return event


async def _proven(door: Door, request: Request) -> bytes | Response:
    """The raw body, once its signature holds; else the refusal."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                return Response(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except ClientDisconnect:  # gone, or it said less than it sent
        return Response(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    stamps, signatures = (request.headers.getlist(name) for name in (_STAMP, _SIGNATURE))
    if not door.admits(bytes(body), stamps, signatures):
        return Response(status_code=HTTPStatus.UNAUTHORIZED)
    return bytes(body)


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
