"""Hosts, origins, forms and headers (T-38, T-50, T-51)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.datastructures import Headers

from approvals.model import State
from tests.support.review_scene import Scene
from tests.web.conftest import FROM_OUR_PAGE, HOST, Door
from web.border import BODY_LIMIT, Border, holds_nul, inspect

OURS = Border(hosts=frozenset({"127.0.0.1", "localhost"}))


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "evil.example:8788", "127.0.0.2", ""),
        *("localhost.", "127.0.0.1:8788@evil.example", "127.0.0.1:x", "[::1]:8788"),
    ],
)
async def test_a_foreign_host_is_misdirected(door: Door, host: str) -> None:
    for path in ("/", "/signin", "/api/v1/pending", "/events", "/static/page.css"):
        answer = await door.stranger().get(path, Host=host)
        assert answer.status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": HOST + ".evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "https://127.0.0.1:8788"},
        {"Origin": HOST, "Sec-Fetch-Site": "cross-site"},
        {"Origin": HOST, "Sec-Fetch-Site": "same-site"},
        {"Origin": HOST, "Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site"},
        {},
    ],
)
async def test_a_press_from_elsewhere_is_refused_and_our_own_works(
    scene: Scene, door: Door, headers: dict[str, str]
) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "approve"}
    path = f"/approvals/{held.id}/decide"
    assert (await visit.post(path, form, headers)).status_code == 403
    approval = await scene.approvals.get(held.id)
    assert approval is not None
    assert approval.state is State.PENDING
    assert (await visit.post(path, form)).status_code == 303


@pytest.mark.parametrize("token", ["", "0" * 64, "é", "x" * 128])
async def test_a_form_without_the_sessions_token_is_refused(
    scene: Scene, door: Door, token: str
) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "approve", "csrf": token}
    answer = await visit.post(f"/approvals/{held.id}/decide", form)
    assert answer.status_code == 403
    approval = await scene.approvals.get(held.id)
    assert approval is not None
    assert approval.state is State.PENDING


async def test_another_sessions_token_is_refused(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    alice, mallory = await door.signed_in("alice"), await door.signed_in("mallory")
    form = {**await mallory.form(held.id), "choice": "approve"}
    assert (await alice.post(f"/approvals/{held.id}/decide", form)).status_code == 403


async def test_a_simple_request_with_a_json_body_in_disguise_is_refused(
    scene: Scene, door: Door
) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    headers = {**FROM_OUR_PAGE, "Content-Type": "text/plain"}
    url = f"/api/v1/approvals/{held.id}/approve"
    answer = await visit.http.post(url, content=b'{"revision": 1}', headers=headers)
    assert answer.status_code in (403, 422)


def test_two_origins_or_two_hosts_are_none() -> None:
    one = (b"host", b"127.0.0.1:8788")
    origin = (b"origin", HOST.encode())
    twice = Headers(raw=[one, origin, origin])
    hosts = Headers(raw=[one, one])
    assert inspect(OURS, "http", "POST", twice) is not None
    assert inspect(OURS, "http", "GET", hosts) is not None
    assert inspect(OURS, "http", "POST", Headers(raw=[one, origin])) is None


def test_a_program_without_a_cookie_needs_no_origin() -> None:
    bearer = Headers(raw=[(b"host", b"localhost:1"), (b"authorization", b"Bearer x")])
    assert inspect(OURS, "http", "POST", bearer) is None


@pytest.mark.parametrize("path", ["/", "/signin", "/api/v1/me", "/nothing", "/static/page.css"])
async def test_every_answer_carries_the_headers(door: Door, path: str) -> None:
    for visit in (door.stranger(), await door.signed_in("alice")):
        headers = (await visit.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self' 'nonce-" in policy
        assert "frame-ancestors 'none'" in policy
        assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert path.startswith("/static/") or headers["cache-control"] == "no-store"


async def test_each_answer_has_its_own_nonce_and_no_inline_code(scene: Scene, door: Door) -> None:
    scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    first, second = await visit.get("/"), await visit.get("/")
    assert first.headers["content-security-policy"] != second.headers["content-security-policy"]
    assert " style=" not in first.text
    assert " on" + "click" not in first.text
    assert "<script>" not in first.text


async def test_a_body_over_the_limit_is_not_read(door: Door) -> None:
    visit = await door.signed_in("alice")
    answer = await visit.post("/signout", {"csrf": "x" * (BODY_LIMIT + 1)})
    assert answer.status_code == 413


async def test_a_body_that_hides_its_length_is_cut_off(door: Door) -> None:
    visit = await door.signed_in("alice")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"a" * 65_536

    headers = {**FROM_OUR_PAGE, "Content-Type": "application/x-www-form-urlencoded"}
    answer = await visit.http.post("/signin", content=endless(), headers=headers)
    assert answer.status_code in (400, 413)


@pytest.mark.parametrize(
    "path",
    [
        *("/history?text=%00", "/history?event=a%00", "/history/export.csv?tool=%00"),
        *("/tools/changed?server=%00", "/policy/tool?server=%00&tool=x", "/approvals/a%00b"),
        *("/api/v1/history?grant=%00", "/api/v1/pending?cursor=%00", "/signin?next=%00"),
    ],
)
async def test_no_address_brings_nul_to_the_record(door: Door, path: str) -> None:
    visit = await door.signed_in("alice", "admin")
    answer = await visit.get(path)
    assert answer.status_code == 400
    assert "NUL" in answer.json()["title"]


@pytest.mark.parametrize("path", ["/agents/new", "/agents/revoke", "/bulk", "/signin"])
async def test_no_form_brings_nul_to_the_record(door: Door, path: str) -> None:
    visit = await door.signed_in("alice", "admin")
    answer = await visit.post(path, {"label": "a\x00b", "csrf": "x"})
    assert answer.status_code == 400
    parts = {"label": (None, "a\x00b")}
    answer = await visit.http.post(path, files=parts, headers=FROM_OUR_PAGE)
    assert answer.status_code == 400
    stranger = await door.stranger().post(path, {"label": "a\x00b"})
    assert stranger.status_code == 400


def test_a_percent_sign_in_a_part_of_a_form_is_no_nul() -> None:
    assert holds_nul(b"label=%00")
    assert not holds_nul(b"label=%2500")
    assert not holds_nul(b"100%00", escaped=False)
