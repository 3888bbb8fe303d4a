"""Several calls of one tool decided at once, each a decision of its own with a result of its own;
what a person should look at by itself is left out, and said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from approvals.model import Choice, Vote
from web.context import Context
from web.page_request import PageRequest, page_of
from web.pages.decision_messages import BAD, said
from web.views.card import Card

MOST: Final = 50
"""Calls of one press."""
_DIGEST: Final = 64  # characters of a view's digest


@dataclass(frozen=True, slots=True)
class Picked:
    """One call as it was selected: what was on the screen."""

    id: str
    revision: str
    view_digest: str


@dataclass(frozen=True, slots=True)
class BulkLine:
    """What came of one of them."""

    id: str
    short: str
    words: str
    good: bool


routes = APIRouter(default_response_class=HTMLResponse)


@routes.post("/bulk")
async def together(request: Request, context: Context) -> Response:
    page = await page_of(context, request)
    sent = await request.form()
    form = {name: value for name, value in sent.items() if isinstance(value, str)}
    context.sessions.checked(request, page.viewer, form.get("csrf", ""))
    picked = [one for value in sent.getlist("item") if (one := _picked(value)) is not None]
    why = form.get("reason", "").strip() or form.get("preset", "").strip()
    choice = next((one for one in Choice if one == form.get("choice")), None)
    wrong = _wrong(picked, choice, why)
    cards = [await page.card(one.id) for one in picked] if not wrong else []
    if len({(card.server, card.tool) for card in cards if card is not None}) > 1:
        wrong = "Only calls of one tool are decided together. Nothing was decided."
    if wrong or choice is None:
        return await page.render("bulk.html", 422, heading=wrong, lines=[])
    lines = [
        await _decided(page, one, card, choice, why[:1000])
        for one, card in zip(picked, cards, strict=True)
    ]
    return await page.render("bulk.html", heading=_heading(lines, choice), lines=lines)


def _picked(value: object) -> Picked | None:
    parts = value.split(":") if isinstance(value, str) else []
    return Picked(*parts) if len(parts) == 3 else None  # noqa: PLR2004  # the parts of Picked


def _wrong(picked: list[Picked], choice: Choice | None, why: str) -> str:
    if not picked:
        return "Nothing was selected. Nothing was decided."
    if len(picked) > MOST:
        return f"At most {MOST} calls are decided together. Nothing was decided."
    if choice is None:
        return "Choose approve or deny. Nothing was decided."
    if choice is Choice.DENY and not why:
        return "Say why: the reason reaches the agent. Nothing was decided."
    return ""


async def _decided(
    page: PageRequest, picked: Picked, card: Card | None, choice: Choice, why: str
) -> BulkLine:
    if card is None:
        return BulkLine(picked.id, picked.id[:10], "There is no such call.", good=False)

    def left(words: str) -> BulkLine:
        return BulkLine(card.id, card.short, words, good=False)

    if not card.open:
        by = f" by {card.decided_by}" if card.decided_by else ""
        return left(f"Left out: it is {card.shown_state.replace('_', ' ')}{by}.")
    if not card.may:
        return left(f"Left out: {card.may_not}")
    if card.alone:
        return left(f"Left out. {card.alone}")
    if picked.revision != str(card.revision):
        return left("Left out: it was edited. Look at it again.")
    decided = await page.context.approvals.decide(
        card.id,
        Vote(
            revision=card.revision,
            reviewer=page.viewer.reviewer,
            choice=choice,
            reason=why if choice is Choice.DENY else "",
            via="page",
            view_digest=picked.view_digest[:_DIGEST],
        ),
    )
    notice, status = said(decided, page.viewer)
    if status >= BAD:
        return left(notice.text)
    return BulkLine(card.id, card.short, _DONE[choice], good=True)


_DONE: Final = {Choice.APPROVE: "Approved", Choice.DENY: "Denied"}


def _heading(lines: list[BulkLine], choice: Choice) -> str:
    done = sum(line.good for line in lines)
    left = len(lines) - done
    return f"{done} {_DONE[choice].lower()}" + (f", {left} left out" if left else "")
