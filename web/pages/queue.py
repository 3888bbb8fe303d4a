"""The queue, one approval, and the forms by which people decide. Thin: the record decides who may
and who was first; these routes say it in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from approvals.aside import aside
from approvals.model import Choice, NotAllowed, NotFound, Settlement, Vote
from approvals.phrases import ASKED, PRESETS
from approvals.reveal import Revealed
from web.border import FRAGMENT
from web.context import Context
from web.page_request import PageRequest, form_page_of, page_of
from web.pages.decision_messages import BAD, said, said_of_effect, said_of_taking_back
from web.views.card import LONGER, Card, unmasked
from web.views.frame import FormNotice

SHOWN = 40
"""Most cards of one page; the rest wait behind them in the same order and move up."""

CHANGE = "change"
"""The choice of a denial that asks for something."""

_Text = Annotated[str, Form(max_length=2000)]
_Short = Annotated[str, Form(max_length=256)]
_Origin = Annotated[str, Form(alias="from", max_length=16)]

_FIND_FIRST = FormNotice("Say what you found before settling it.", "bad")

routes = APIRouter(default_response_class=HTMLResponse)


@routes.get("/")
async def queue(request: Request, context: Context) -> Response:
    page = await page_of(context, request)
    frame = await page.frame()
    cards, total = await context.cards(page.viewer, SHOWN)
    return await page.render(
        "queue.html",
        frame=frame,
        cards=cards,
        summary=_summary(cards, total),
        empty=await context.empty(),
        more=total - len(cards) if total > len(cards) else 0,
        notice=None,
        presets=PRESETS,
    )


def _summary(cards: list[Card], total: int) -> str:
    if not total:
        return ""
    high = sum(card.confirm for card in cards)
    words = f"{total} {'call' if total == 1 else 'calls'}"
    return f"{words}, {high} of high risk" if high else words


@routes.get("/banners")
async def banners(request: Request, context: Context) -> Response:
    page = await page_of(context, request)
    return await page.render("banners.html")


@routes.get("/approvals/{approval_id}/card")
async def card(request: Request, approval_id: str, context: Context) -> Response:
    page = await page_of(context, request)
    return await _fragment(page, approval_id)


@routes.get("/approvals/{approval_id}")
async def approval(request: Request, approval_id: str, context: Context) -> Response:
    page = await page_of(context, request)
    return await _approval(page, approval_id)


@dataclass(frozen=True, slots=True)
class DecisionForm:
    """A decision as the page's form sends it."""

    choice: _Short
    revision: Annotated[int, Form(ge=1)]
    view: _Short
    csrf: _Short = ""
    preset: _Text = ""
    reason: _Text = ""
    confirm: _Text = ""
    origin: _Origin = ""

    @property
    def why(self) -> str:
        """What was written, else what was picked."""
        return self.reason.strip() or self.preset.strip()


@routes.post("/approvals/{approval_id}/decide")
async def decide(
    request: Request,
    approval_id: str,
    form: Annotated[DecisionForm, Depends()],
    context: Context,
) -> Response:
    page = await form_page_of(context, request, form.csrf)
    problem = await _unready(page, approval_id, form)
    if problem is not None:
        notice, status = FormNotice(problem, "bad"), 422
    else:
        asks = form.choice == CHANGE
        decided = await context.approvals.decide(
            approval_id,
            Vote(
                revision=form.revision,
                reviewer=page.viewer.reviewer,
                choice=Choice.DENY if asks else Choice(form.choice),
                reason=ASKED + form.why if asks else form.why,
                via="page",
                view_digest=form.view,
            ),
        )
        notice, status = said(decided, page.viewer)
    return await _done(page, approval_id, form.origin, notice, status)


async def _unready(page: PageRequest, approval_id: str, form: DecisionForm) -> str | None:
    """What a form lacks before the record is asked, or None."""
    if form.choice == CHANGE:
        return None if form.why else "Say what to change: it reaches the agent."
    if form.choice not in tuple(Choice):
        return "Choose approve or deny."
    if form.choice == Choice.DENY:
        return None if form.why else "Say why: the reason reaches the agent."
    card = await page.card(approval_id)
    if card is not None and card.confirm and form.confirm.strip() != card.tool:
        return f"Type the tool's name, {card.tool}, to approve a call of {card.risk} risk."
    return None


@routes.post("/approvals/{approval_id}/extend")
async def extend(
    request: Request,
    approval_id: str,
    seconds: Annotated[int, Form()],
    context: Context,
    csrf: _Short = "",
    origin: _Origin = "",
) -> Response:
    page = await form_page_of(context, request, csrf)
    if seconds in dict(LONGER):
        decided = await context.approvals.extend(
            approval_id, reviewer=page.viewer.reviewer, seconds=seconds, via="page"
        )
        notice, status = said(decided, page.viewer)
    else:
        notice, status = FormNotice("Choose one of the times offered.", "bad"), 422
    return await _done(page, approval_id, origin, notice, status)


