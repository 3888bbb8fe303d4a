"""Every route, and the least role it takes. A new route fails here until it is in the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute

from approvals.model import Role, Terms
from approvals.record.history import head
from tests.support.admin_place import RULES, Place
from tests.web.conftest import FROM_OUR_PAGE, Door
from web.app import build
from web.border import csrf_token

ROLES: tuple[Role, ...] = ("viewer", "approver", "admin")
# (method, path): the least role, and what is sent. "anyone" needs no session.
TABLE: dict[tuple[str, str], tuple[str, Any]] = {
    ("GET", "/signin"): ("anyone", None),
    ("POST", "/signin"): ("anyone", {"code": "lnk_x"}),
    ("GET", "/static"): ("anyone", None),
    ("GET", "/"): ("viewer", None),
    ("GET", "/approvals/{approval_id}"): ("viewer", None),
    ("GET", "/approvals/{approval_id}/card"): ("viewer", None),
    ("GET", "/history"): ("viewer", None),
    ("POST", "/history/verify"): ("viewer", {}),
    ("GET", "/history/export.jsonl"): ("viewer", None),
    ("GET", "/history/export.csv"): ("viewer", None),
    ("GET", "/tools"): ("viewer", None),
    ("GET", "/policy"): ("viewer", None),
    ("GET", "/agents"): ("viewer", None),
    ("GET", "/insights"): ("viewer", None),
    ("GET", "/tools/changed"): ("viewer", None),
    ("GET", "/events"): ("viewer", None),
    ("GET", "/banners"): ("viewer", None),
    ("GET", "/api/v1/openapi.json"): ("viewer", None),
    ("GET", "/api/v1/me"): ("viewer", None),
    ("GET", "/api/v1/pending"): ("viewer", None),
    ("GET", "/api/v1/effects"): ("viewer", None),
    ("GET", "/api/v1/history"): ("viewer", None),
    ("GET", "/api/v1/approvals/{approval_id}"): ("viewer", None),
    ("POST", "/signout"): ("viewer", {}),
    ("POST", "/approvals/{approval_id}/decide"): (
        "approver", {"choice": "deny", "revision": "1", "view": "x", "reason": "no"}),
    ("POST", "/approvals/{approval_id}/take-back"): ("approver", {}),
    ("POST", "/approvals/{approval_id}/extend"): ("approver", {"seconds": "1800"}),
    ("POST", "/approvals/{approval_id}/settle"): (
        "approver", {"settlement": "done", "note": "looked"}),
    ("POST", "/approvals/{approval_id}/edit"): ("approver", {"revision": "1", "sure": "1",
                                                              "set:%5B%22a%22%5D": "2"}),
    ("POST", "/approvals/{approval_id}/reveal"): ("approver", {}),
    ("POST", "/api/v1/approvals/{approval_id}/reveal"): ("approver", {}),
    ("POST", "/bulk"): ("approver", {"choice": "approve", "item": "{approval_id}:1:{view}"}),
    ("POST", "/tools/accept"): (
        "approver", {"server": "crm", "tool": "delete_customer", "seen": "a" * 64}),
    ("POST", "/api/v1/approvals/{approval_id}/approve"): ("approver", {"revision": 1}),
    ("POST", "/api/v1/approvals/{approval_id}/deny"): (
        "approver", {"revision": 1, "reason": "no"}),
    ("POST", "/api/v1/approvals/{approval_id}/edit"): (
        "approver", {"revision": 1, "changes": {"a": 2}}),
    ("POST", "/api/v1/approvals/{approval_id}/take-back"): ("approver", {"reason": ""}),
    ("POST", "/api/v1/approvals/{approval_id}/extend"): ("approver", {"seconds": 60}),
    ("POST", "/api/v1/approvals/{approval_id}/settle"): (
        "approver", {"settlement": "done", "note": "looked"}),
    ("POST", "/tools/class"): (
        "admin", {"server": "crm", "tool": "delete_customer", "seen": "a" * 64, "kind": "read"}),
    ("POST", "/effects/{holder}/settle"): ("approver", {"settlement": "done", "note": "looked"}),
    ("POST", "/api/v1/effects/{holder}/settle"): (
        "approver", {"settlement": "done", "note": "looked"}),
    ("POST", "/agents/new"): ("admin", {"label": "x"}),
    ("POST", "/agents/token"): ("admin", {}),
    ("POST", "/agents/revoke"): ("admin", {"id": "grt_x"}),
    ("POST", "/agents/freeze"): ("admin", {"kind": "everything", "name": "", "on": "1"}),
    ("GET", "/policy/tool"): ("admin", None),
    ("GET", "/policy/text"): ("admin", None),
    ("GET", "/policy/confirm"): ("viewer", None),
    ("GET", "/servers/confirm"): ("viewer", None),
    ("POST", "/policy/confirm"): ("admin", {"revision": "a" * 64}),
    ("POST", "/servers/confirm"): ("admin", {"server": "crm", "revision": "a" * 64}),
    ("POST", "/policy/tool"): ("admin", {"tool": "git_status", "choice": "hide"}),
    ("POST", "/policy/tool/save"): ("admin", {"tool": "git_status", "rules": '"hide"'}),
    ("POST", "/policy/text"): ("admin", {"text": "{}", "do": "save"}),
}  # fmt: skip
UNSETTLED = (
    "/settle",
    "/accept",
)  # nothing there to settle or accept: the answer is 409 or 404 for some


@pytest.fixture
def app(place: Place) -> FastAPI:
    return build(place.scene.services(**place.services()))


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    document = app.openapi()
    for path, methods in document["paths"].items():
        for method in methods:
            yield method.upper(), path
    for route in app.routes:
        yield from _plain(route)


def _plain(route: BaseRoute) -> Iterator[tuple[str, str]]:
    path = getattr(route, "path", "")
    for method in getattr(route, "methods", None) or {"GET"}:
        if path and method != "HEAD":
            yield method, path


async def test_every_route_is_in_the_table(app: FastAPI) -> None:
    assert {route for route in routes_of(app) if "slack" not in route[1]} == set(TABLE)


@pytest.mark.parametrize(("method", "path"), TABLE)
async def test_whoever_has_less_than_the_least_role_is_refused_and_changes_nothing(
    place: Place, door: Door, method: str, path: str
) -> None:
    least, form = TABLE[method, path]
    if least == "anyone":
        return
    scene = place.scene
    held = scene.held("pay", {"a": 1}, terms=Terms(risk="low", editable=("args.a",)))
    view = await scene.approvals.view(held.id)
    assert view is not None
    query = "?server=crm&tool=delete_customer" if path in ("/tools/changed", "/policy/tool") else ""
    url = path.replace("{approval_id}", held.id) + query
    if isinstance(form, dict):
        known = {"{approval_id}": held.id, "{view}": view.digest}
        for word, value in known.items():
            form = {k: v.replace(word, value) if isinstance(v, str) else v for k, v in form.items()}
    before = scene.database.read_now(head).seq
    answer = await asked(door.stranger().http, method, url, form)
    assert answer.status_code in (303, 401), path
    assert answer.status_code != 303 or answer.headers["location"].startswith("/signin")
    for role in ROLES[: [*ROLES].index(least)]:  # type: ignore[arg-type]
        visit = await door.signed_in(f"a-{role}", role)
        visit.key.reads = True
        before = scene.database.read_now(head).seq
        answer = await asked(visit.http, method, url, form)
        refused = answer.status_code == 403 or (
            path.endswith(UNSETTLED) and answer.status_code in (404, 409)
        )
        refused = refused or (path == "/bulk" and "may look, but not decide" in answer.text)
        assert refused, (role, answer.status_code)
        assert scene.database.read_now(head).seq == before
    if path != "/events":  # which does not end
        visit = await door.signed_in(f"a-{least}", least)  # type: ignore[arg-type]
        visit.key.reads = True  # some GETs give away more than the page shows
        answer = await asked(visit.http, method, url, form)
        # The record may refuse an edit for what it changes, never for who asks.
        edits = path.endswith("/edit") and "definition of the tool changed" in answer.text
        assert answer.status_code not in (401, 403) or edits, (least, answer.text[:400])
        assert method == "GET" or "may look, but not decide" not in answer.text
    assert place.file.read_text() == RULES or least == "admin"


async def asked(http: httpx2.AsyncClient, method: str, url: str, form: Any) -> httpx2.Response:
    if method == "GET":
        return await http.get(url)
    csrf = csrf_token(http.cookies.get("signoff") or "")
    if url.startswith("/api/"):
        return await http.post(url, json=form, headers={**FROM_OUR_PAGE, "X-CSRF-Token": csrf})
    return await http.post(url, data={"csrf": csrf, **form}, headers=FROM_OUR_PAGE)
