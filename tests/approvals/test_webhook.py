"""Webhooks: signed so that others' libraries agree, free of secrets, and never sent inside."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
import standardwebhooks
from aiohttp import web

from approvals import webhook
from approvals.addresses import is_public, url_problem
from approvals.model import Approval, Choice, Terms
from approvals.outbox import Notice
from approvals.outbox_worker import DeliveryRetry, GiveUp, Notifier, Outbox
from approvals.record.clock import SystemClock
from approvals.signing import SecretUnusable, secret_of
from approvals.taking_back import take_back
from tests.support.patience import PATIENCE
from tests.support.record import ALICE, Record
from tests.support.webhook_receiver import Received, receiver

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
PAGE = "https://gate.example"


@asynccontextmanager
async def hook(record: Record, url: str, *, allow_private: bool = False) -> AsyncIterator[Notifier]:
    async with webhook.opened(
        url,
        secret_of(SECRET),
        allow_private=allow_private,
        database=record.database,
        clock=SystemClock(),
        gateway=PAGE,
    ) as made:
        yield made


def notice(approval: Approval, kind: str = "held") -> Notice:
    return Notice(
        id=f"{approval.id}/1/{kind}/webhook",
        approval_id=approval.id,
        kind=kind,
        revision=1,
        version=1,
        state=approval.state,
        execution=approval.execution,
        at=approval.created_at,
        tries=1,
    )


def verified(one: Received) -> dict[str, Any]:
    """What the scheme's own library makes of it."""
    found = standardwebhooks.Webhook(SECRET).verify(one.body, one.headers)
    return dict(found)


async def test_the_life_of_a_call_is_told_in_four_signed_events(record: Record) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        outbox = Outbox(record.database, {"webhook": made}, clock=record.clock)
        await outbox.enlist()
        approved = record.approved({"amount": 5, "password": "hunter2"}, redact=("args.password",))
        record.claim(approved)
        record.finish(approved)
        record.decide(record.hold({"n": 2}), choice=Choice.DENY, reason="no")
        with anyio.fail_after(PATIENCE):
            assert await outbox.round("webhook") == 0
        told = [verified(one) for one in there.got]
        ids = [one.headers["webhook-id"] for one in there.got]
    assert sorted(one["type"] for one in told) == [
        "approval.decided",
        "approval.decided",
        "approval.executed",
        "approval.requested",
        "approval.requested",
    ]
    assert len(set(ids)) == 5
    mine = [one for one in told if one["data"]["id"] == approved.id]
    assert [one["type"] for one in mine] == [
        "approval.requested",
        "approval.decided",
        "approval.executed",
    ]
    requested, decided, executed = (one["data"] for one in mine)
    assert requested["url"] == f"{PAGE}/approvals/{approved.id}"
    assert (requested["state"], requested["arguments"]["amount"]) == ("pending", 5)
    assert "decided_by" not in requested
    assert (decided["state"], decided["decided_by"]) == ("approved", "alice")
    assert executed["execution"] == "succeeded"
    (denied,) = (one["data"] for one in told if one["data"]["state"] == "denied")
    assert denied["reason"] == "no"
    assert b"hunter2" not in b"".join(one.body for one in there.got)
    assert requested["arguments"]["password"]


def test_the_call_is_told_in_one_sentence(record: Record) -> None:
    terms = Terms(summary="Refund {args.amount|money:minor:EUR} of {args.payment_id}")
    held = record.hold({"amount": 1200, "payment_id": "pay_1\nok"}, terms=terms)
    sent = json.loads(webhook.payload(notice(held), held, url="http://127.0.0.1") or b"")["data"]
    assert sent["headline"] == {
        "text": "Refund €12.00 of “pay_1 ok”",
        "parts": [
            {"kind": "literal", "text": "Refund "},
            {"kind": "value", "text": "€12.00"},
            {"kind": "literal", "text": " of "},
            {"kind": "value", "text": "pay_1 ok"},
        ],
    }


async def test_an_expired_call_is_told_as_expired(record: Record) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        held = record.hold()
        await made.sync(notice(held, "expired"))
    assert verified(there.got[0])["type"] == "approval.expired"


async def test_what_was_taken_back_is_told_as_a_decision_and_by_whom(record: Record) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        approved = record.approved()
        await made.sync(notice(approved, "approved"))
        record.write(lambda tx: take_back(tx, approved.id, reviewer=ALICE, via="page"))
        await made.sync(notice(record.now_is(approved.id), "taken_back"))
    first, second = (verified(one) for one in there.got)
    assert (first["type"], first["data"]["taken_back"]) == ("approval.decided", False)
    assert (second["type"], second["data"]["state"], second["data"]["decided_by"]) == (
        *("approval.decided", "withdrawn", "alice"),
    )
    assert second["data"]["taken_back"] is True


@pytest.mark.parametrize("kind", ["voted", "edited", "extended", "not_executed", "settled"])
async def test_other_changes_are_not_told(record: Record, kind: str) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        await made.sync(notice(record.hold(), kind))
    assert there.got == []