@routes.post("/approvals/{approval_id}/take-back")
async def take_back(
    request: Request, approval_id: str, context: Context, csrf: _Short = "", origin: _Origin = ""
) -> Response:
    """What was approved and has not started shall not run after all."""
    page = await form_page_of(context, request, csrf)
    done = await context.approvals.take_back(approval_id, reviewer=page.viewer.reviewer, via="page")
    notice, status = said_of_taking_back(done, page.viewer)
    return await _done(page, approval_id, origin, notice, status)


@routes.post("/approvals/{approval_id}/reveal")
async def reveal(
    request: Request, approval_id: str, context: Context, csrf: _Short = ""
) -> Response:
    """The call once more, without the masks this person may look behind. Put on record."""
    page = await form_page_of(context, request, csrf)
    found = await context.approvals.reveal(approval_id, reviewer=page.viewer.reviewer, via="page")
    if isinstance(found, NotFound):
        return await page.missing()
    if not isinstance(found, Revealed):
        status = 403 if isinstance(found, NotAllowed) else 409
        return await _approval(page, approval_id, FormNotice(found.why, "bad"), status)
    notice = FormNotice("Shown without its masks, to you alone. The history has your look.")
    return await _approval(page, approval_id, notice, arguments=found.arguments)


@routes.post("/approvals/{approval_id}/settle")
async def settle(
    request: Request,
    approval_id: str,
    settlement: _Short,
    context: Context,
    note: _Text = "",
    csrf: _Short = "",
) -> Response:
    page = await form_page_of(context, request, csrf)
    if settlement not in tuple(Settlement) or not note.strip():
        return await _approval(page, approval_id, _FIND_FIRST, 422)
    decided = await context.approvals.settle(
        approval_id,
        reviewer=page.viewer.reviewer,
        settlement=Settlement(settlement),
        note=note.strip(),
        via="page",
    )
    notice, status = said(decided, page.viewer)
    if status < BAD:
        return RedirectResponse(f"/approvals/{approval_id}", 303)
    return await _approval(page, approval_id, notice, status)


@dataclass(frozen=True, slots=True)
class EffectForm:
    """What a reviewer found out of another call, said on the card of `approval`, which waits."""

    settlement: _Short
    approval: _Short = ""
    note: _Text = ""
    csrf: _Short = ""
    origin: _Origin = ""


@routes.post("/effects/{holder}/settle")
async def settle_effect(
    request: Request, holder: str, form: Annotated[EffectForm, Depends()], context: Context
) -> Response:
    """What a reviewer found out of another call, said on the card of the one that waits."""
    page = await form_page_of(context, request, form.csrf)
    if form.settlement not in tuple(Settlement) or not form.note.strip():
        return await _done(page, form.approval, form.origin, _FIND_FIRST, 422)
    settled = await context.approvals.settle_effect(
        holder,
        reviewer=page.viewer.reviewer,
        settlement=Settlement(form.settlement),
        note=form.note.strip(),
        via="page",
    )
    notice, status = said_of_effect(settled)
    return await _done(page, form.approval, form.origin, notice, status)


async def _done(
    page: PageRequest, approval_id: str, origin: str, notice: FormNotice, status: int
) -> Response:
    """The answer to a press: the card alone for a script, else the page it was pressed on."""
    if FRAGMENT in page.request.headers:
        return await _fragment(page, approval_id, notice.text if status >= BAD else "", status)
    if status < BAD:
        goto = "/" if origin == "queue" else f"/approvals/{approval_id}"
        return RedirectResponse(goto, 303)
    return await _approval(page, approval_id, notice, status)


async def _fragment(
    page: PageRequest, approval_id: str, note: str = "", status: int = 200
) -> Response:
    card = await page.card(approval_id)
    if card is None:
        return HTMLResponse("", 404)
    html = await page.context.rendered("one.html", card=card, csrf=page.viewer.csrf, note=note)
    return HTMLResponse(html, status)


async def _approval(
    page: PageRequest,
    approval_id: str,
    notice: FormNotice | None = None,
    status: int = 200,
    *,
    arguments: str | None = None,
) -> Response:
    """The page of one approval; with `arguments`, these in place of the masked ones."""
    frame = await page.frame()
    shown = await page.context.detail(approval_id, page.viewer)
    if shown is None:
        return await page.missing()
    card = shown.card
    if arguments is not None:
        card = await aside(len(arguments), partial(unmasked, card, arguments))
    return await page.render(
        "approval.html",
        status,
        frame=frame,
        card=card,
        timeline=shown.timeline,
        result=shown.result,
        edits=shown.edits,
        notice=notice,
    )
