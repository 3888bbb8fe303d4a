"""What stands in policy.json and servers.json and waits for an administrator's word.

Agents may be able to write these files. Shown is the difference to what was confirmed last; what is
confirmed is exactly that, or nothing.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from web.context import PageContext
from web.services import Desk, Rulebook
from web.session import Viewer
from web.views.frame import FormNotice

_Short = Annotated[str, Form(max_length=400)]
_Revision = Annotated[str, Form(min_length=64, max_length=64)]
_Asked = Annotated[str, Query(max_length=400)]

_CHANGED = "Nothing was confirmed: it was changed again since you looked. This is what it says now."
_ONLY_ADMINS = "Only an administrator confirms."


def add_policy(routes: APIRouter, office: PageContext, book: Rulebook) -> None:
    """The file of the rules."""

    @routes.get("/policy/confirm")
    async def look(request: Request) -> Response:
        viewer = await office.sessions.of_page(request)
        return await _policy(office, book, request, viewer)

    @routes.post("/policy/confirm")
    async def confirm(request: Request, revision: _Revision, csrf: _Short = "") -> Response:
        viewer = await office.sessions.admin(request, csrf)
        outcome = await book.confirm(revision, viewer.reviewer)
        if outcome == "changed":
            notice = FormNotice(_CHANGED, "bad")
            return await _policy(office, book, request, viewer, notice, 409)
        return RedirectResponse("/policy", 303)


def add_servers(routes: APIRouter, office: PageContext, desk: Desk) -> None:
    """The commands and URLs of servers."""

    @routes.get("/servers/confirm")
    async def look(request: Request, server: _Asked = "") -> Response:
        viewer = await office.sessions.of_page(request)
        return await _server(office, desk, request, viewer, server)

    @routes.post("/servers/confirm")
    async def confirm(
        request: Request, server: _Short, revision: _Revision, csrf: _Short = ""
    ) -> Response:
        viewer = await office.sessions.admin(request, csrf)
        outcome = await desk.confirm(server, revision, by=viewer.reviewer)
        if outcome == "changed":
            notice = FormNotice(_CHANGED, "bad")
            return await _server(office, desk, request, viewer, server, notice, 409)
        said = f"?confirmed={quote(server)}" if outcome == "confirmed" else ""
        return RedirectResponse(f"/agents{said}#servers", 303)


async def _policy(
    office: PageContext,
    book: Rulebook,
    request: Request,
    viewer: Viewer,
    notice: FormNotice | None = None,
    status: int = 200,
) -> Response:
    found = await book.unconfirmed()
    if found is None:
        sentence = "The file says what was confirmed, or has errors that come first."
        return await office.message(
            request, viewer, 404, "Nothing to confirm", sentence, goto="/policy"
        )
    return await office.page(
        request,
        viewer,
        "confirm.html",
        status,
        found=found,
        servers=(),
        notice=notice,
        admin=viewer.reviewer.role == "admin",
        only_admins=_ONLY_ADMINS,
    )


async def _server(
    office: PageContext,
    desk: Desk,
    request: Request,
    viewer: Viewer,
    name: str,
    notice: FormNotice | None = None,
    status: int = 200,
) -> Response:
    servers = [one for one in desk.unconfirmed() if name in ("", one.name)]
    if not servers:
        sentence = "Every server of servers.json is the one that was confirmed."
        return await office.message(
            request, viewer, 404, "Nothing to confirm", sentence, goto="/agents#servers"
        )
    return await office.page(
        request,
        viewer,
        "confirm.html",
        status,
        found=None,
        servers=servers,
        notice=notice,
        admin=viewer.reviewer.role == "admin",
        only_admins=_ONLY_ADMINS,
    )
