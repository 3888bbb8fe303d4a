"""A cookie alone changes nothing on this machine's addresses, and shows the masked view only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from approvals.model import State
from approvals.record.history import head
from approvals.reviewers import MOST_NONCES, NONCE, prune_nonces
from tests.support.admin_place import RULES, Place
from tests.support.page_key import FROM_SCRIPT, PageKey, url64
from tests.support.review_scene import Scene, open_scene
from tests.web.conftest import FROM_OUR_PAGE, HOST, Door, Visit
from tests.web.test_roles import TABLE, asked, routes_of
from web.app import build
from web.border import Border, csrf_token, proof_at

SIGNED_READS = ("/history/export.jsonl", "/history/export.csv", "/api/v1/history")
"""GETs that give away more than the page shows."""
CHANGES = [one for one in TABLE if one[0] != "GET" and one[1] != "/signin"]


@pytest.fixture
def app(place: Place) -> FastAPI:
    return build(place.scene.services(**place.services()))


def thief(door: Door, victim: Visit, base: str = HOST) -> Visit:
    """A program that was sent the victim's cookie, and can say whatever a browser would."""
    visit = door.stranger(base)
    visit.http.cookies.set("signoff", victim.http.cookies["signoff"], domain="127.0.0.1")
    return visit


async def held_form(scene: Scene, victim: Visit) -> tuple[str, dict[str, str]]:
    held = scene.held("git_commit", {"message": "x"})
    return f"/approvals/{held.id}/decide", {**await victim.form(held.id), "choice": "approve"}


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_a_cookie_alone_changes_nothing(
    place: Place, door: Door, method: str, path: str
) -> None:
    scene = place.scene
    held = scene.held("pay", {"a": 1})
    stolen = thief(door, await door.signed_in("root", "admin"))
    before = scene.database.read_now(head).seq
    url = path.replace("{approval_id}", held.id)
    answer = await asked(stolen.http, method, url, TABLE[method, path][1] or {})
    assert answer.status_code == 403
    assert "a cookie is not enough" in answer.text
    assert scene.database.read_now(head).seq == before
    assert place.file.read_text() == RULES
    assert (await stolen.get("/")).status_code == 200  # still signed in: not even that was changed


async def test_every_change_of_the_surface_is_tried_with_a_cookie_alone(app: FastAPI) -> None:
    changes = {one for one in routes_of(app) if one[0] not in ("GET", "HEAD", "OPTIONS")}
    assert {*CHANGES, ("POST", "/signin")} == changes


@pytest.mark.parametrize("path", SIGNED_READS)
async def test_a_cookie_alone_exports_nothing(scene: Scene, door: Door, path: str) -> None:
    scene.held("git_commit", {"message": "a message of the agent"})
    victim = await door.signed_in("root", "admin")
    refused = await thief(door, victim).get(path)
    assert refused.status_code == 403
    assert "a message of the agent" not in refused.text
    victim.key.reads = True
    exported = await victim.get(path)
    assert exported.status_code == 200
    assert "a message of the agent" in exported.text


