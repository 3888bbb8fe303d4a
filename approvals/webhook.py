"""Webhooks: signed POSTs of what happened, by the Standard Webhooks scheme.

What is sent is what reviewers may see: masked arguments, no secrets, bounded. Only public
addresses and this machine are talked to, no redirect is followed, no answer is read. Not pure.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from approvals.addresses import is_loopback, is_public
from approvals.digest import canonical
from approvals.headline import headline_of
from approvals.model import Approval, Millis, State, short_id
from approvals.outbox import Notice
from approvals.outbox_worker import DeliveryRetry, GiveUp, Notifier
from approvals.record.database import Clock, Database
from approvals.reminders import KIND as REMINDER
from approvals.rows import load
from approvals.signing import signature

SECONDS: Final = 10.0
"""For one POST, from looking up the name to the status line."""

MOST_ARGUMENTS: Final = 64 * 1024
"""Characters of masked arguments sent; more are left to the page."""

_GONE, _TOO_MANY, _BUSY = 410, 429, 503

_EVENTS: Final = {
    "held": "approval.requested",
    "approved": "approval.decided",
    "denied": "approval.decided",
    "withdrawn": "approval.decided",
    "taken_back": "approval.decided",
    "superseded": "approval.decided",
    "expired": "approval.expired",
    "succeeded": "approval.executed",
    "tool_error": "approval.executed",
    "upstream_error": "approval.executed",
    "outcome_unknown": "approval.executed",
    REMINDER: "approval.reminder",
}
"""Changes that are told, and as what; a vote short of the quorum or an edit is not."""

_WAITS: Final = ("approval.requested", "approval.reminder")


class PrivateAddress(OSError):
    """The name leads to an address that nothing is sent to."""


def payload(notice: Notice, approval: Approval, *, url: str) -> bytes | None:
    """The body of the message; None when such a change is not told. `url` is the gateway's."""
    event = _EVENTS.get(notice.kind)
    if event is None:
        return None
    call, masked = approval.call, approval.masked
    fits = len(masked) <= MOST_ARGUMENTS
    data: dict[str, Any] = {
        "id": approval.id,
        "short_id": short_id(approval.id),
        "url": f"{url}/approvals/{approval.id}",
        "revision": notice.revision,
        "state": str(notice.state),
        "server": call.server,
        "tool": call.tool,
        "headline": headline_of(approval).as_json(),
        "agent": call.grant_label,
        "client": {"name": call.client.name, "version": call.client.version},
        "arguments": json.loads(masked) if fits else None,
        "arguments_omitted": not fits,
        "metadata": json.loads(approval.metadata_masked) if approval.metadata_masked else None,
        "digest": approval.digest,
        "rule": approval.ruling.rule,
        "why": approval.ruling.reason,
        "risk": approval.risk,
        "risk_lowered_from": approval.lowered_from,
        "quorum": approval.terms.quorum,
        "requested_at": _iso(approval.created_at),
        "expires_at": _iso(approval.expires_at),
    }
    if event == "approval.reminder":
        data |= {"reminder": notice.reminder}
    if event not in _WAITS:
        data |= {
            "decided_by": approval.decided_by,
            "decided_via": approval.decided_via,
            "decided_at": _iso(approval.decided_at),
            "reason": approval.reason,
            "taken_back": notice.kind == "taken_back",
        }
    if event == "approval.executed":
        data |= {"execution": str(notice.execution), "finished_at": _iso(approval.finished_at)}
    return canonical({"type": event, "timestamp": _iso(notice.at), "data": data})


class Webhook:
    """The notifier of one URL."""

    def __init__(  # built in one place
        self,
        url: str,
        secret: bytes,
        *,
        database: Database,
        clock: Clock,
        gateway: str,
        client: aiohttp.ClientSession,
    ) -> None:
        self._url = url
        self._secret = secret
        self._database = database
        self._clock = clock
        self._gateway = gateway
        self._client = client

    async def sync(self, delivery: Notice) -> None:
        """POST it, if such a change is told at all."""
        if delivery.kind not in _EVENTS:
            return
        approval = await self._database.read(
            lambda connection: load(connection, delivery.approval_id)
        )
        if approval is None:
            raise GiveUp("the approval is gone")
        if delivery.kind == REMINDER and approval.state is not State.PENDING:
            return
        body = payload(delivery, approval, url=self._gateway)
        if body is None:
            return
        now = self._clock.now()
        at = now // 1000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "signoff",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(at),
            "webhook-signature": signature(self._secret, delivery.id, at, body),
        }
        try:
            async with self._client.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status, wanted = answer.status, answer.headers.get("Retry-After")
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, PrivateAddress):
                raise DeliveryRetry("the name leads to a private address") from error
            raise DeliveryRetry("the name cannot be looked up") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise DeliveryRetry(type(error).__name__) from error
        _judge(status, wanted, now=now)


@asynccontextmanager
async def opened(
    url: str,
    secret: bytes,
    *,
    allow_private: bool,
    database: Database,
    clock: Clock,
    gateway: str,
) -> AsyncIterator[Notifier]:
    """The notifier, with a client of its own for the length of the block.

    The URL must have passed `addresses.url_problem`. `gateway` is where people find the page.
    """
    host = urlsplit(url).hostname or ""
    resolver = aiohttp.ThreadedResolver()
    connector = aiohttp.TCPConnector(
        resolver=resolver if allow_private else _Checked(resolver, loopback=is_loopback(host)),
        limit=16,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        auto_decompress=False,
        trust_env=False,
    ) as client:
        yield Webhook(url, secret, database=database, clock=clock, gateway=gateway, client=client)


class _Checked(AbstractResolver):
    """Looks names up and refuses what leads inside. The addresses it gives are the ones connected
    to, so a name that changes between check and use gains nothing.
    """

    def __init__(self, resolver: AbstractResolver, *, loopback: bool) -> None:
        self._resolver = resolver
        self._loopback = loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        fine = is_loopback if self._loopback else is_public
        if not all(fine(one["host"]) for one in found):
            raise PrivateAddress("private address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _judge(status: int, wanted: str | None, *, now: Millis) -> None:
    """What the other side's answer means: 2xx is received, 410 never again, else later."""
    if 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return
    if status == _GONE:
        raise GiveUp("answered 410: gone")
    after = _seconds(wanted, now=now) if status in (_TOO_MANY, _BUSY) else None
    raise DeliveryRetry(f"answered {status}", after=after)


def _seconds(wanted: str | None, *, now: Millis) -> float | None:
    """Retry-After in seconds, whether it is a number or a date; None if it is neither."""
    if wanted is None:
        return None
    if wanted.isascii() and wanted.isdigit():
        return float(wanted[:9])
    try:
        return max(0.0, parsedate_to_datetime(wanted).timestamp() - now / 1000)
    except (ValueError, OverflowError):
        return None


def _iso(at: Millis | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
