"""The queue, one approval, and the forms by which people decide. Thin: the record decides who may
and who was first; these routes say it in words.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from approvals.aside import aside
from approvals.model import Choice, NotAllowed, NotFound, Settlement
from approvals.phrases import ASKED, PRESETS
from approvals.reveal import Revealed
from web.border import FRAGMENT
from web.context import PageContext
from web.pages import bulk, edit
from web.pages.decision_messages import BAD, said, said_of_effect
from web.session import Viewer
from web.views.card import LONGER, Card, unmasked
from web.views.frame import FormNotice

SHOWN = 40
"""Most cards of one page; the rest wait behind them in the same order and move up."""

CHANGE = "change"
"""The choice of a denial that asks for something."""

_Text = Annotated[str, Form(max_length=2000)]
_Short = Annotated[str, Form(max_length=256)]


def router(office: PageContext) -> APIRouter:
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/")
    async def queue(request: Request) -> Response:
        viewer = await office.sessions.of_page(request)
        frame = await office.frame(request, viewer)
        cards, total = await office.cards(viewer, SHOWN)
        return await office.page(
            request,
            viewer,
            "queue.html",
            frame=frame,
            cards=cards,
            summary=_summary(cards, total),
            empty=await office.empty(),
            more=total - len(cards) if total > len(cards) else 0,
            notice=None,
            presets=PRESETS,
        )

    @routes.get("/banners")
    async def banners(request: Request) -> Response:
        viewer = await office.sessions.of_page(request)
        return await office.page(request, viewer, "banners.html")

    @routes.get("/approvals/{approval_id}/card")
    async def card(request: Request, approval_id: str) -> Response:
        viewer = await office.sessions.of_page(request)
        shown = await office.card(approval_id, viewer)
        return await _fragment(office, viewer, shown)

    @routes.get("/approvals/{approval_id}")
    async def approval(request: Request, approval_id: str) -> Response:
        viewer = await office.sessions.of_page(request)
        return await _approval(office, request, viewer, approval_id)

    _add_decide(routes, office)
    _add_extend(routes, office)
    _add_reveal(routes, office)
    _add_settle(routes, office)
    _add_effect(routes, office)
    bulk.add(routes, office)
    if office.deps.judge_again is not None:
        edit.add(routes, office, office.deps.judge_again)
    return routes


def _add_decide(routes: APIRouter, office: PageContext) -> None:
    @routes.post("/approvals/{approval_id}/decide")
    async def decide(
        request: Request,
        approval_id: str,
        choice: _Short,
        revision: Annotated[int, Form(ge=1)],
        view: _Short,
        csrf: _Short = "",
        preset: _Text = "",
        reason: _Text = "",
        confirm: _Text = "",
        origin: Annotated[str, Form(alias="from", max_length=16)] = "",
    ) -> Response:
        viewer = await office.sessions.of_page(request)
        office.sessions.checked(request, viewer, csrf)
        why = reason.strip() or preset.strip()
        problem = await _unready(office, viewer, approval_id, choice, why, confirm)
        if choice == CHANGE:
            choice, why = Choice.DENY, ASKED + why
        if problem is None:
            decided = await office.approvals.decide(
                approval_id,
                revision=revision,
                reviewer=viewer.reviewer,
                choice=Choice(choice),
                reason=why,
                via="page",
                view_digest=view,
            )
            notice, status = said(decided, viewer)
        else:
            notice, status = FormNotice(problem, "bad"), 422
        return await _done(office, request, viewer, approval_id, origin, notice, status)


def _add_extend(routes: APIRouter, office: PageContext) -> None:
    @routes.post("/approvals/{approval_id}/extend")
    async def extend(
        request: Request,
        approval_id: str,
        seconds: Annotated[int, Form()],
        csrf: _Short = "",
        origin: Annotated[str, Form(alias="from", max_length=16)] = "",
    ) -> Response:
        viewer = await office.sessions.of_page(request)
        office.sessions.checked(request, viewer, csrf)
        if seconds in dict(LONGER):
            decided = await office.approvals.extend(
                approval_id, reviewer=viewer.reviewer, seconds=seconds, via="page"
            )
            notice, status = said(decided, viewer)
        else:
            notice, status = FormNotice("Choose one of the times offered.", "bad"), 422
        return await _done(office, request, viewer, approval_id, origin, notice, status)


async def _done(
    office: PageContext,
    request: Request,
    viewer: Viewer,
    approval_id: str,
    origin: str,
    notice: FormNotice,
    status: int,
) -> Response:
    """The answer to a press: the card alone for a script, else the page it was pressed on."""
    if FRAGMENT in request.headers:
        shown = await office.card(approval_id, viewer)
        note = notice.text if status >= BAD else ""
        return await _fragment(office, viewer, shown, note, status)
    if status < BAD:
        goto = "/" if origin == "queue" else f"/approvals/{approval_id}"
        return RedirectResponse(goto, 303)
    return await _approval(office, request, viewer, approval_id, notice, status)


def _add_reveal(routes: APIRouter, office: PageContext) -> None:
    @routes.post("/approvals/{approval_id}/reveal")
    async def reveal(request: Request, approval_id: str, csrf: _Short = "") -> Response:
        """The call once more, without the masks this person may look behind. Put on record."""
        viewer = await office.sessions.of_page(request)
        office.sessions.checked(request, viewer, csrf)
        found = await office.approvals.reveal(approval_id, reviewer=viewer.reviewer, via="page")
        if isinstance(found, NotFound):
            return await office.missing(request, viewer)
        if not isinstance(found, Revealed):
            notice, status = (
                FormNotice(found.why, "bad"),
                403 if isinstance(found, NotAllowed) else 409,
            )
            return await _approval(office, request, viewer, approval_id, notice, status)
        notice = FormNotice("Shown without its masks, to you alone. The history has your look.")
        return await _approval(
            office, request, viewer, approval_id, notice, arguments=found.arguments
        )


def _add_settle(routes: APIRouter, office: PageContext) -> None:
    @routes.post("/approvals/{approval_id}/settle")
    async def settle(
        request: Request, approval_id: str, settlement: _Short, note: _Text = "", csrf: _Short = ""
    ) -> Response:
        viewer = await office.sessions.of_page(request)
        office.sessions.checked(request, viewer, csrf)
        if settlement not in tuple(Settlement) or not note.strip():
            notice: FormNotice = FormNotice("Say what you found before settling it.", "bad")
            return await _approval(office, request, viewer, approval_id, notice, 422)
        decided = await office.approvals.settle(
            approval_id,
            reviewer=viewer.reviewer,
            settlement=Settlement(settlement),
            note=note.strip(),
            via="page",
        )
        notice, status = said(decided, viewer)
        if status < BAD:
            return RedirectResponse(f"/approvals/{approval_id}", 303)
        return await _approval(office, request, viewer, approval_id, notice, status)


def _add_effect(routes: APIRouter, office: PageContext) -> None:
    @routes.post("/effects/{holder}/settle")
    async def settle_effect(
        request: Request,
        holder: str,
        settlement: _Short,
        approval: _Short = "",
        note: _Text = "",
        csrf: _Short = "",
        origin: Annotated[str, Form(alias="from", max_length=16)] = "",
    ) -> Response:
        """What a reviewer found out of another call, said on the card of the one that waits."""
        viewer = await office.sessions.of_page(request)
        office.sessions.checked(request, viewer, csrf)
        if settlement not in tuple(Settlement) or not note.strip():
            notice = FormNotice("Say what you found before settling it.", "bad")
            return await _done(office, request, viewer, approval, origin, notice, 422)
        settled = await office.approvals.settle_effect(
            holder,
            reviewer=viewer.reviewer,
            settlement=Settlement(settlement),
            note=note.strip(),
            via="page",
        )
        notice, status = said_of_effect(settled)
        return await _done(office, request, viewer, approval, origin, notice, status)


async def _unready(
    office: PageContext, viewer: Viewer, approval_id: str, choice: str, why: str, confirm: str
) -> str | None:
    """What a form lacks before the record is asked, or None."""
    if choice == CHANGE:
        return None if why else "Say what to change: it reaches the agent."
    if choice not in tuple(Choice):
        return "Choose approve or deny."
    if choice == Choice.DENY:
        return None if why else "Say why: the reason reaches the agent."
    card = await office.card(approval_id, viewer)
    if card is not None and card.confirm and confirm.strip() != card.tool:
        return f"Type the tool's name, {card.tool}, to approve a call of {card.risk} risk."
    return None


def _summary(cards: list[Card], total: int) -> str:
    if not total:
        return ""
    high = sum(card.confirm for card in cards)
    words = f"{total} {'call' if total == 1 else 'calls'}"
    return f"{words}, {high} of high risk" if high else words


async def _fragment(
    office: PageContext, viewer: Viewer, card: Card | None, note: str = "", status: int = 200
) -> Response:
    if card is None:
        return HTMLResponse("", 404)
    html = await office.rendered("one.html", card=card, csrf=viewer.csrf, note=note)
    return HTMLResponse(html, status)


async def _approval(
    office: PageContext,
    request: Request,
    viewer: Viewer,
    approval_id: str,
    notice: FormNotice | None = None,
    status: int = 200,
    *,
    arguments: str | None = None,
) -> Response:
    """The page of one approval; with `arguments`, these in place of the masked ones."""
    frame = await office.frame(request, viewer)
    shown = await office.dossier(approval_id, viewer)
    if shown is None:
        return await office.missing(request, viewer)
    card = shown.card
    if arguments is not None:
        card = await aside(len(arguments), partial(unmasked, card, arguments))
    return await office.page(
        request,
        viewer,
        "approval.html",
        status,
        frame=frame,
        card=card,
        timeline=shown.timeline,
        result=shown.result,
        edits=shown.edits,
        notice=notice,
    )