async def test_the_masked_view_needs_no_signature(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    stolen = thief(door, await door.signed_in("alice"))
    for path in ("/", f"/approvals/{held.id}", "/history", f"/api/v1/approvals/{held.id}"):
        assert (await stolen.get(path)).status_code == 200


Forge = Callable[[PageKey, str, bytes], str]


def _of(key: PageKey, method: str, target: str, body: bytes, nonce: str = "") -> str:
    return key.header(method, target, body, nonce=nonce)


def _by_another_key(key: PageKey, target: str, body: bytes) -> str:
    return PageKey(session=key.session).header("POST", target, body)


FORGED: dict[str, Forge] = {
    "none": lambda *_: "",
    "nonsense": lambda *_: "x.y.z",
    "another key": _by_another_key,
    "another method": lambda key, target, body: _of(key, "PUT", target, body),
    "another path": lambda key, target, body: _of(key, "POST", target.replace("de", "d%65"), body),
    "another query": lambda key, target, body: _of(key, "POST", f"{target}?a=1", body),
    "another body": lambda key, target, body: _of(key, "POST", target, body + b"&x=1"),
    "no body": lambda key, target, body: _of(key, "POST", target, body[:0]),
    "a number of zero": lambda key, *_: f"{key.session}.{'A' * 22}.{'A' * 86}",
    "a tail": lambda key, target, body: _of(key, "POST", target, body) + "A",
}


@pytest.mark.parametrize("how", FORGED)
async def test_a_signature_is_good_for_exactly_what_was_signed(
    scene: Scene, door: Door, how: str
) -> None:
    victim = await door.signed_in("alice")
    path, form = await held_form(scene, victim)
    request = victim.http.build_request("POST", path, data=form, headers=FROM_OUR_PAGE)
    request.headers["Signoff-Signature"] = FORGED[how](victim.key, path, request.read())
    answer = await victim.http.send(request)
    assert answer.status_code == 403
    assert (await scene.approvals.pending(limit=5))[0].state is State.PENDING
    assert (await victim.post(path, form)).status_code == 303


async def test_a_signed_request_is_good_once(scene: Scene, door: Door) -> None:
    victim = await door.signed_in("alice")
    path, form = await held_form(scene, victim)
    request = victim.http.build_request("POST", path, data=form, headers=FROM_OUR_PAGE)
    request.headers["Signoff-Signature"] = victim.key.header("POST", path, request.read())
    first = await victim.http.send(request)
    again = await victim.http.send(request)
    assert (first.status_code, again.status_code) == (303, 409)
    assert "was sent before" in again.text


async def test_of_many_at_once_with_one_nonce_one_is_taken(scene: Scene, door: Door) -> None:
    victim = await door.signed_in("alice")
    nonce = url64(b"n" * 16)
    target = "/api/v1/history"
    signed = {"Signoff-Signature": victim.key.header("GET", target, nonce=nonce)}
    answers = await asyncio.gather(*(victim.get(target, **signed) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 11]


async def test_a_nonce_stays_used_after_a_restart_and_at_another_replica(
    scene: Scene, door: Door, tmp_path: Path
) -> None:
    victim = await door.signed_in("alice")
    target = "/api/v1/history"
    signed = {"Signoff-Signature": victim.key.header("GET", target)}
    assert (await victim.get(target, **signed)).status_code == 200
    other = open_scene(tmp_path)  # on the same record
    try:
        elsewhere = thief(Door(build(other.services()), other), victim)
        assert (await elsewhere.get(target, **signed)).status_code == 409
        fresh = {"Signoff-Signature": victim.key.header("GET", target)}
        assert (await elsewhere.get(target, **fresh)).status_code == 200
    finally:
        other.wakeup.close()
        await other.database.close()


async def test_a_session_signs_a_bounded_number_of_requests(scene: Scene, door: Door) -> None:
    victim = await door.signed_in("alice")
    rows = [
        {"session": victim.key.session, "nonce": str(number), "until": 2**50}
        for number in range(MOST_NONCES)
    ]
    scene.database.journal.write_now(lambda tx: tx.connection.execute(NONCE.insert(), rows))
    victim.key.reads = True
    full = await victim.get("/api/v1/history")
    assert full.status_code == 403
    assert "Sign in again" in full.json()["title"]
    assert (await victim.sign_in(await door.link("alice"))).status_code == 200
    assert (await victim.get("/api/v1/history")).status_code == 200


async def test_used_nonces_are_forgotten_when_their_session_is_over(
    scene: Scene, door: Door
) -> None:
    victim = await door.signed_in("alice")
    victim.key.reads = True
    assert (await victim.get("/api/v1/history")).status_code == 200
    now = scene.clock.now()
    over = now + 12 * 3_600_000 + 1
    pruned = [
        scene.database.journal.write_now(partial(prune_nonces, before=when)) for when in (now, over)
    ]
    assert pruned == [0, 1]


async def test_a_signature_by_a_session_that_ended_is_none(scene: Scene, door: Door) -> None:
    victim = await door.signed_in("alice")
    path, form = await held_form(scene, victim)
    await scene.people.end(victim.http.cookies["signoff"])
    assert (await victim.post(path, form)).status_code == 401


async def test_a_page_of_an_older_session_is_told_to_reload(scene: Scene, door: Door) -> None:
    browser = await door.signed_in("alice")
    path, form = await held_form(scene, browser)
    older = PageKey(key=browser.key.key, session=browser.key.session)
    await browser.sign_in(await door.link("alice"))
    sent = {**FROM_OUR_PAGE, **FROM_SCRIPT}
    answer = await browser.http.post(path, data=form, headers=sent, auth=older)
    assert answer.status_code == 409
    assert "You signed in again: reload this page" in answer.text


@pytest.mark.parametrize("key", ["", "A" * 87, "x", "A" * 86, "BA" + "A" * 85])
async def test_nobody_signs_in_here_without_a_key_and_the_code_stays_good(
    door: Door, key: str
) -> None:
    code = await door.link("alice")
    visit = door.stranger()
    refused = await visit.post("/signin", {"code": code, "key": key})
    assert refused.status_code == 422
    assert "Your code was not used." in refused.text
    assert "set-cookie" not in refused.headers
    assert (await visit.sign_in(code)).status_code == 200


async def test_a_session_never_gets_another_key(scene: Scene, door: Door) -> None:
    victim = await door.signed_in("alice")
    path, form = await held_form(scene, victim)
    stolen = thief(door, victim)
    tried = await stolen.post("/signin", stolen.key.form("lnk_guessed"))
    assert tried.status_code == 403
    stolen.key.session = victim.key.session
    assert (await stolen.post(path, form)).status_code == 403
    assert (await victim.post(path, form)).status_code == 303


async def test_a_key_planted_before_signing_in_is_not_that_of_the_session(
    scene: Scene, door: Door
) -> None:
    mallory = await door.signed_in("mallory")
    victim = thief(door, mallory)  # a neighbour set its own cookie in the victim's browser
    await victim.sign_in(await door.link("alice"))
    path, form = await held_form(scene, victim)
    stolen = thief(door, victim)
    stolen.key.key, stolen.key.session = mallory.key.key, victim.key.session
    assert (await stolen.post(path, form)).status_code == 403
    assert (await mallory.get("/")).status_code == 303  # what was planted has ended


HTTPS = Border(
    hosts=frozenset({"127.0.0.1", "ok.example"}),
    origins=frozenset({"https://ok.example"}),
    https=True,
)
PLAIN = Border(hosts=frozenset({"127.0.0.1", "10.0.0.5"}))


def at(scene: Scene, border: Border, base: str) -> Visit:
    door = Door(build(scene.services(border=border)), scene)
    visit = door.stranger(base)
    visit.http.auth = httpx2.Auth()  # no key
    return visit


async def enter(visit: Visit, scene: Scene, base: str, name: str = "alice") -> httpx2.Response:
    code = (await scene.people.invite(name, role="admin", url=base)).partition("#")[2]
    return await visit.post("/signin", {"code": code}, {"Origin": base})


async def test_on_an_https_host_of_its_own_forms_work_without_a_key(scene: Scene) -> None:
    base = "https://ok.example"
    visit = at(scene, HTTPS, base)
    assert (await enter(visit, scene, base)).status_code == 303
    path, form = await held_form(scene, visit)
    assert (await visit.post(path, form, {"Origin": base})).status_code == 303
    assert (await visit.get("/history/export.csv")).status_code == 200


@pytest.mark.parametrize("name", ["signoff", "__Host-signoff"])
async def test_a_session_of_this_machine_is_no_better_under_the_https_name(
    scene: Scene, name: str
) -> None:
    door = Door(build(scene.services(border=HTTPS)), scene)
    victim = door.stranger()
    await victim.sign_in(await door.link("alice"))
    path, form = await held_form(scene, victim)
    stolen = at(scene, HTTPS, "https://ok.example")
    stolen.http.cookies[name] = victim.http.cookies["signoff"]
    answer = await stolen.post(path, form, {"Origin": "https://ok.example"})
    assert answer.status_code in (401, 403)
    assert (await scene.approvals.pending(limit=5))[0].state is State.PENDING


async def test_a_session_of_the_https_name_is_none_on_this_machine(scene: Scene) -> None:
    base = "https://ok.example"
    visit = at(scene, HTTPS, base)
    await enter(visit, scene, base)
    here = at(scene, HTTPS, HOST)
    here.http.cookies["signoff"] = visit.http.cookies["__Host-signoff"]
    assert (await here.get("/")).status_code == 303


async def test_over_plain_http_elsewhere_the_page_only_shows(scene: Scene) -> None:
    base = "http://10.0.0.5:8788"
    visit = at(scene, PLAIN, base)
    assert (await enter(visit, scene, base)).status_code == 303
    page = (await visit.get("/")).text
    assert "Open it by https to decide." in page
    held = scene.held("git_commit", {"message": "x"})
    path = f"/approvals/{held.id}/decide"
    form = {"choice": "approve", "revision": "1", "view": "x"}
    refused = await visit.post(path, {**form, "csrf": csrf(visit)}, {"Origin": base})
    assert refused.status_code == 403
    assert "Open it by https to decide." in refused.text
    assert (await visit.get("/history/export.csv")).status_code == 403
    assert (await visit.post("/agents/freeze", {"csrf": csrf(visit)}, {"Origin": base})).is_error
    assert (await scene.approvals.pending(limit=5))[0].state is State.PENDING
    # Under another name of the gateway's it is no better.
    there = at(scene, PLAIN, HOST)
    there.http.cookies["signoff"] = visit.http.cookies["signoff"]
    assert (await there.post(path, {**form, "csrf": csrf(visit)})).status_code == 403
    left = await visit.post("/signout", {"csrf": csrf(visit)}, {"Origin": base})
    assert left.status_code == 303
    assert (await visit.get("/")).status_code == 303


def csrf(visit: Visit) -> str:
    return csrf_token(visit.http.cookies["signoff"])


@pytest.mark.parametrize(
    ("host", "proof"),
    [
        *((host, "key") for host in ("127.0.0.1:8788", "localhost", "signoff.localhost:1")),
        *(
            (host, "key")
            for host in ("[::1]:8788", "127.8.8.8", "LOCALHOST.", "[::ffff:127.0.0.1]")
        ),
        *((host, "cookie") for host in ("ok.example", "ok.example:8443", "localhost.example")),
    ],
)
def test_what_proves_a_change_goes_by_the_host(host: str, proof: str) -> None:
    assert proof_at(Border(hosts=frozenset(), https=True), host) == proof
    plain = {"key": "key", "cookie": "nothing"}[proof]
    assert proof_at(Border(hosts=frozenset()), host) == plain


async def test_a_bearer_needs_no_signature(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    await scene.people.add("bot", role="approver")
    token = {"Authorization": f"Bearer {await scene.people.token('bot')}"}
    visit = door.stranger()
    assert (await visit.get("/api/v1/history", **token)).status_code == 200
    assert (await visit.get("/api/v1/openapi.json", **token)).status_code == 200
    url = f"/api/v1/approvals/{held.id}/approve"
    assert (await visit.http.post(url, json={"revision": 1}, headers=token)).status_code == 200


async def test_a_bearer_that_is_none_does_not_fall_back_on_a_cookie(
    scene: Scene, door: Door
) -> None:
    held = scene.held("git_commit", {"message": "x"})
    stolen = thief(door, await door.signed_in("alice"))
    url = f"/api/v1/approvals/{held.id}/approve"
    headers = {**FROM_OUR_PAGE, "Authorization": "Bearer nothing"}
    answer = await stolen.http.post(url, json={"revision": 1}, headers=headers)
    assert answer.status_code == 401


async def test_the_description_of_the_api_is_not_for_strangers(door: Door) -> None:
    assert (await door.stranger().get("/api/v1/openapi.json")).status_code == 401
    known = await (await door.signed_in("alice", "viewer")).get("/api/v1/openapi.json")
    assert "/api/v1/approvals/{approval_id}/approve" in known.json()["paths"]


async def test_forms_of_every_encoding_are_signed_as_their_bytes(place: Place, door: Door) -> None:
    root = await door.signed_in("root", "admin")
    revision = place.editor.read().revision
    form = {"csrf": csrf(root), "text": RULES, "do": "look", "revision": revision}
    files: Mapping[str, Any] = {name: (None, value) for name, value in form.items()}
    answer = await root.http.post("/policy/text", files=files, headers=FROM_OUR_PAGE)
    assert answer.status_code == 200
    assert "This is what the file says already." in answer.text
    assert place.file.read_text() == RULES


def test_nothing_turns_the_signature_off() -> None:
    """What proves a change follows from the Host alone: no setting and no option is read for it."""
    wanted: Callable[..., Awaitable[Any] | str] = proof_at
    assert wanted.__code__.co_names == ("is_own_machine", "_hostname", "https")
