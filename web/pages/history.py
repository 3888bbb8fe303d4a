"""The history as a page: filters in the address, paging by cursor, export, and the check."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from approvals.headline import Headline
from approvals.model import Event, HistoryRow, Millis
from approvals.record.history import Broken, HistoryQuery, verify
from approvals.telling import told_of
from web.context import Context, PageContext
from web.page_request import PageRequest, form_page_of, page_of

PAGE = 100
_NAMES = ("text", "event", "tool", "server", "grant", "actor", "since", "until")
_MORE = ("rule", "verdict", "outcome", "digest", "approval_id")
_SPANS = (("Last hour", 1), ("Last day", 24), ("Last week", 168))
_REFUSED = ("denied", "limited")
_PREVIEW = 160  # characters of arguments a list shows
_DIGITS = 18  # of the largest cursor
_LONGEST = 300  # characters of one filter

EVENTS = (
    *("held", "approved", "denied", "expired", "withdrawn", "superseded", "voted", "edited"),
    *(
        "taken_back",
        "extended",
        "attached",
        "repeated",
        "delivered",
        "cancel_asked",
        "not_executed",
        "revealed",
    ),
    *("claimed", "succeeded", "tool_error", "upstream_error", "outcome_unknown", "settled"),
    *("input_required", "answered", "continued", "contradicted", "contents_dropped"),
    *("effect_changed", "effect_unknown", "effect_marked"),
    *("allowed", "limited", "counted", "refusals_summed", "frozen", "thawed"),
    *("grant_created", "grant_hold_set", "grant_patience_learned", "grant_revoked"),
    *("policy_loaded", "policy_changed", "policy_refused", "policy_not_saved"),
    *("policy_waiting", "policy_closed", "policy_confirmed", "server_confirmed"),
    *("reviewer_added", "reviewer_removed", "link_issued", "link_used", "session_issued"),
    *("token_issued", "credentials_revoked", "cli_decides_set"),
    *("tool_pinned", "tool_changed", "tool_accepted", "tool_classified", "tool_kept"),
    *("tool_pinned_without", "rows_signed", "rows_lost", "checkpoint", "history_accepted"),
)
"""What the filter offers: every event of the history, in the order of a life."""


_RULED = ("allowed", "denied", "limited", "held")


class NotATime(ValueError):
    """A filter's time is not one."""


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One row of the history as the page lists it."""

    seq: int
    at: Millis
    event: str
    outcome: str
    approval_id: str
    tool: str
    server: str
    headline: Headline | None  # of the held call it belongs to, where that is short
    arguments: str
    who: str
    via: str
    about: str  # whom or what it is about, where no tool says it
    risk: str  # of the held call it belongs to, or ""
    reason: str
    rule: str


@dataclass(frozen=True, slots=True)
class ChainState:
    whole: bool
    text: str


def query_of(given: Mapping[str, str], limit: int = PAGE) -> HistoryQuery:
    """The query of an address: at most `limit` rows. Unknown names are not filters.

    Raises:
        NotATime: since or until is not a date and time.
    """
    text = {name: given.get(name, "").strip()[:_LONGEST] for name in (*_NAMES, *_MORE)}
    before = given.get("before", "")
    return HistoryQuery(
        text=text["text"],
        event=text["event"],
        tool=text["tool"],
        server=text["server"],
        grant=text["grant"],
        actor=text["actor"],
        rule=text["rule"],
        verdict=text["verdict"],
        outcome=text["outcome"],
        digest=text["digest"],
        approval_id=text["approval_id"],
        since=_time(text["since"]),
        until=_time(text["until"]),
        before=int(before)
        if before.isascii() and before.isdigit() and len(before) <= _DIGITS
        else None,
        limit=limit,
    )


def _time(written: str) -> Millis | None:
    if not written:
        return None
    try:
        found = datetime.fromisoformat(written)
    except ValueError as error:
        raise NotATime(written) from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def address(given: Mapping[str, str], **more: str) -> str:
    """The address of the same filters: what a permalink holds."""
    kept = {name: given[name] for name in (*_NAMES, *_MORE) if given.get(name, "").strip()}
    return "/history" + _suffix({name: text for name, text in {**kept, **more}.items() if text})


def _minute(at: Millis) -> str:
    """As the fields of a form write a time, in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M")


def _suffix(values: Mapping[str, str]) -> str:
    return f"?{urlencode(values)}" if values else ""


def _preview(arguments: str) -> str:
    more = len(arguments) - _PREVIEW
    return f"{arguments[:_PREVIEW]} … {more} more" if more > 0 else arguments


def _head(event: Event) -> str:
    """What is kept of a refused call's large arguments."""
    if event.event not in _REFUSED or not event.data:
        return ""
    kept = json.loads(event.data).get("arguments")
    return f"{kept['head']} … {kept['characters']} characters" if isinstance(kept, dict) else ""


