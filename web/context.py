"""What every page needs at hand: the record, the templates, who asks. Reads; decides nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import Connection, func, select

from approvals.aside import aside, elsewhere
from approvals.digest import canonical
from approvals.editing import ChangeRow, Field, fields_of
from approvals.model import Approval, HistoryRow, Millis, Reviewer, State
from approvals.record.history import HistoryQuery
from approvals.record.tables import ApprovalRow, GrantRow, HistoryTable
from approvals.redact import masked
from approvals.rows import resolve
from approvals.seal import SealBroken, unseal
from approvals.shared_facts import SharedFacts
from approvals.view import view_in, view_of
from web.services import Services
from web.session import PageSessions, Viewer
from web.views.answer import ServerAnswer, answer_of
from web.views.card import Card, card_of
from web.views.render import Pages

_approval = ApprovalRow.__table__  # type: ignore[attr-defined]
_history = HistoryTable.__table__  # type: ignore[attr-defined]
_grant = GrantRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class PageHead:
    """Where the history ends and how many calls wait, read at one instant."""

    seq: int
    pending: int


def read_head(connection: Connection, now: Millis) -> PageHead:
    seq = connection.execute(select(func.max(_history.c.seq))).scalar() or 0
    waiting = connection.execute(
        select(func.count()).where(
            _approval.c.state == State.PENDING.value, _approval.c.expires_at > now
        )
    ).scalar()
    return PageHead(int(seq), int(waiting or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyQueue:
    """What an empty queue says: the next step, or when the last decision was."""

    heading: str
    sentence: str
    at: Millis | None = None
    line: str = ""


def read_empty(connection: Connection, public_url: str) -> EmptyQueue:
    """Why the queue is empty."""
    decided = connection.execute(
        select(func.max(_approval.c.decided_at)).where(
            _approval.c.state.in_((State.APPROVED.value, State.DENIED.value))
        )
    ).scalar()
    if decided:
        return EmptyQueue(
            heading="Nothing is waiting", sentence="The last decision was", at=decided
        )
    if connection.execute(select(_history.c.seq).limit(1)).first() is None or not _called(
        connection
    ):
        granted = connection.execute(select(_grant.c.id).limit(1)).first() is not None
        line = "" if granted else "signoff grant create my-agent"
        line = line or f"claude mcp add --transport http my-server {public_url}/mcp"
        return EmptyQueue(
            heading="No agent has called yet",
            sentence="Connect one to this gateway" + ("." if granted else "; first make a grant."),
            line=line,
        )
    return EmptyQueue(
        heading="Nothing is waiting",
        sentence="Calls pass or are refused by rule; none has needed a person yet.",
    )


def _called(connection: Connection) -> bool:
    call = select(_history.c.seq).where(_history.c.tool != "").limit(1)
    return connection.execute(call).first() is not None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One row of an approval's timeline."""

    seq: int
    at: Millis
    event: str
    actor: str
    via: str
    reason: str
    changes: tuple[ChangeRow, ...] = ()  # of an edit: what the agent had asked, and what it is now


@dataclass(frozen=True, slots=True)
class ApprovalDetail:
    """Everything about one approval: what is shown in full, and what became of it."""

    card: Card
    timeline: tuple[TimelineEntry, ...]
    result: ServerAnswer | None
    edits: tuple[Field, ...]  # what this person may change first


def read_card(
    connection: Connection, written: str, reviewer: Reviewer, now: Millis, *, full: bool = False
) -> Card | None:
    """The card of an id as people write it; None if there is none."""
    approval_id = resolve(connection, written)
    view = view_of(connection, approval_id, now=now) if approval_id else None
    return card_of(view, reviewer, now, full=full) if view else None


def _moment(row: HistoryRow) -> TimelineEntry:
    event = row.event
    # Which of its processes the gateway was tells no one anything.
    own = {"agent": "the agent", "gateway": ""}
    actor = own.get(event.actor_kind, event.actor)
    if event.event in ("held", "attached"):  # the rule held it, and who else would come back
        actor = ""
    via = event.via if event.actor_kind == "reviewer" else ""
    # The rule's reason stands above already; below it would be said again with each step.
    reason = "" if event.event == "held" else event.reason
    changes = _edits(event.data) if event.event == "edited" else ()
    return TimelineEntry(row.seq, row.at, event.event, actor, via, reason, changes)


