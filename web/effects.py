"""Effect keys of which no one knows whether their call did it, in the reviewers' JSON API."""

from __future__ import annotations

from typing import Annotated, Any, assert_never

from fastapi import APIRouter, Depends, Query, Request

from approvals.effects import Mark
from approvals.model import EffectKnown, EffectSettled, NotAllowed, NotFound, Settlement
from web.api import Settle, pressing, via_of
from web.context import PageContext
from web.cursor import cursor_of, written
from web.problems import ApiProblem


def router(context: PageContext) -> APIRouter:
    # Asked of every route before its body is read: nothing here answers strangers.
    known = [Depends(context.sessions.of_api)]
    routes = APIRouter(prefix="/api/v1", tags=["reviewers"], dependencies=known)

    @routes.get("/effects")
    async def unknown(
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
        cursor: Annotated[str, Query(max_length=200)] = "",
    ) -> dict[str, Any]:
        """Keys whose call may have done what they name, the oldest first."""
        after = cursor_of(cursor, int, str)
        found, total = await context.approvals.unknown_effects(after=after, limit=limit)
        last = found[-1] if len(found) == limit else None
        return {
            "schema": "signoff.effects/1",
            "items": [item_of(mark) for mark in found],
            "total": total,
            "next": None if last is None else written(last.taken_at, last.holder),
        }

    @routes.post("/effects/{holder}/settle")
    async def settle(request: Request, holder: str, body: Settle) -> dict[str, Any]:
        """Say whether a call ("call_…" or "apr_…") did what its key names."""
        viewer = pressing(context, request)
        if not body.note.strip():
            raise ApiProblem(422, "note_needed", "Say what was found.")
        settled = await context.approvals.settle_effect(
            holder,
            reviewer=viewer.reviewer,
            settlement=Settlement(body.settlement),
            note=body.note.strip(),
            via=via_of(viewer),
        )
        match settled:
            case EffectSettled(holder=who, settlement=settlement):
                return {"outcome": "settled", "holder": who, "settlement": settlement}
            case EffectKnown(state=state):
                raise ApiProblem(
                    409, "already_known", f"There is nothing to settle: it is {state}."
                )
            case NotAllowed(why=why):
                raise ApiProblem(403, "not_allowed", why, reviewer=viewer.reviewer.id)
            case NotFound():
                raise ApiProblem(404, "not_found", "No effect of this call is unknown.")
        assert_never(settled)

    return routes


def item_of(mark: Mark) -> dict[str, Any]:
    """One key as lists show it."""
    return {
        "holder": mark.holder,
        "effect": mark.key,
        "state": mark.state,
        "server": mark.server,
        "tool": mark.tool,
        "grant": {"id": mark.grant, "label": mark.grant_label},
        "taken_at": mark.taken_at,
    }