def line_of(
    row: HistoryRow, names: Mapping[str, str], risk: str, headlines: Mapping[str, Headline]
) -> HistoryLine:
    """A row as the page lists it; `names` are what people call the grants."""
    event, told = row.event, told_of(row.event, names)
    return HistoryLine(
        seq=row.seq,
        at=row.at,
        event=event.event,
        outcome=event.outcome,
        approval_id=told.approval_id,
        tool=event.tool,
        server=event.server,
        headline=headlines.get(told.approval_id) if event.tool else None,
        arguments=_preview(event.arguments or _head(event)),
        who=told.who,
        about=told.about,
        risk=risk,
        via=event.via if event.actor_kind == "reviewer" else "",
        reason=event.reason,
        rule=event.rule if event.actor_kind != "reviewer" and event.event in _RULED else "",
    )


routes = APIRouter(default_response_class=HTMLResponse)


@routes.get("/history")
async def history(request: Request, context: Context) -> Response:
    page = await page_of(context, request)
    return await _page(page, None)


@routes.post("/history/verify")
async def check(
    request: Request, context: Context, csrf: Annotated[str, Form(max_length=128)] = ""
) -> Response:
    page = await form_page_of(context, request, csrf)
    keys = context.approvals.keys
    found = await context.services.database.read(lambda connection: verify(connection, keys))
    if isinstance(found, Broken):
        chain = ChainState(whole=False, text=f"Broken at row {found.seq}: {found.why}")
    else:
        said = f"All {found.rows:,} rows are what and where they were written."
        chain = ChainState(whole=True, text=f"{said} Head: {found.head.hash}")
    return await _page(page, chain)


@routes.get("/history/export.jsonl")
async def as_lines(request: Request, context: Context) -> Response:
    await page_of(context, request, signed=True)
    query = query_of(request.query_params)
    return _download(_json_lines(context, query), "application/jsonl", "signoff-history.jsonl")


@routes.get("/history/export.csv")
async def as_table(request: Request, context: Context) -> Response:
    await page_of(context, request, signed=True)
    query = query_of(request.query_params)
    return _download(_csv_lines(context, query), "text/csv", "signoff-history.csv")


async def _page(page: PageRequest, chain: ChainState | None) -> Response:
    context, given = page.context, page.request.query_params
    problem, status = "", 200
    now = context.clock.now()
    try:
        query = query_of(given)
    except NotATime:
        query, problem, status = HistoryQuery(limit=PAGE), "A time here is not a time.", 422
    found = await context.approvals.history(query)
    names = await context.grant_names()
    risks = await context.approvals.risks(found.rows)
    headlines = await context.approvals.headlines(found.rows)
    older = address(given, before=str(found.next)) if found.next is not None else ""
    return await page.render(
        "history.html",
        status,
        rows=[line_of(row, names, risks.get(row.seq, ""), headlines) for row in found.rows],
        events=EVENTS,
        agents=sorted(names.items(), key=lambda one: one[1]),
        filters={name: given.get(name, "")[:_LONGEST] for name in (*_NAMES, *_MORE)},
        filtered=bool(query.filters),
        narrowed=bool(query.filters.keys() - {"text"}),
        query=address(given).removeprefix("/history"),
        spans=[
            (name, address(given, since=_minute(now - hours * 3_600_000), until=""))
            for name, hours in _SPANS
        ],
        older=older,
        # A rare filter ends a page early rather than late: that is not the end of the history.
        reached=found.reached,
        newest=address(given) if query.before is not None else "",
        problem=problem,
        chain=chain,
    )


async def _rows(context: PageContext, query: HistoryQuery) -> AsyncIterator[tuple[HistoryRow, ...]]:
    """Page after page until the end; memory stays flat however long the history is."""
    at: int | None = query.before
    while True:
        found = await context.approvals.history(replace(query, before=at, limit=1000))
        yield found.rows
        if found.next is None:
            return
        at = found.next


async def _json_lines(context: PageContext, query: HistoryQuery) -> AsyncIterator[str]:
    async for rows in _rows(context, query):
        yield "".join(
            json.dumps(
                {
                    "seq": row.seq,
                    **row.event._asdict(),
                    "prev_hash": row.prev_hash,
                    "hash": row.hash,
                }
            )
            + "\n"
            for row in rows
        )


async def _csv_lines(context: PageContext, query: HistoryQuery) -> AsyncIterator[str]:
    names = Event._fields
    yield ",".join(("seq", *names, "prev_hash", "hash")) + "\r\n"
    async for rows in _rows(context, query):
        sheet = io.StringIO()
        writer = csv.writer(sheet)
        for row in rows:
            values = (row.seq, *row.event, row.prev_hash, row.hash)
            writer.writerow([cell(value) for value in values])
        yield sheet.getvalue()


def cell(value: str | int | None) -> str:
    """A value as a spreadsheet may be given it: what would begin a formula is quoted."""
    written = "" if value is None else str(value)
    return f"'{written}" if written[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else written


def _download(lines: AsyncIterator[str], media: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines, media_type=media, headers=headers)
