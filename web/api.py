"""The reviewers' JSON API, /api/v1: for the CLI, scripts and other programs of people.

A reviewer's bearer token or a browser session; an agent's grant is never accepted here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal, assert_never

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from approvals.aside import elsewhere
from approvals.digest import canonical, keepable
from approvals.editing import changed
from approvals.headline import headline_of
from approvals.model import (
    AlreadyDecided,
    Approval,
    ArgumentEdit,
    Choice,
    Counted,
    Decided,
    HistoryRow,
    Moved,
    NotAllowed,
    NotFound,
    Settlement,
    Stale,
    State,
    Vote,
)
from approvals.reveal import NothingMasked, Revealed
from approvals.reversal import runs_from, taken_back
from approvals.taking_back import TooLate
from approvals.view import View, alone
from web.context import PageContext
from web.cursor import cursor_of, written
from web.pages.history import PAGE, NotATime, query_of
from web.problems import ApiProblem
from web.session import NotFromOurForm, Viewer


def _keepable(text: str) -> str:
    if not keepable(text):
        raise ValueError("It holds a character that no record keeps.")
    return text


Words = Annotated[str, AfterValidator(_keepable)]
"""A text that the record can keep."""


class Press(BaseModel):
    """A decision as a program sends it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    revision: int = Field(ge=1, description="The revision that was looked at.")
    reason: Words = Field(default="", max_length=2000, description="A denial needs one.")
    view_digest: Words = Field(default="", max_length=128, description="Of the view looked at.")


class Edit(BaseModel):
    """Changed arguments as a program sends them: a new revision, which still has to be approved."""

    model_config = ConfigDict(extra="forbid", strict=True)

    revision: int = Field(ge=1, description="The revision that was looked at.")
    changes: dict[str, Any] = Field(
        min_length=1, max_length=200, description='New values by path: {"args.amount": 450}.'
    )


class Extend(BaseModel):
    """More time to decide."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seconds: int = Field(ge=1, le=30 * 86_400, description="By how much the deadline moves.")


class TakeBack(BaseModel):
    """An approval that shall not be used after all."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Words = Field(default="", max_length=2000, description="Why; kept in the history.")


class Settle(BaseModel):
    """What became of a call whose outcome is unknown."""

    model_config = ConfigDict(extra="forbid", strict=True)

    settlement: Literal["done", "not_done"]
    note: Words = Field(min_length=1, max_length=1000, description="What was found, and where.")


class HistoryFilters(BaseModel):
    """Which rows of the history; "" does not filter."""

    text: str = Field(default="", description="In tool, arguments, reason, rule, actor.")
    event: str = Field(default="", description="held, approved, denied, claimed, …")
    tool: str = ""
    server: str = ""
    grant: str = Field(default="", description="The grant's id.")
    actor: str = Field(default="", description="The reviewer or agent, as the row has it.")
    rule: str = Field(default="", description="JSON pointer of the rule.")
    verdict: str = Field(default="", description="allow, deny, limited or hold.")
    outcome: str = Field(default="", description="succeeded, tool_error, outcome_unknown, …")
    digest: str = Field(default="", description="sha256 of a call, its arguments or its result.")
    approval_id: str = ""
    since: str = Field(default="", description="ISO 8601, inclusive.")
    until: str = Field(default="", description="ISO 8601, exclusive.")
    limit: int = Field(default=PAGE, ge=1, le=500, description="At most so many rows.")
    cursor: int | None = Field(default=None, ge=1, lt=2**63, description="`next` of a page.")
    before: int | None = Field(default=None, ge=1, lt=2**63, description="As `cursor`.")

    def as_address(self) -> dict[str, str]:
        """As an address of the page has them."""
        given = self.model_dump(exclude={"limit", "cursor", "before"})
        at = self.cursor or self.before
        return {**given, **({} if at is None else {"before": str(at)})}


def router(context: PageContext, *, describe: Callable[[], dict[str, Any]]) -> APIRouter:
    # Asked of every route before its body is read: nothing here answers strangers.
    known = [Depends(context.sessions.of_api)]
    routes = APIRouter(prefix="/api/v1", tags=["reviewers"], dependencies=known)

    @routes.get("/openapi.json")
    async def openapi() -> dict[str, Any]:
        """This API's own description."""
        return describe()

    @routes.get("/me")
    async def me(request: Request) -> dict[str, Any]:
        """Who the caller is, and how many calls wait."""
        viewer: Viewer = request.state.viewer
        head = await context.head()
        return {
            "id": viewer.reviewer.id,
            "role": viewer.reviewer.role,
            "pending": head.pending,
            "cursor": head.seq,
            "now": context.clock.now(),
        }

    @routes.get("/pending")
    async def pending(
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
        cursor: Annotated[str, Query(max_length=200)] = "",
    ) -> dict[str, Any]:
        """What waits for a decision, soonest expiry first within risk. `next` is the cursor of the
        next page; null: there is none.
        """
        found = await context.approvals.pending(limit=limit, after=_last(cursor))
        return {
            "schema": "signoff.pending/1",
            "items": [summary_of(item) for item in found],
            "total": await context.approvals.pending_count(),
            "next": written(found[-1].id) if len(found) == limit else None,
        }

    @routes.get("/approvals/{approval_id}", response_model=dict[str, Any])
    async def approval(approval_id: str) -> Response:
        """One approval in full: the view every reviewer is shown, and the votes."""
        return Response(await _full(context, approval_id), media_type="application/json")

    _add_decisions(routes, context)
    _add_changes(routes, context)
    _add_endings(routes, context)
    _add_reveal(routes, context)

    _add_history(routes, context)
    return routes


