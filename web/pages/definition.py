"""What a server changed: the difference, of one tool or of all at once, and the form that accepts
what was shown, or stays with what was pinned.

A changed tool stays refused until then. The desk compares and pins; this page shows and asks.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from web.context import PageContext
from web.services import Desk
from web.session import Viewer
from web.views.frame import FormNotice

_Name = Annotated[str, Form(max_length=400)]
_Asked = Annotated[str, Query(max_length=400)]


def add(routes: APIRouter, office: PageContext, desk: Desk) -> None:
    @routes.get("/tools/changed")
    async def changed(request: Request, server: _Asked, tool: _Asked = "") -> Response:
        viewer = await office.sessions.of_page(request)
        return await _difference(office, desk, request, viewer, server, tool)

    @routes.post("/tools/accept")
    async def accept(
        request: Request,
        server: _Name,
        seen: Annotated[str, Form(min_length=64, max_length=64)],
        tool: _Name = "",
        choice: Annotated[Literal["accept", "keep"], Form()] = "accept",
        csrf: _Name = "",
    ) -> Response:
        viewer = await office.sessions.of_page(request)
        office.sessions.checked(request, viewer, csrf)
        if not _may(viewer):
            notice = FormNotice("Your role may look, but not decide. Nothing was accepted.", "bad")
            return await _difference(office, desk, request, viewer, server, tool, notice, 403)
        keep = choice == "keep"
        if await desk.settle(server, tool, seen, keep=keep, by=viewer.reviewer):
            return RedirectResponse(f"/tools?settled={choice}", 303)
        notice = FormNotice(
            "Nothing was accepted: this is not what the server says now. Look at it again.", "bad"
        )
        return await _difference(office, desk, request, viewer, server, tool, notice, 409)


def _may(viewer: Viewer) -> bool:
    return viewer.reviewer.role in ("approver", "admin")


async def _difference(
    office: PageContext,
    desk: Desk,
    request: Request,
    viewer: Viewer,
    server: str,
    tool: str,
    notice: FormNotice | None = None,
    status: int = 200,
) -> Response:
    found = await desk.changes(server, tool)
    if found is None and notice is None:
        sentence = "What is pinned is what was accepted, or no server listed it."
        return await office.message(request, viewer, 404, "Nothing to accept", sentence)
    return await office.page(
        request,
        viewer,
        "definition.html",
        status,
        changes=found,
        tool=tool,
        notice=notice,
        may=_may(viewer),
    )
