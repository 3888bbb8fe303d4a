"""Changing a held call before it is approved: a form, the difference, and only then the record.

The record decides whether the change stands; who made it still has to approve it, separately.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from approvals.editing import PREFIX, Edited, Field, edited
from approvals.model import AlreadyDecided, Approval, ArgumentEdit, Stale, State
from web.context import Context
from web.page_request import PageRequest, page_of
from web.pages.decision_messages import BAD, said
from web.views.frame import FormNotice

routes = APIRouter(default_response_class=HTMLResponse)


@routes.post("/approvals/{approval_id}/edit")
async def edit(request: Request, approval_id: str, context: Context) -> Response:
    page = await page_of(context, request)
    sent = await request.form()
    form = {name: value for name, value in sent.items() if isinstance(value, str)}
    context.sessions.checked(request, page.viewer, form.get("csrf", ""))
    held = await context.approvals.get(approval_id)
    if held is None:
        return await page.missing()
    shown = _EditForm(page, held.id, form, await context.fields(held))
    refused = _outdated(held, form.get("revision", ""))
    if refused is not None:
        return await shown.answer(*said(refused, page.viewer))
    found = edited(held.call.arguments, shown.fields, _given(form))
    if isinstance(found, str):
        return await shown.answer(FormNotice(found, "bad"), 422)
    if not found.rows:
        return await shown.answer(FormNotice("Nothing was changed yet."), 422)
    if not form.get("sure"):
        return await shown.answer(found=found)
    decided = await context.approvals.edit(
        held.id,
        ArgumentEdit(
            revision=held.revision,
            reviewer=page.viewer.reviewer,
            arguments=found.arguments,
            via="page",
        ),
        judge_again=partial(context.services.judge_again, held=held),
    )
    notice, status = said(decided, page.viewer)
    if status < BAD:
        return RedirectResponse(f"/approvals/{held.id}", 303)
    return await shown.answer(notice, status)


def _given(form: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in form.items() if name.startswith(PREFIX)}


def _outdated(held: Approval, revision: str) -> AlreadyDecided | Stale | None:
    if held.state is not State.PENDING:
        return AlreadyDecided(held)
    return Stale(held) if revision != str(held.revision) else None


@dataclass(frozen=True, slots=True)
class _EditForm:
    """The page on which one call is changed, as it was filled."""

    page: PageRequest
    approval_id: str
    filled: Mapping[str, str]
    fields: tuple[Field, ...]

    async def answer(
        self, notice: FormNotice | None = None, status: int = 200, *, found: Edited | None = None
    ) -> Response:
        """The form again; with `found`, the difference and the button that sends it."""
        return await self.page.render(
            "edit.html",
            status,
            card=await self.page.card(self.approval_id),
            fields=[self._as_filled(field) for field in self.fields],
            found=found,
            notice=notice,
        )

    def _as_filled(self, field: Field) -> Field:
        value = self.filled.get(field.name, field.value).replace("\r\n", "\n")
        return Field(field.name, field.path, field.label, field.kind, value)
