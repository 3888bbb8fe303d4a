"""One page that a signed-in person asked for: who looks, what surrounds it, how it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from gateway.operations.status import Alert
from web.context import PageContext
from web.session import Viewer
from web.views.card import Card
from web.views.frame import Frame, Item

_NAV: Final = (
    ("/", "Queue"),
    ("/history", "History"),
    ("/tools", "Tools"),
    ("/policy", "Policy"),
    ("/agents", "Agents"),
    ("/insights", "Insights"),
)
_READS_ONLY: Final = (
    "This page only shows here: over plain http on another machine no one can tell who presses. "
    "Open it by https to decide."
)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request, the person behind it, and what its answer is made from."""

    context: PageContext
    request: Request
    viewer: Viewer

    @property
    def is_admin(self) -> bool:
        return self.viewer.reviewer.role == "admin"

    async def card(self, approval_id: str) -> Card | None:
        """The card of one approval as this person is shown it."""
        return await self.context.card(approval_id, self.viewer)

    async def frame(self) -> Frame:
        """What surrounds the page, as of now."""
        head = await self.context.head()
        here = self.request.url.path
        return Frame(
            nonce=self.request.state.nonce,
            viewer=self.viewer.reviewer,
            csrf=self.viewer.csrf,
            session=self.viewer.signs,
            now=self.context.clock.now(),
            cursor=head.seq,
            pending=head.pending,
            values=self.context.services.notification_values,
            nav=tuple(Item(path, name, here=_within(here, path)) for path, name in _NAV),
            banners=self._banners(),
        )

    def _banners(self) -> tuple[Alert, ...]:
        alerts = self.context.services.status()
        if not self.viewer.reads_only:
            return alerts
        return (Alert(subject="page", text=_READS_ONLY, bad=False), *alerts)

    async def render(self, template: str, status: int = HTTPStatus.OK, **values: Any) -> Response:
        """The page made from a template. A `frame` among the values was read before what is on it:
        anything that happens in between is repeated by the stream; nothing is lost.
        """
        frame = values.pop("frame", None) or await self.frame()
        return HTMLResponse(await self.context.rendered(template, frame=frame, **values), status)

    async def message(
        self,
        status: int,
        heading: str,
        sentence: str,
        *,
        goto: str = "/",
        goto_words: str = "To the queue",
    ) -> Response:
        """A page that says one thing and leads on."""
        return await self.render(
            "message.html",
            status,
            heading=heading,
            sentence=sentence,
            goto=goto,
            goto_words=goto_words,
        )

    async def missing(self) -> Response:
        """The page in the place of an approval that is not there."""
        sentence = "It may have been dropped after its retention time, or the id is not whole."
        return await self.message(404, "There is no such approval", sentence)


async def page_of(context: PageContext, request: Request, *, signed: bool = False) -> PageRequest:
    """The page request behind this one. `signed`: as of `PageSessions.of_page`, with its errors."""
    return PageRequest(context, request, await context.sessions.of_page(request, signed=signed))


async def form_page_of(context: PageContext, request: Request, csrf: str) -> PageRequest:
    """As `page_of`, for a form of our own page that carries its session's token.

    Raises:
        NotFromOurForm: the token is missing or another session's.
        SignInNeeded, NotProven, RecordUnavailable: as `page_of`.
    """
    page = await page_of(context, request)
    context.sessions.checked(request, page.viewer, csrf)
    return page


async def admin_page_of(
    context: PageContext, request: Request, csrf: str | None = None
) -> PageRequest:
    """As `page_of`, for an administrator; with a token, behind a form of our own page. The errors
    of `PageSessions.admin`.
    """
    return PageRequest(context, request, await context.sessions.admin(request, csrf))


def _within(here: str, path: str) -> bool:
    if path == "/":
        return here == "/" or here.startswith("/approvals")
    return here == path or here.startswith(path + "/")