def _add_decisions(routes: APIRouter, context: PageContext) -> None:
    @routes.post("/approvals/{approval_id}/approve")
    async def approve(request: Request, approval_id: str, press: Press) -> dict[str, Any]:
        """Approve exactly the revision that was looked at."""
        return await _decide(context, request, approval_id, Choice.APPROVE, press)

    @routes.post("/approvals/{approval_id}/deny")
    async def deny(request: Request, approval_id: str, press: Press) -> dict[str, Any]:
        """Deny it. The reason reaches the agent."""
        if not press.reason.strip():
            raise ApiProblem(422, "reason_needed", "A denial needs a reason: it reaches the agent.")
        return await _decide(context, request, approval_id, Choice.DENY, press)


def _add_history(routes: APIRouter, context: PageContext) -> None:
    # As much as an export: signed, where a cookie asks.
    @routes.get("/history", dependencies=[Depends(context.sessions.of_api_signed)])
    async def history(filters: Annotated[HistoryFilters, Query()]) -> dict[str, Any]:
        """The history, newest first. `next` is the cursor of the next page; null: there is none.
        `total` is null where counting would take too long.
        """
        try:
            query = query_of(filters.as_address(), filters.limit)
        except NotATime:
            raise ApiProblem(422, "not_a_time", "since and until are ISO 8601 times.") from None
        found = await context.approvals.history(query)
        items = [item_of(row) for row in found.rows]
        total = await context.approvals.history_count(query)
        return {
            "schema": "signoff.history/1",
            "items": items,
            "total": total,
            "next": found.next,
        }


def _last(cursor: str) -> str | None:
    """The approval a page of the queue ended with."""
    after = cursor_of(cursor, str)
    return None if after is None else after[0]


def _add_reveal(routes: APIRouter, context: PageContext) -> None:
    @routes.post("/approvals/{approval_id}/reveal")
    async def reveal(request: Request, approval_id: str) -> dict[str, Any]:
        """The arguments without the masks the caller may look behind. Put on record."""
        viewer = pressing(context, request)
        found = await context.approvals.reveal(
            approval_id, reviewer=viewer.reviewer, via=via_of(viewer)
        )
        match found:
            case Revealed(approval=approval, arguments=arguments):
                return {
                    "schema": "signoff.revealed/1",
                    "id": approval.id,
                    "revision": approval.revision,
                    "arguments": arguments,
                }
            case NotAllowed(why=why):
                raise ApiProblem(403, "not_allowed", why, reviewer=viewer.reviewer.id)
            case NothingMasked(why=why):
                raise ApiProblem(409, "nothing_masked", why)
            case NotFound():
                raise ApiProblem(404, "not_found", "There is no such approval.")
        assert_never(found)


def _add_changes(routes: APIRouter, context: PageContext) -> None:
    @routes.post("/approvals/{approval_id}/edit")
    async def edit(request: Request, approval_id: str, body: Edit) -> dict[str, Any]:
        """Change arguments the rule lists as editable. Earlier approvals no longer count."""
        viewer = pressing(context, request)
        held = await context.approvals.get(approval_id)
        if held is None:
            raise ApiProblem(404, "not_found", "There is no such approval.")
        fields = await context.fields(held)
        arguments = b""  # of what is decided already: the record says so
        if held.state is State.PENDING:
            found = changed(held.call.arguments, fields, body.changes)
            if isinstance(found, str):
                raise ApiProblem(422, "not_editable", found)
            arguments = found.arguments
        decided = await context.approvals.edit(
            held.id,
            ArgumentEdit(
                revision=body.revision,
                reviewer=viewer.reviewer,
                arguments=arguments,
                via=via_of(viewer),
            ),
            judge_again=partial(context.services.judge_again, held=held),
        )
        return _answer(decided, viewer)

    @routes.post("/approvals/{approval_id}/extend")
    async def extend(request: Request, approval_id: str, body: Extend) -> dict[str, Any]:
        """Move the deadline further, within 30 days in all."""
        viewer = pressing(context, request)
        decided = await context.approvals.extend(
            approval_id, reviewer=viewer.reviewer, seconds=body.seconds, via=via_of(viewer)
        )
        return _answer(decided, viewer)


