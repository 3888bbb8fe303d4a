"""What stands in policy.json and servers.json and waits for an administrator's word.

Agents may be able to write these files. Shown is the difference to what was confirmed last; what is
confirmed is exactly that, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from gateway.admin.models import UnconfirmedPolicy, UnconfirmedServer
from web.context import Context
from web.page_request import PageRequest, admin_page_of, page_of
from web.views.frame import FormNotice

_Short = Annotated[str, Form(max_length=400)]
_Revision = Annotated[str, Form(min_length=64, max_length=64)]
_Asked = Annotated[str, Query(max_length=400)]

_CHANGED = FormNotice(
    "Nothing was confirmed: it was changed again since you looked. This is what it says now.", "bad"
)
_ONLY_ADMINS = "Only an administrator confirms."


routes = APIRouter(default_response_class=HTMLResponse)


@routes.get("/policy/confirm", name="look")
async def look_at_policy(request: Request, context: Context) -> Response:
    page = await page_of(context, request)
    return await _policy(page)


@routes.post("/policy/confirm", name="confirm")
async def confirm_policy(
    request: Request, revision: _Revision, context: Context, csrf: _Short = ""
) -> Response:
    page = await admin_page_of(context, request, csrf)
    outcome = await context.services.editor.confirm(revision, page.viewer.reviewer)
    if outcome == "changed":
        return await _policy(page, _CHANGED)
    return RedirectResponse("/policy", 303)


@routes.get("/servers/confirm", name="look")
async def look_at_server(request: Request, context: Context, server: _Asked = "") -> Response:
    page = await page_of(context, request)
    return await _server(page, server)


@routes.post("/servers/confirm", name="confirm")
async def confirm_server(
    request: Request, server: _Short, revision: _Revision, context: Context, csrf: _Short = ""
) -> Response:
    page = await admin_page_of(context, request, csrf)
    outcome = await context.services.admin.confirm(server, revision, by=page.viewer.reviewer)
    if outcome == "changed":
        return await _server(page, server, _CHANGED)
    said = f"?confirmed={quote(server)}" if outcome == "confirmed" else ""
    return RedirectResponse(f"/agents{said}#servers", 303)


async def _policy(page: PageRequest, notice: FormNotice | None = None) -> Response:
    found = await page.context.services.editor.unconfirmed()
    if found is None:
        sentence = "The file says what was confirmed, or has errors that come first."
        return await page.message(404, "Nothing to confirm", sentence, goto="/policy")
    return await _waiting(page, notice, found=found)


async def _server(page: PageRequest, name: str, notice: FormNotice | None = None) -> Response:
    waiting = page.context.services.admin.unconfirmed()
    servers = [one for one in waiting if name in ("", one.name)]
    if not servers:
        sentence = "Every server of servers.json is the one that was confirmed."
        return await page.message(404, "Nothing to confirm", sentence, goto="/agents#servers")
    return await _waiting(page, notice, servers=servers)


async def _waiting(
    page: PageRequest,
    notice: FormNotice | None,
    *,
    found: UnconfirmedPolicy | None = None,
    servers: Sequence[UnconfirmedServer] = (),
) -> Response:
    """The page of what waits; with a notice, because it is not what was confirmed."""
    return await page.render(
        "confirm.html",
        200 if notice is None else 409,
        found=found,
        servers=servers,
        notice=notice,
        admin=page.is_admin,
        only_admins=_ONLY_ADMINS,
    )
