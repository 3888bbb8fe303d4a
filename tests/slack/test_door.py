"""Slack's HTTP door: only what Slack signed, just now, once; and never a traceback (T-55, T-56)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from approvals.model import State
from approvals.slack.inbound import MOST_PRESSES, Ack, Inbound
from tests.slack.app_bench import Bench, bench
from tests.support.fake_slack.payloads import (
    click,
    command,
    form,
    home_opened,
    interaction,
    signed,
    submit,
)
from web.app import build
from web.border import BODY_LIMIT
from web.slack import Door, router

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
URL = "http://127.0.0.1:8788"
# As published in Slack's documentation, "Verifying requests from Slack".
PUBLISHED_AT = 1531420618
PUBLISHED = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmi"
    b"bIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
PUBLISHED_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


class Nothing(Inbound):
    """An app that only remembers what it was handed."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def handle(self, payload: Any) -> Ack:
        self.got.append(payload)
        return Ack()

    def has_room(self, ack: Ack) -> bool:
        return ack.after is None

    def start(self, ack: Ack) -> None:
        """Nothing to do."""


@dataclass
class Street:
    """The door, and a stranger before it."""

    there: Bench
    http: httpx2.AsyncClient
    inbound: Nothing = field(default_factory=Nothing)

    async def post(
        self, path: str, body: bytes, headers: dict[str, str] | None = None
    ) -> httpx2.Response:
        sent = signed(SECRET, body) if headers is None else headers
        answer = await self.http.post(f"/slack/{path}", content=body, headers=sent)
        await self.there.settled()
        return answer


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    async with bench(tmp_path, app_token=None, team_id="T1", app_id="A1") as there:
        door = Door(SECRET, there.app.inbound)
        app = build(there.scene.services(slack=router(door)))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=URL) as http:
            yield Street(there, http)


def at(seconds: float) -> Door:
    return Door(SECRET, Nothing(), now=lambda: seconds)


def test_slacks_published_signature_is_good() -> None:
    stamp, good = str(PUBLISHED_AT), PUBLISHED_SIGNATURE
    assert at(PUBLISHED_AT).admits(PUBLISHED, [stamp], [good])
    assert not at(PUBLISHED_AT).admits(PUBLISHED + b"&", [stamp], [good])
    assert not at(PUBLISHED_AT).admits(PUBLISHED, [str(PUBLISHED_AT + 1)], [good])
    assert not Door("other", Nothing(), now=lambda: PUBLISHED_AT).admits(PUBLISHED, [stamp], [good])