async def test_a_forged_body_does_not_verify(record: Record) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        await made.sync(notice(record.hold()))
    one = there.got[0]
    one.body = one.body.replace(b"refund", b"invoke")
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verified(one)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 500, 502])
async def test_a_redirect_is_not_followed_and_counts_as_a_failure(
    record: Record, status: int
) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        there.answers = [web.Response(status=status, headers={"Location": "/elsewhere"})]
        with pytest.raises(DeliveryRetry, match=f"answered {status}"):
            await made.sync(notice(record.hold()))
    assert len(there.got) == 1


async def test_a_receiver_that_is_gone_is_left_alone(record: Record) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        there.answers = [web.Response(status=410)]
        with pytest.raises(GiveUp):
            await made.sync(notice(record.hold()))


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [(429, "17", 17), (503, "5", 5), (500, "5", None), (429, "soon", None), (429, None, None)],
)
async def test_retry_after_is_honoured(
    record: Record, status: int, header: str | None, seconds: float | None
) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        headers = {} if header is None else {"Retry-After": header}
        there.answers = [web.Response(status=status, headers=headers)]
        with pytest.raises(DeliveryRetry) as retry:
            await made.sync(notice(record.hold()))
    assert retry.value.after == seconds


async def test_retry_after_may_be_a_date(record: Record) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        year = datetime.now(UTC).year + 1
        there.answers = [
            web.Response(status=429, headers={"Retry-After": f"Fri, 01 Jan {year} 00:00:00 GMT"})
        ]
        with pytest.raises(DeliveryRetry) as retry:
            await made.sync(notice(record.hold()))
    assert retry.value.after is not None
    assert retry.value.after > 0


async def test_an_endless_answer_is_not_read(record: Record) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b"x" * 65_536)
                await writer.drain()
        cut.set()

    cut = asyncio.Event()
    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with anyio.fail_after(PATIENCE):
        async with hook(record, url) as made:
            await made.sync(notice(record.hold()))
            await cut.wait()
    server.close()


async def test_large_arguments_are_left_to_the_page(record: Record) -> None:
    async with receiver() as there, hook(record, there.url) as made:
        await made.sync(notice(record.hold({"text": "x" * 100_000})))
    told = verified(there.got[0])["data"]
    assert (told["arguments"], told["arguments_omitted"]) == (None, True)
    assert len(there.got[0].body) < 4_000


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f000001", "localhost."])
async def test_a_name_that_leads_inside_is_refused_when_sending(record: Record, host: str) -> None:
    async with receiver() as there:
        url = there.url.replace("127.0.0.1", host)
        async with hook(record, url) as made:
            with pytest.raises(DeliveryRetry):
                await made.sync(notice(record.hold({"n": 1})))
        assert there.got == []


async def test_a_name_that_leads_inside_is_served_when_that_is_allowed(record: Record) -> None:
    async with receiver() as there:
        url = there.url.replace("127.0.0.1", "0x7f000001")
        async with hook(record, url) as made:
            with pytest.raises(DeliveryRetry, match="private address"):
                await made.sync(notice(record.hold({"n": 1})))
        async with hook(record, url, allow_private=True) as made:
            await made.sync(notice(record.hold({"n": 2})))
        assert len(there.got) == 1


PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8")
PRIVATE = (
    *("10.0.0.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "192.168.1.1", "0.0.0.0"),
    *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254"),
    *("::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "example.com", ""),
)


@pytest.mark.parametrize("address", [*PUBLIC, *PRIVATE])
def test_public_addresses_are_told_from_the_rest(address: str) -> None:
    assert is_public(address) is (address in PUBLIC)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://hooks.example/x", None),
        ("http://127.0.0.1:9/x", None),
        ("http://localhost:9/x", None),
        ("http://[::1]:9/x", None),
        ("http://hooks.example/x", "https"),
        ("http://10.0.0.1/x", "https"),
        ("https://10.0.0.1/x", "private"),
        ("https://[::ffff:169.254.169.254]/x", "private"),
        ("https://me:pw@hooks.example/x", "user name"),
        ("ftp://hooks.example/x", "https"),
        ("https:///x", "host"),
        ("", "https"),
    ],
)
def test_urls_are_checked_before_anything_is_sent(url: str, problem: str | None) -> None:
    found = url_problem(url, allow_private=False)
    assert (found is None) if problem is None else (found is not None and problem in found)


def test_a_private_address_may_be_allowed() -> None:
    assert url_problem("https://10.0.0.1/x", allow_private=True) is None
    assert url_problem("http://10.0.0.1/x", allow_private=True) is not None


@pytest.mark.parametrize(
    "written",
    [
        *("", "whsec_", "whsec_AAAA", "whsec_!!!!", SECRET.upper(), SECRET.removeprefix("whsec_")),
        "whsec_" + base64.b64encode(b"s" * 65).decode(),
    ],
)
def test_other_texts_are_no_secret(written: str) -> None:
    with pytest.raises(SecretUnusable):
        secret_of(written)
