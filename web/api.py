"""The reviewers' JSON API, /api/v1: for the CLI, scripts and other programs of people.

A reviewer's bearer token or a browser session; an agent's grant is never accepted here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, assert_never

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from approvals.model import (
    AlreadyDecided,
    Approval,
    Choice,
    Counted,
    Decided,
    HistoryRow,
    Moved,
    NotAllowed,
    NotFound,
    Stale,
)
from approvals.view import View
from web.office import Office
from web.page.history import NotATime, query_of
from web.problems import Problem
from web.session import NotFromOurForm, Viewer


class Press(BaseModel):
    """A decision as a program sends it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    revision: int = Field(ge=1, description="The revision that was looked at.")
    reason: str = Field(default="", max_length=2000, description="A denial needs one.")
    view_digest: str = Field(default="", max_length=128, description="Of the view looked at.")


def router(office: Office) -> APIRouter:
    # Asked of every route before its body is read: nothing here answers strangers.
    known = [Depends(office.sessions.of_api)]
    routes = APIRouter(prefix="/api/v1", tags=["reviewers"], dependencies=known)

    @routes.get("/me")
    async def me(request: Request) -> dict[str, Any]:
        """Who the caller is, and how many calls wait."""
        viewer: Viewer = request.state.viewer
        head = await office.head()
        return {
            "id": viewer.reviewer.id,
            "role": viewer.reviewer.role,
            "pending": head.pending,
            "cursor": head.seq,
            "now": office.clock.now(),
        }

    @routes.get("/pending")
    async def pending(limit: Annotated[int, Query(ge=1, le=500)] = 200) -> dict[str, Any]:
        """What waits for a decision, soonest expiry first within risk."""
        found = await office.approvals.pending(limit=limit)
        return {"schema": "signoff.pending/1", "items": [summary_of(item) for item in found]}

    @routes.get("/approvals/{approval_id}")
    async def approval(approval_id: str) -> dict[str, Any]:
        """One approval in full: the view every reviewer is shown, and the votes."""
        return await _full(office, approval_id)

    @routes.post("/approvals/{approval_id}/approve")
    async def approve(request: Request, approval_id: str, press: Press) -> dict[str, Any]:
        """Approve exactly the revision that was looked at."""
        return await _decide(office, request, approval_id, Choice.APPROVE, press)

    @routes.post("/approvals/{approval_id}/deny")
    async def deny(request: Request, approval_id: str, press: Press) -> dict[str, Any]:
        """Deny it. The reason reaches the agent."""
        if not press.reason.strip():
            raise Problem(422, "reason_needed", "A denial needs a reason: it reaches the agent.")
        return await _decide(office, request, approval_id, Choice.DENY, press)

    @routes.get("/history")
    async def history(request: Request) -> dict[str, Any]:
        """The history, newest first; filters as the page's, `next` is `before` of the next page."""
        try:
            query = query_of(request.query_params)
        except NotATime:
            raise Problem(422, "not_a_time", "since and until are ISO 8601 times.") from None
        found = await office.approvals.history(query)
        items = [item_of(row) for row in found.rows]
        return {"schema": "signoff.history/1", "items": items, "next": found.next}

    return routes


async def _full(office: Office, approval_id: str) -> dict[str, Any]:
    view = await office.approvals.view(approval_id)
    if view is None:
        raise Problem(404, "not_found", "There is no such approval.")
    return {"schema": "signoff.approval/1", **full_of(view)}


async def _decide(
    office: Office, request: Request, approval_id: str, choice: Choice, press: Press
) -> dict[str, Any]:
    viewer: Viewer = request.state.viewer
    try:
        office.sessions.checked(request, viewer)
    except NotFromOurForm:
        raise Problem(403, "csrf", "Send the session's token as X-CSRF-Token.") from None
    decided = await office.approvals.decide(
        approval_id,
        revision=press.revision,
        reviewer=viewer.reviewer,
        choice=choice,
        reason=press.reason.strip(),
        via="api" if viewer.via == "api" else "page",
        view_digest=press.view_digest,
    )
    return _answer(decided, viewer)


def _answer(decided: Decided, viewer: Viewer) -> dict[str, Any]:
    match decided:
        case Moved(approval=approval):
            return {"outcome": "moved", "approval": summary_of(approval)}
        case Counted(approval=approval, missing=missing):
            return {"outcome": "counted", "missing": missing, "approval": summary_of(approval)}
        case AlreadyDecided(approval=approval):
            title = f"It is already {approval.state}."
            raise Problem(409, "already_decided", title, approval=summary_of(approval))
        case Stale(approval=approval):
            title = "It was changed after it was looked at."
            raise Problem(409, "stale_revision", title, approval=summary_of(approval))
        case NotAllowed(why=why):
            raise Problem(403, "not_allowed", why, reviewer=viewer.reviewer.id)
        case NotFound():
            raise Problem(404, "not_found", "There is no such approval.")
    assert_never(decided)


def item_of(row: HistoryRow) -> dict[str, Any]:
    """One row of the history in its place."""
    return {"seq": row.seq, **row.event._asdict(), "prev_hash": row.prev_hash, "hash": row.hash}


def full_of(view: View) -> dict[str, Any]:
    """One approval in full, as every reviewer is shown it, and the votes on all its revisions."""
    shown = {
        name: value
        for name, value in asdict(view).items()
        if name not in ("approval", "votes", "voided", "digest")
    }
    return {
        **summary_of(view.approval),
        "reviewers": list(view.approval.terms.reviewers),
        "view": shown,
        "view_digest": view.digest,
        "votes": [
            {
                "reviewer": vote.reviewer,
                "choice": vote.choice,
                "reason": vote.reason,
                "via": vote.via,
                "at": vote.at,
                "revision": vote.revision,
            }
            for vote in (*view.votes, *view.voided)
        ],
    }


def summary_of(approval: Approval) -> dict[str, Any]:
    """An approval as lists show it. Arguments are masked JSON text: large integers stay exact."""
    return {
        "id": approval.id,
        "revision": approval.revision,
        "version": approval.version,
        "state": approval.state,
        "execution": approval.execution,
        "delivery": approval.delivery,
        "settlement": approval.settlement,
        "server": approval.call.server,
        "tool": approval.call.tool,
        "grant": {"id": approval.call.grant, "label": approval.call.grant_label},
        "client": {"name": approval.call.client.name, "version": approval.call.client.version},
        "arguments": approval.masked,
        "digest": approval.digest,
        "arguments_digest": approval.arguments_digest,
        "risk": approval.terms.risk,
        "quorum": approval.terms.quorum,
        "rule": approval.ruling.rule,
        "rule_reason": approval.ruling.reason,
        "matched": approval.ruling.matched,
        "policy_hash": approval.ruling.policy_hash,
        "created_at": approval.created_at,
        "expires_at": approval.expires_at,
        "decided_at": approval.decided_at,
        "use_by": approval.use_by,
        "finished_at": approval.finished_at,
        "decided_by": approval.decided_by,
        "decided_via": approval.decided_via,
        "reason": approval.reason,
        "attempts": approval.attempts,
        "effect": approval.effect,
    }