@pytest.mark.parametrize(("off", "good"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_only_five_minutes_either_way(off: int, *, good: bool) -> None:
    door = at(PUBLISHED_AT + off)
    assert door.admits(PUBLISHED, [str(PUBLISHED_AT)], [PUBLISHED_SIGNATURE]) is good


def test_a_signature_opens_once_and_is_remembered_longer_than_it_lasts() -> None:
    now = [float(PUBLISHED_AT)]
    door = Door(SECRET, Nothing(), now=lambda: now[0])
    given = (PUBLISHED, [str(PUBLISHED_AT)], [PUBLISHED_SIGNATURE])
    assert door.admits(*given)
    for later in (0, 1, 299, 300):
        now[0] = PUBLISHED_AT + later
        assert not door.admits(*given)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Slack-Signature": PUBLISHED_SIGNATURE},
        {"X-Slack-Request-Timestamp": "1531420618"},
        {"X-Slack-Request-Timestamp": "abc", "X-Slack-Signature": "v0=00"},
        {"X-Slack-Request-Timestamp": "9" * 400, "X-Slack-Signature": "v0=00"},
        {"X-Slack-Request-Timestamp": "9" * 5_000, "X-Slack-Signature": "v0=00"},
        {"X-Slack-Request-Timestamp": "nan", "X-Slack-Signature": "v0=00"},
        {"X-Slack-Request-Timestamp": "", "X-Slack-Signature": ""},
        {"X-Slack-Request-Timestamp": "NOW", "X-Slack-Signature": "v0=\u00e9"},
        {"X-Slack-Request-Timestamp": "NOW", "X-Slack-Signature": "v1=" + "0" * 64},
        {"X-Slack-Request-Timestamp": "NOW", "X-Slack-Signature": "v0=" + "0" * 64},
    ],
    ids=lambda headers: json.dumps(headers)[:60],
)
async def test_headers_of_any_shape_are_refused_without_a_traceback(
    street: Street, headers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    held = street.there.held()
    body = interaction(click(street.there.slack, held, "approval.approve"))
    stamp = str(int(time.time()))
    sent = [
        (name.encode(), value.replace("NOW", stamp).encode()) for name, value in headers.items()
    ]
    answer = await street.http.post("/slack/interactions", content=body, headers=sent)
    assert (answer.status_code, answer.content) == (401, b"")
    assert await street.there.state(held) is State.PENDING
    assert "Traceback" not in "".join(capsys.readouterr())


async def test_a_press_that_no_one_has_room_for_is_told_so(street: Street) -> None:
    inbound, held, over = street.there.app.inbound, street.there.held(), asyncio.Event()

    async def wait() -> None:
        await over.wait()

    for _ in range(MOST_PRESSES):
        inbound.start(Ack(after=wait))
    body = interaction(click(street.there.slack, held, "approval.approve"))
    sent = signed(SECRET, body)
    answer = await street.http.post("/slack/interactions", content=body, headers=sent)
    assert answer.status_code == 503
    assert await street.there.state(held) is State.PENDING
    over.set()
    await inbound.idle()
    later = signed(SECRET, body, at=int(time.time()) + 1)
    assert (await street.post("interactions", body, later)).status_code == 200
    assert await street.there.state(held) is State.APPROVED


async def test_a_body_that_is_no_utf8_is_refused(street: Street) -> None:
    for path in ("interactions", "commands", "events"):
        assert (await street.post(path, b"payload=\xff\xfe{")).status_code == 401


async def test_changed_old_future_and_uppercase_are_refused(street: Street) -> None:
    held = street.there.held()
    body = interaction(click(street.there.slack, held, "approval.approve"))
    good = signed(SECRET, body)
    upper = {**good, "X-Slack-Signature": good["X-Slack-Signature"].upper()}
    for changed, headers in (
        (body + b"&x=1", good),
        (body.replace(b"%3A", b"%3a", 1), good),
        (body, upper),
        (body, signed(SECRET, body, time.time() - 301)),
        (body, signed(SECRET, body, time.time() + 302)),
        (body, signed("other", body)),
    ):
        assert (await street.post("interactions", changed, headers)).status_code == 401
    assert await street.there.state(held) is State.PENDING
    assert (await street.post("interactions", body, good)).status_code == 200
    assert await street.there.state(held) is State.APPROVED


async def test_two_signatures_or_two_timestamps_are_refused(street: Street) -> None:
    body = interaction({"type": "x"})
    good = signed(SECRET, body)
    for name in ("X-Slack-Signature", "X-Slack-Request-Timestamp"):
        twice = [*good.items(), (name, good[name])]
        answer = await street.http.post("/slack/interactions", content=body, headers=twice)
        assert answer.status_code == 401


async def test_a_good_request_replayed_changes_nothing(street: Street) -> None:
    held = street.there.held(quorum=2)
    body = interaction(click(street.there.slack, held, "approval.approve"))
    headers = signed(SECRET, body)
    assert (await street.post("interactions", body, headers)).status_code == 200
    assert (await street.post("interactions", body, headers)).status_code == 401
    assert len(await street.there.scene.approvals.decisions(held.id)) == 1


@pytest.mark.parametrize("path", ["interactions", "commands", "events"])
async def test_a_body_beyond_the_limit_is_not_read(street: Street, path: str) -> None:
    big = b"payload=" + b"x" * BODY_LIMIT
    assert (await street.post(path, big)).status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    headers = signed(SECRET, b"")
    answer = await street.http.post(f"/slack/{path}", content=chunks(), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_only_posts_are_taken(street: Street, method: str) -> None:
    for path in ("interactions", "commands", "events"):
        assert (await street.http.request(method, f"/slack/{path}")).status_code == 405


async def test_a_browser_on_another_site_is_turned_away_at_the_border(street: Street) -> None:
    held = street.there.held()
    body = interaction(click(street.there.slack, held, "approval.approve"))
    for more in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await street.post("interactions", body, {**signed(SECRET, body), **more})
        assert answer.status_code == 403
    foreign = {**signed(SECRET, body), "Host": "evil.example"}
    assert (await street.post("interactions", body, foreign)).status_code == 421
    assert await street.there.state(held) is State.PENDING


@pytest.mark.parametrize(
    "body",
    [b"", b"payload", b"payload=", b"payload=[]", b"payload=1", b"payload=%7B", b"x=%7B%7D"],
)
async def test_what_is_signed_and_malformed_is_a_bad_request(street: Street, body: bytes) -> None:
    assert (await street.post("interactions", body)).status_code == 400
    assert (
        await street.post("interactions", body + b"&payload=%7B%7D&payload=%7B%7D")
    ).status_code == 400


async def test_every_kind_of_message_comes_in(street: Street) -> None:
    slack, held = street.there.slack, street.there.held()
    answer = await street.post("interactions", interaction(click(slack, held, "approval.deny")))
    assert (answer.status_code, answer.content) == (200, b"")
    await street.there.settled()
    view = slack.called("views.open")[-1].params["view"]
    empty = await street.post("interactions", interaction(submit(slack, view, {})))
    assert empty.json()["response_action"] == "errors"
    sent = await street.post("interactions", interaction(submit(slack, view, {"reason": "no"})))
    assert (sent.status_code, sent.content) == (200, b"")
    await street.there.settled()
    assert await street.there.state(held) is State.DENIED
    listed = await street.post("commands", form(command(slack, "mine")))
    assert listed.json()["text"] == "Nothing is waiting for you"
    opened = await street.post("events", json.dumps(home_opened(slack)).encode())
    assert opened.status_code == 200
    await street.there.settled()
    assert "U1" in slack.homes


async def test_the_address_is_verified_only_for_who_signs(street: Street) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1a"}).encode()
    answer = await street.post("events", body)
    assert answer.json() == {"challenge": "3eZbrw1a"}
    assert (
        await street.post("events", body, {"Content-Type": "application/json"})
    ).status_code == 401


async def test_slacks_check_of_the_certificate_is_answered(street: Street) -> None:
    answer = await street.post("commands", b"ssl_check=1&token=x")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_another_teams_or_apps_payload_does_nothing(street: Street) -> None:
    held = street.there.held()
    good = click(street.there.slack, held, "approval.approve")
    for payload in (
        {**good, "api_app_id": "A9"},
        {**good, "team": {"id": "T9"}, "user": {"id": "U1"}},
    ):
        assert (await street.post("interactions", interaction(payload))).status_code == 200
    assert await street.there.state(held) is State.PENDING


async def test_without_a_signing_secret_there_is_no_door(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        app = build(there.scene.services())
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=URL) as http:
            body = b"payload=%7B%7D"
            answer = await http.post(
                "/slack/interactions", content=body, headers=signed(SECRET, body)
            )
            assert answer.status_code in (404, 405)


@pytest.mark.parametrize("text", ["a\x00", "a\ud800"])
async def test_a_press_with_a_text_that_no_record_keeps_is_answered_and_does_nothing(
    street: Street, text: str
) -> None:
    held = street.there.held()
    press = {**click(street.there.slack, held, "approval.approve"), "note": [{"text": text}]}
    answer = await street.post("interactions", interaction(press))
    assert answer.status_code == 200
    assert await street.there.state(held) is State.PENDING