def _add_endings(routes: APIRouter, context: PageContext) -> None:
    @routes.post("/approvals/{approval_id}/take-back")
    async def take_back(request: Request, approval_id: str, body: TakeBack) -> dict[str, Any]:
        """Take an approval back, until its call has started. Whoever approved it, or an admin."""
        viewer = pressing(context, request)
        why, via = body.reason.strip(), via_of(viewer)
        done = await context.approvals.take_back(
            approval_id, reviewer=viewer.reviewer, via=via, reason=why
        )
        if isinstance(done, TooLate):
            raise ApiProblem(409, "too_late", done.why, approval=summary_of(done.approval))
        return _answer(done, viewer)

    @routes.post("/approvals/{approval_id}/settle")
    async def settle(request: Request, approval_id: str, body: Settle) -> dict[str, Any]:
        """Say what became of an unknown outcome."""
        viewer = pressing(context, request)
        if not body.note.strip():
            raise ApiProblem(422, "note_needed", "Say what was found.")
        decided = await context.approvals.settle(
            approval_id,
            reviewer=viewer.reviewer,
            settlement=Settlement(body.settlement),
            note=body.note.strip(),
            via=via_of(viewer),
        )
        return _answer(decided, viewer)


def pressing(context: PageContext, request: Request) -> Viewer:
    """Who presses, proven to mean it."""
    viewer: Viewer = request.state.viewer
    try:
        context.sessions.checked(request, viewer)
    except NotFromOurForm:
        raise ApiProblem(403, "csrf", "Send the session's token as X-CSRF-Token.") from None
    return viewer


def via_of(viewer: Viewer) -> Literal["api", "page"]:
    return "api" if viewer.via == "api" else "page"


async def _full(context: PageContext, approval_id: str) -> bytes:
    view = await context.approvals.view(approval_id)
    if view is None:
        raise ApiProblem(404, "not_found", "There is no such approval.")
    # Beside the event loop, and written by ourselves: a view may hold thousands of values.
    return await elsewhere(lambda: canonical({"schema": "signoff.approval/1", **full_of(view)}))


async def _decide(
    context: PageContext, request: Request, approval_id: str, choice: Choice, press: Press
) -> dict[str, Any]:
    viewer = pressing(context, request)
    decided = await context.approvals.decide(
        approval_id,
        Vote(
            revision=press.revision,
            reviewer=viewer.reviewer,
            choice=choice,
            reason=press.reason.strip(),
            via=via_of(viewer),
            view_digest=press.view_digest,
        ),
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
            raise ApiProblem(409, "already_decided", title, approval=summary_of(approval))
        case Stale(approval=approval):
            title = "It was changed after it was looked at."
            raise ApiProblem(409, "stale_revision", title, approval=summary_of(approval))
        case NotAllowed(why=why):
            raise ApiProblem(403, "not_allowed", why, reviewer=viewer.reviewer.id)
        case NotFound():
            raise ApiProblem(404, "not_found", "There is no such approval.")
    assert_never(decided)


def item_of(row: HistoryRow) -> dict[str, Any]:
    """One row of the history in its place."""
    return {"seq": row.seq, **row.event._asdict(), "prev_hash": row.prev_hash, "hash": row.hash}


def full_of(view: View) -> dict[str, Any]:
    """One approval in full, as every reviewer is shown it, and the votes on all its revisions."""
    shown = {
        name: value
        for name, value in asdict(view).items()
        if name not in ("approval", "headline", "votes", "voided", "digest")
    }
    return {
        **summary_of(view.approval),
        "reviewers": list(view.approval.terms.reviewers),
        "view": shown,
        "view_digest": view.digest,
        "alone": alone(view),  # why not to decide it together with others; "": no reason
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
    """An approval as lists show it. Arguments are masked JSON text: large integers stay exact.
    So is `metadata`, what is sent beside them; "" where there is nothing.
    """
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
        "headline": headline_of(approval).as_json(),
        "grant": {"id": approval.call.grant, "label": approval.call.grant_label},
        "client": {"name": approval.call.client.name, "version": approval.call.client.version},
        "arguments": approval.masked,
        "metadata": approval.metadata_masked,
        "digest": approval.digest,
        "arguments_digest": approval.arguments_digest,
        "risk": approval.risk,
        "risk_lowered_from": approval.lowered_from,
        "quorum": approval.terms.quorum,
        "rule": approval.ruling.rule,
        "rule_reason": approval.ruling.reason,
        "matched": approval.ruling.matched,
        "policy_hash": approval.ruling.policy_hash,
        "created_at": approval.created_at,
        "expires_at": approval.expires_at,
        "decided_at": approval.decided_at,
        "use_by": approval.use_by,
        "runs_from": runs_from(approval) or None,
        "taken_back": taken_back(approval),
        "finished_at": approval.finished_at,
        "decided_by": approval.decided_by,
        "decided_via": approval.decided_via,
        "reason": approval.reason,
        "attempts": approval.attempts,
        "effect": approval.effect,
    }
