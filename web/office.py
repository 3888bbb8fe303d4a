"""What every page needs at hand: the record, the templates, who asks. Reads; decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Connection, func, select

from approvals.model import Millis, State
from approvals.tables import ApprovalRow, GrantRow, HistoryTable
from web.deps import Deps
from web.page.frame import Banner, Frame, Item
from web.page.render import Pages
from web.session import Sessions, Viewer

_approval = ApprovalRow.__table__  # type: ignore[attr-defined]
_history = HistoryTable.__table__  # type: ignore[attr-defined]
_grant = GrantRow.__table__  # type: ignore[attr-defined]

_NAV = (
    ("/", "Queue"),
    ("/history", "History"),
    ("/tools", "Tools"),
    ("/policy", "Policy"),
    ("/agents", "Agents"),
    ("/insights", "Insights"),
)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the history ends and how many calls wait, read at one instant."""

    seq: int
    pending: int


def read_head(connection: Connection, now: Millis) -> Head:
    seq = connection.execute(select(func.max(_history.c.seq))).scalar() or 0
    waiting = connection.execute(
        select(func.count()).where(
            _approval.c.state == State.PENDING.value, _approval.c.expires_at > now
        )
    ).scalar()
    return Head(int(seq), int(waiting or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """What an empty queue says: the next step, or when the last decision was."""

    heading: str
    sentence: str
    at: Millis | None = None
    line: str = ""


def read_empty(connection: Connection, public_url: str) -> Empty:
    """Why the queue is empty."""
    decided = connection.execute(
        select(func.max(_approval.c.decided_at)).where(
            _approval.c.state.in_((State.APPROVED.value, State.DENIED.value))
        )
    ).scalar()
    if decided:
        return Empty(heading="Nothing is waiting", sentence="The last decision was", at=decided)
    if connection.execute(select(_history.c.seq).limit(1)).first() is None or not _called(
        connection
    ):
        granted = connection.execute(select(_grant.c.id).limit(1)).first() is not None
        line = "" if granted else "signoff grant create my-agent"
        line = line or f"claude mcp add --transport http my-server {public_url}/mcp/SERVER"
        return Empty(
            heading="No agent has called yet",
            sentence="Connect one to this gateway" + ("." if granted else "; first make a grant."),
            line=line,
        )
    return Empty(
        heading="Nothing is waiting",
        sentence="Calls pass or are refused by rule; none has needed a person yet.",
    )


def _called(connection: Connection) -> bool:
    call = select(_history.c.seq).where(_history.c.tool != "").limit(1)
    return connection.execute(call).first() is not None


class Office:
    """The surface's own composition: handed to every router."""

    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.approvals = deps.approvals
        self.clock = deps.clock
        self.pages = Pages()
        self.sessions = Sessions(deps)

    async def head(self) -> Head:
        now = self.clock.now()
        return await self.deps.database.read(lambda connection: read_head(connection, now))

    async def empty(self) -> Empty:
        url = self.deps.public_url
        return await self.deps.database.read(lambda connection: read_empty(connection, url))

    async def frame(self, request: Request, viewer: Viewer) -> Frame:
        head = await self.head()
        here = request.url.path
        return Frame(
            nonce=request.state.nonce,
            viewer=viewer.reviewer,
            csrf=viewer.csrf,
            now=self.clock.now(),
            cursor=head.seq,
            pending=head.pending,
            nav=tuple(
                Item(path, name, here=_within(here, path))
                for path, name in _NAV
                if path != "/agents" or self.deps.desk is not None
            ),
            banners=self._banners(),
        )

    def _banners(self) -> tuple[Banner, ...]:
        return self.deps.status()

    async def page(
        self, request: Request, viewer: Viewer, template: str, status: int = 200, **values: Any
    ) -> Response:
        # The head is read before the page: what happens in between comes again by the stream,
        # never the other way round.
        frame = values.pop("frame", None) or await self.frame(request, viewer)
        return HTMLResponse(self.pages.render(template, frame=frame, **values), status)

    async def message(
        self, request: Request, viewer: Viewer, status: int, heading: str, sentence: str
    ) -> Response:
        return await self.page(
            request, viewer, "message.html", status, heading=heading, sentence=sentence
        )


def _within(here: str, path: str) -> bool:
    if path == "/":
        return here == "/" or here.startswith("/approvals")
    return here == path or here.startswith(path + "/")
