"""Changing a held call before it is approved: a form, the difference, and only then the record.

The record decides whether the change stands; who made it still has to approve it, separately.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from approvals.editing import PREFIX, Edited, Field, edited
from approvals.model import AlreadyDecided, Approval, Stale, State
from approvals.service import JudgeAgain
from web.context import PageContext
from web.pages.decision_messages import BAD, said
from web.session import Viewer
from web.views.frame import FormNotice


def add(routes: APIRouter, office: PageContext, judge_again: JudgeAgain) -> None:
    @routes.post("/approvals/{approval_id}/edit")
    async def edit(request: Request, approval_id: str) -> Response:
        viewer = await office.sessions.of_page(request)
        sent = await request.form()
        form = {name: value for name, value in sent.items() if isinstance(value, str)}
        office.sessions.checked(request, viewer, form.get("csrf", ""))
        held = await office.approvals.get(approval_id)
        if held is None:
            return await office.missing(request, viewer)
        desk = _EditForm(office, request, viewer, held, await office.fields(held))
        refused = _outdated(held, form.get("revision", ""))
        if refused is not None:
            notice, status = said(refused, viewer)
            return await desk.show(form, None, notice, status)
        found = edited(held.call.arguments, desk.fields, _given(form))
        if isinstance(found, str):
            return await desk.show(form, None, FormNotice(found, "bad"), 422)
        if not found.rows:
            return await desk.show(form, None, FormNotice("Nothing was changed yet."), 422)
        if not form.get("sure"):
            return await desk.show(form, found)
        decided = await office.approvals.edit(
            held.id,
            revision=held.revision,
            reviewer=viewer.reviewer,
            arguments=found.arguments,
            via="page",
            judge_again=partial(judge_again, held=held),
        )
        notice, status = said(decided, viewer)
        if status < BAD:
            return RedirectResponse(f"/approvals/{held.id}", 303)
        return await desk.show(form, None, notice, status)


def _given(form: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in form.items() if name.startswith(PREFIX)}


def _outdated(held: Approval, revision: str) -> AlreadyDecided | Stale | None:
    if held.state is not State.PENDING:
        return AlreadyDecided(held)
    return Stale(held) if revision != str(held.revision) else None


class _EditForm:
    """The page on which one call is changed."""

    def __init__(
        self,
        office: PageContext,
        request: Request,
        viewer: Viewer,
        held: Approval,
        fields: tuple[Field, ...],
    ) -> None:
        self._office, self._request, self._viewer = office, request, viewer
        self._held, self.fields = held, fields

    async def show(
        self,
        form: Mapping[str, str],
        found: Edited | None,
        notice: FormNotice | None = None,
        status: int = 200,
    ) -> Response:
        """The form as it was filled; with `found`, the difference and the button that sends it."""
        card = await self._office.card(self._held.id, self._viewer)
        return await self._office.page(
            self._request,
            self._viewer,
            "edit.html",
            status,
            card=card,
            fields=[self._as_filled(field, form) for field in self.fields],
            found=found,
            notice=notice,
        )

    def _as_filled(self, field: Field, form: Mapping[str, str]) -> Field:
        value = form.get(field.name, field.value).replace("\r\n", "\n")
        return Field(field.name, field.path, field.label, field.kind, value)
