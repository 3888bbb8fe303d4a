"""Links, sessions and who is let in (T-35, T-36)."""

from __future__ import annotations

import httpx2
import pytest

from tests.support.review_scene import Scene
from tests.web.conftest import FROM_OUR_PAGE, HOST, Door
from web.border import Border, csrf_token

PAGES = ("/", "/history", "/tools", "/policy", "/insights", "/history/export.csv")


async def test_a_link_signs_in_once(door: Door) -> None:
    code = await door.link("alice")
    first, second = door.stranger(), door.stranger()
    assert (await first.sign_in(code)).status_code == 200
    again = await second.sign_in(code)
    assert again.status_code == 403
    assert "used before" in again.json()["title"]
    assert (await first.get("/")).status_code == 200
    assert (await second.get("/")).status_code == 303


async def test_a_link_ends_after_ten_minutes(scene: Scene, door: Door) -> None:
    code = await door.link("alice")
    scene.clock.clamp(scene.clock.now() + 10 * 60_000)
    assert (await door.stranger().sign_in(code)).status_code == 403


async def test_a_session_ends_after_twelve_hours(scene: Scene, door: Door) -> None:
    visit = await door.signed_in("alice")
    scene.clock.clamp(scene.clock.now() + 12 * 3_600_000)
    assert (await visit.get("/")).status_code == 303


async def test_signing_in_ends_the_session_that_was_there_before(door: Door) -> None:
    victim = await door.signed_in("alice")
    planted = victim.http.cookies["signoff"]
    await victim.sign_in(await door.link("bob"))
    assert victim.http.cookies["signoff"] != planted
    thief = door.stranger()
    thief.http.cookies["signoff"] = planted
    assert (await thief.get("/")).status_code == 303


async def test_a_cookie_nobody_issued_is_nobody(door: Door) -> None:
    visit = door.stranger()
    visit.http.cookies["signoff"] = "ses_chosen-by-an-attacker"
    assert (await visit.get("/")).status_code == 303


async def test_the_cookie_is_unreadable_to_scripts_and_stays_on_this_site(door: Door) -> None:
    visit = door.stranger()
    answer = await visit.sign_in(await door.link("alice"))
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "max-age=43200" in cookie


async def test_on_https_the_cookie_is_bound_to_the_host(scene: Scene, door: Door) -> None:
    from web.app import build  # noqa: PLC0415 - another surface over the same record

    border = Border(hosts=frozenset({"ok.example"}), https=True)
    app = build(scene.services(border=border))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://ok.example") as http:
        code = await door.link("alice")
        origin = {"Origin": "https://ok.example"}
        answer = await http.post("/signin", data={"code": code}, headers=origin)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-signoff=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert answer.headers["strict-transport-security"]


async def test_signing_out_ends_this_session_only(door: Door) -> None:
    here, there = await door.signed_in("alice"), await door.signed_in("alice")
    kept = here.http.cookies["signoff"]
    assert (await here.post("/signout", {"csrf": csrf_token(kept)})).status_code == 303
    here.http.cookies["signoff"] = kept
    assert (await here.get("/")).status_code == 303
    assert (await there.get("/")).status_code == 200


async def test_signing_out_everywhere_ends_all_of_them(door: Door) -> None:
    here, there = await door.signed_in("alice"), await door.signed_in("alice")
    token = csrf_token(here.http.cookies["signoff"])
    await here.post("/signout", {"csrf": token, "everywhere": "1"})
    assert (await there.get("/")).status_code == 303


async def test_guessing_is_slowed_and_a_right_link_still_works(door: Door) -> None:
    visit = door.stranger()
    statuses = [(await visit.sign_in(f"lnk_{attempt}")).status_code for attempt in range(30)]
    assert statuses == [403] * 10 + [429] * 20
    assert (await visit.sign_in(await door.link("alice"))).status_code == 200


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_without_a_session(door: Door, path: str) -> None:
    answer = await door.stranger().get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/signin?next=")


@pytest.mark.parametrize("path", ["/api/v1/pending", "/api/v1/history", "/api/v1/me", "/events"])
@pytest.mark.parametrize("token", ["", "sgn_an-agents-grant", "lnk_x", "ses_x", "rvt_x"])
async def test_no_api_without_a_reviewers_token(door: Door, path: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await door.stranger().get(path, **headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_session_cookie_is_no_bearer_token_and_the_other_way_round(
    scene: Scene, door: Door
) -> None:
    visit = await door.signed_in("alice")
    session = visit.http.cookies["signoff"]
    token = await scene.people.token("alice")
    stranger = door.stranger()
    assert (await stranger.get("/api/v1/me", Authorization=f"Bearer {session}")).status_code == 401
    assert (await stranger.get("/api/v1/me", Authorization=f"Bearer {token}")).status_code == 200
    stranger.http.cookies["signoff"] = token
    assert (await stranger.get("/")).status_code == 303


@pytest.mark.parametrize(
    ("given", "goes"),
    [
        ("/history?tool=x", "/history?tool=x"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/signin", "/"),
        ("/a\nb", "/"),
    ],
)
async def test_after_signing_in_people_stay_here(door: Door, given: str, goes: str) -> None:
    code = await door.link("alice")
    answer = await door.stranger().sign_in(code, next=given)
    assert answer.json()["goto"] == goes


async def test_a_click_in_another_site_arrives_in_one_step(door: Door) -> None:
    visit = door.stranger()
    answer = await visit.get("/approvals/apr_1", **{"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'content="0;url=/approvals/apr_1"' in answer.text


async def test_somebody_signed_in_is_asked_before_a_link_replaces_them(door: Door) -> None:
    page = (await (await door.signed_in("alice")).get("/signin")).text
    assert "data-ask" in page
    assert "data-ask" not in (await door.stranger().get("/signin")).text


async def test_signing_in_from_another_site_is_refused(door: Door) -> None:
    code = await door.link("alice")
    evil = {**FROM_OUR_PAGE, "Origin": "https://evil.example"}
    visit = door.stranger()
    assert (await visit.post("/signin", visit.key.form(code), evil)).status_code == 403
    assert HOST.startswith("http://127.0.0.1")