def _edits(data: str | None) -> tuple[ChangeRow, ...]:
    """The masked difference that an edit left in the history."""
    found = json.loads(data or "{}").get("changes", [])
    return tuple(
        ChangeRow(
            one["path"].removeprefix("args."), _plainly(one, "before"), _plainly(one, "after")
        )
        for one in found
    )


def _plainly(change: Mapping[str, Any], side: str) -> str | None:
    if side not in change:
        return None
    value = change[side]
    return value if isinstance(value, str) else canonical(value).decode()


class PageContext:
    """The surface's own composition: handed to every router."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.approvals = services.approvals
        self.clock = services.clock
        self.pages = Pages()
        self.sessions = PageSessions(services)

    async def head(self) -> PageHead:
        now = self.clock.now()
        return await self.services.database.read(lambda connection: read_head(connection, now))

    async def cards(self, viewer: Viewer, limit: int) -> tuple[list[Card], int]:
        """What waits, in the queue's order, and how many wait in all."""
        now = self.clock.now()
        waiting = await self.approvals.pending(limit=limit)

        def read(connection: Connection) -> list[Card]:
            listing = SharedFacts(connection)
            return [
                card_of(view_in(listing, approval, now=now), viewer.reviewer, now)
                for approval in waiting
            ]

        cards = await self.services.database.read(read)
        if len(waiting) < limit:
            return cards, len(cards)
        return cards, max(len(cards), (await self.head()).pending)

    async def card(self, approval_id: str, viewer: Viewer) -> Card | None:
        now = self.clock.now()
        return await self.services.database.read(
            lambda connection: read_card(connection, approval_id, viewer.reviewer, now)
        )

    async def detail(self, approval_id: str, viewer: Viewer) -> ApprovalDetail | None:
        """Everything about one approval, or None if there is none with this id."""
        now = self.clock.now()
        card = await self.services.database.read(
            lambda connection: read_card(connection, approval_id, viewer.reviewer, now, full=True)
        )
        if card is None:
            return None
        rows = await self.approvals.history(HistoryQuery(approval_id=card.id, limit=200))
        timeline = tuple(_moment(row) for row in reversed(rows.rows))
        raw = await self._result(card.id)
        answer = None if raw is None else await aside(len(raw), lambda: answer_of(raw))
        return ApprovalDetail(card, timeline, answer, await self._edits(card))

    async def _edits(self, card: Card) -> tuple[Field, ...]:
        if not card.editable:
            return ()
        try:
            held = await self.approvals.get(card.id)
        except SealBroken:
            return ()
        if held is None:
            return ()
        return await self.fields(held)

    async def fields(self, held: Approval) -> tuple[Field, ...]:
        """What of a held call its rule lets a reviewer change."""
        return await aside(
            len(held.masked),
            lambda: fields_of(held.call.arguments, held.masked, held.terms.editable),
        )

    async def _result(self, approval_id: str) -> str | None:
        """The server's stored answer, secrets masked as in arguments; None while there is none."""
        keys = self.approvals.keys

        def read(connection: Connection) -> bytes | None:
            return connection.execute(
                select(_approval.c.result_sealed).where(_approval.c.id == approval_id)
            ).scalar()

        sealed = await self.services.database.read(read)
        if sealed is None:
            return None

        def opened() -> str:
            result = unseal(keys.seal, sealed, approval_id=approval_id, kind="result")
            return masked(result, (), key=keys.fingerprint)

        try:
            return await aside(len(sealed), opened)
        except SealBroken:
            return "The stored answer cannot be opened with this gateway's key."
        except (
            ValueError,
            RecursionError,
        ):  # not the JSON it should be: shown to no one rather than unmasked
            return "The stored answer cannot be shown."

    async def grant_names(self) -> dict[str, str]:
        """What people call the agents' grants, by id."""

        def read(connection: Connection) -> dict[str, str]:
            rows = connection.execute(select(_grant.c.id, _grant.c.label)).all()
            return {row.id: row.label for row in rows}

        return await self.services.database.read(read)

    async def empty(self) -> EmptyQueue:
        url = self.services.public_url
        return await self.services.database.read(lambda connection: read_empty(connection, url))

    async def rendered(self, template: str, **values: Any) -> str:
        """A page or a part of one. Beside the event loop: what is in it may be large."""
        return await elsewhere(lambda: self.pages.render(template, **values))


async def context_of(request: Request) -> PageContext:
    """The context of the application that answers this request."""
    context: PageContext = request.app.state.context
    return context


Context = Annotated[PageContext, Depends(context_of)]
"""What a route asks for to have it."""
