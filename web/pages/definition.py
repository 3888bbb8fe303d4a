"""What a server changed: the difference, of one tool or of all at once, and the form that accepts
what was shown, or stays with what was pinned.

A changed tool stays refused until then. The service compares and pins; this page shows and asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from web.context import Context
from web.page_request import PageRequest, form_page_of, page_of
from web.views.frame import FormNotice

_Name = Annotated[str, Form(max_length=400)]
_Asked = Annotated[str, Query(max_length=400)]


routes = APIRouter(default_response_class=HTMLResponse)


@routes.get("/tools/changed")
async def changed(
    request: Request, server: _Asked, context: Context, tool: _Asked = ""
) -> Response:
    page = await page_of(context, request)
    return await _difference(page, server, tool)


@dataclass(frozen=True, slots=True)
class SettleForm:
    """What was shown, named by its hash, and what shall become of it. Without a tool: all that the
    server changed.
    """

    server: _Name
    seen: Annotated[str, Form(min_length=64, max_length=64)]
    tool: _Name = ""
    choice: Annotated[Literal["accept", "keep"], Form()] = "accept"
    csrf: _Name = ""


@routes.post("/tools/accept")
async def accept(
    request: Request, form: Annotated[SettleForm, Depends()], context: Context
) -> Response:
    page = await form_page_of(context, request, form.csrf)
    if not _may(page):
        notice = FormNotice("Your role may look, but not decide. Nothing was accepted.", "bad")
        return await _difference(page, form.server, form.tool, notice, 403)
    keep = form.choice == "keep"
    by = page.viewer.reviewer
    if await context.services.admin.settle(form.server, form.tool, form.seen, keep=keep, by=by):
        return RedirectResponse(f"/tools?settled={form.choice}", 303)
    notice = FormNotice(
        "Nothing was accepted: this is not what the server says now. Look at it again.", "bad"
    )
    return await _difference(page, form.server, form.tool, notice, 409)


def _may(page: PageRequest) -> bool:
    return page.viewer.reviewer.may_decide


async def _difference(
    page: PageRequest, server: str, tool: str, notice: FormNotice | None = None, status: int = 200
) -> Response:
    found = await page.context.services.admin.changes(server, tool)
    if found is None and notice is None:
        sentence = "What is pinned is what was accepted, or no server listed it."
        return await page.message(404, "Nothing to accept", sentence)
    return await page.render(
        "definition.html", status, changes=found, tool=tool, notice=notice, may=_may(page)
    )
