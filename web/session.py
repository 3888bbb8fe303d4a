"""Who is asking: a browser session (cookie) or a program's reviewer token (bearer), and the door
where a one-time link becomes a session. What they may do is decided by the record, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from approvals.model import Reviewer
from gateway.throttle import Throttle
from web.deps import Deps
from web.guard import csrf_token, same_token
from web.page.frame import bare
from web.page.render import Pages
from web.problems import Problem

HOURS = 12
"""How long a session lives."""
_LONGEST_PATH = 1024


@dataclass(frozen=True, slots=True)
class Viewer:
    """A proven person on one request. `secret` is the session's, "" for a bearer token."""

    reviewer: Reviewer
    via: Literal["page", "api"]
    secret: str = ""

    @property
    def csrf(self) -> str:
        return csrf_token(self.secret)

    def __repr__(self) -> str:
        return f"Viewer({self.reviewer.id!r}, {self.via!r})"


class SignInNeeded(Exception):
    """A page was asked for by nobody we know."""


class NotFromOurForm(Exception):
    """A form came without the token of the session that sends it."""


class AdminOnly(Exception):
    """Somebody without the role asked for a change only administrators make."""


class Sessions:
    """Tells who sent a request."""

    def __init__(self, deps: Deps) -> None:
        self._people = deps.people
        self.cookie = "__Host-signoff" if deps.border.https else "signoff"
        self._https = deps.border.https

    async def of_cookie(self, request: Request) -> Viewer | None:
        secret = request.cookies.get(self.cookie, "")
        if not secret:
            return None
        reviewer = await self._people.session(secret)
        return Viewer(reviewer, "page", secret) if reviewer else None

    async def of_page(self, request: Request) -> Viewer:
        """The person behind a page.

        Raises:
            SignInNeeded: nobody we know.
        """
        viewer = await self.of_cookie(request)
        if viewer is None:
            raise SignInNeeded
        return viewer

    async def of_api(self, request: Request) -> Viewer:
        """The person or program behind an API request: a bearer token, else the session cookie.
        Kept as `request.state.viewer`.

        Raises:
            Problem: 401; an agent's grant is no reviewer's token, whatever its form.
        """
        given = request.headers.getlist("authorization")
        if given:
            scheme, _, token = given[0].partition(" ")
            reviewer = None
            if len(given) == 1 and scheme.lower() == "bearer":
                reviewer = await self._people.bearer(token.strip())
            if reviewer is None:
                raise Problem(401, "unknown_token", "This token is not a reviewer's.")
            viewer: Viewer | None = Viewer(reviewer, "api")
        else:
            viewer = await self.of_cookie(request)
        if viewer is None:
            raise Problem(401, "sign_in", "Sign in, or send a reviewer's token as a bearer.")
        request.state.viewer = viewer
        return viewer

    async def admin(self, request: Request, form_token: str | None = None) -> Viewer:
        """The administrator behind a page; with a token, behind a form of our own page.

        Raises:
            SignInNeeded: nobody we know.
            NotFromOurForm: the token is another session's.
            AdminOnly: somebody else.
        """
        viewer = await self.of_page(request)
        if form_token is not None:
            self.checked(request, viewer, form_token)
        if viewer.reviewer.role != "admin":
            raise AdminOnly
        return viewer

    def checked(self, request: Request, viewer: Viewer, form_token: str = "") -> None:
        """Insists that what changes something comes from our own page of this session.

        Raises:
            NotFromOurForm: the token is missing or another session's.
        """
        if viewer.via == "api":
            return  # a bearer token is sent by a program on purpose, never by a browser by itself
        if not same_token(form_token or request.headers.get("x-csrf-token", ""), viewer.csrf):
            raise NotFromOurForm

    def welcome(self, response: Response, secret: str) -> None:
        response.set_cookie(
            self.cookie,
            secret,
            max_age=HOURS * 3600,
            path="/",
            secure=self._https,
            httponly=True,
            samesite="strict",
        )

    def farewell(self, response: Response) -> None:
        response.delete_cookie(
            self.cookie, path="/", secure=self._https, httponly=True, samesite="strict"
        )


def own_path(path: str) -> str:
    """A path of ours to go on to after signing in; anything else becomes the queue."""
    fine = (
        path.startswith("/")
        and path.isascii()
        and path.isprintable()
        and len(path) <= _LONGEST_PATH
    )
    return path if fine and not path.startswith(("//", "/\\", "/signin")) else "/"


def router(deps: Deps, pages: Pages, sessions: Sessions) -> APIRouter:
    routes = APIRouter()
    throttle = Throttle()

    @routes.get("/signin", response_class=HTMLResponse)
    async def door(request: Request, next: str = "/") -> Response:  # noqa: A002 - the query's word
        return await _door(request, next)

    async def _door(request: Request, path: str, problem: str = "", status: int = 200) -> Response:
        viewer = await sessions.of_cookie(request)
        html = pages.render(
            "signin.html",
            frame=bare(request),
            viewer=viewer.reviewer if viewer else None,
            next=own_path(path),
            problem=problem,
        )
        return HTMLResponse(html, status)

    @routes.post("/signin")
    async def enter(
        request: Request,
        code: Annotated[str, Form(max_length=512)],
        next: Annotated[str, Form(max_length=1024)] = "/",  # noqa: A002 - the form's word
    ) -> Response:
        secret = await deps.people.redeem(code.strip().removeprefix("#"))
        if secret is None:
            sender = request.client.host if request.client else ""
            wait = throttle.fail(sender, deps.clock.now())
            if wait:
                refused = await _door(request, next, f"Too many tries. Wait {wait} seconds.", 429)
                refused.headers["Retry-After"] = str(wait)
                return refused
            problem = "This link was used before, has ended, or is not ours. Ask for a new one."
            return await _door(request, next, problem, 403)
        # A session that was there before is ended, not kept: its cookie may be somebody else's.
        old = await sessions.of_cookie(request)
        if old is not None:
            await deps.people.end(old.secret)
        response = RedirectResponse(own_path(next), 303)
        sessions.welcome(response, secret)
        return response

    @routes.post("/signout")
    async def leave(
        request: Request,
        csrf: Annotated[str, Form(max_length=128)] = "",
        everywhere: Annotated[str, Form(max_length=1)] = "",
    ) -> Response:
        viewer = await sessions.of_page(request)
        sessions.checked(request, viewer, csrf)
        if everywhere:
            await deps.people.end_all(viewer.reviewer.id)
        else:
            await deps.people.end(viewer.secret)
        response = RedirectResponse("/signin", 303)
        sessions.farewell(response)
        return response

    return routes
