"""Who is asking: a browser session (cookie) or a program's reviewer token (bearer), and the door
where a one-time link becomes a session. What they may do is decided by the record, not here.

A cookie alone shows the masked view. `of_page` and `of_api` let a request that is no GET through
only with what proves it in its session; a GET that gives more away asks them for `signed=True`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from approvals.model import Reviewer
from approvals.reviewers import HOST, READS, ReviewerSession, session_id
from gateway.throttle import Throttle
from web import signature
from web.border import SAFE, SCRIPT, SIGNATURE, Proof, csrf_token, proof_at, same_token
from web.problems import ApiProblem
from web.problems import answer as problem_answer
from web.services import Services
from web.views.frame import bare
from web.views.render import Pages

HOURS = 12
"""How long a session lives."""
_LONGEST_PATH = 1024
_NO_BODY: Final = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class Viewer:
    """A person on one request. `secret` is the session's, "" for a bearer token."""

    reviewer: Reviewer
    via: Literal["page", "api"]
    secret: str = ""
    session: ReviewerSession | None = None  # of a browser

    @property
    def csrf(self) -> str:
        return csrf_token(self.secret)

    @property
    def signs(self) -> str:
        """The id of the session whose page signs what it asks; "" where none does."""
        session = self.session
        return session.id if session is not None and signature.is_key(session.binding) else ""

    @property
    def reads_only(self) -> bool:
        """Whether nothing can be proven in this session."""
        return self.session is not None and self.session.binding == READS

    def __repr__(self) -> str:
        return f"Viewer({self.reviewer.id!r}, {self.via!r})"


class SignInNeeded(Exception):
    """A page was asked for by no one we know."""


Unproven = Literal[
    "signature_needed", "signed_in_anew", "bad_signature", "sent_twice", "too_many", "reads_only"
]
"""Why a request that came with a session's cookie was not taken for this person's."""


class NotProven(Exception):
    """A cookie came without what proves the request in its session."""

    def __init__(self, why: Unproven) -> None:
        super().__init__(why)
        self.why: Unproven = why


class NotFromOurForm(Exception):
    """A form came without the token of the session that sends it."""


class AdminOnly(Exception):
    """Someone without the role asked for a change only administrators make."""


class PageSessions:
    """Tells who sent a request."""

    def __init__(self, services: Services) -> None:
        self._people = services.people
        self._border = services.border

    def proof(self, request: Request) -> Proof:
        """What proves a change at the address this request was sent to."""
        return proof_at(self._border, request.headers.get("host", ""))

    async def seen(self, request: Request) -> Viewer | None:
        """Whose cookie this is. It proves nothing: good for what a stolen one may read, too."""
        here = self.proof(request)
        secret = request.cookies.get(_cookie(here), "")
        session = await self._people.session(secret) if secret else None
        if session is None or (session.binding == HOST and here != "cookie"):
            return None
        reviewer = session.reviewer
        if session.binding == READS:  # shown and given what someone who only looks is
            reviewer = replace(reviewer, role="viewer")
        return Viewer(reviewer, "page", secret, session)

    async def of_page(self, request: Request, *, signed: bool = False) -> Viewer:
        """The person behind a page or a form. `signed`: also behind a GET, for what gives away more
        than the masked view.

        Raises:
            SignInNeeded: no one we know.
            NotProven: a cookie alone, where that proves nothing.
            RecordUnavailable: the signature is not known to be used up.
        """
        viewer = await self.seen(request)
        if viewer is None:
            raise SignInNeeded
        if signed or request.method not in SAFE:
            await self._prove(request, viewer)
        return viewer

    async def _prove(self, request: Request, viewer: Viewer) -> None:
        """Insists that this very request was made by the page of this session, once.

        Raises:
            NotProven: it was not, or no one can tell.
            RecordUnavailable: the signature is not known to be used up.
        """
        session = viewer.session
        if session is None or session.binding == HOST:
            return  # a bearer token, or a cookie that no neighbour gets
        if session.binding == READS:
            raise NotProven("reads_only")
        header = request.headers.getlist(SIGNATURE)
        signed = signature.read(header[0]) if len(header) == 1 else None
        if signed is None:
            raise NotProven("signature_needed" if not header else "bad_signature")
        if signed.session != session.id:
            raise NotProven("signed_in_anew")
        said = signature.statement(
            method=request.method,
            path=request.scope["raw_path"],
            query=request.scope["query_string"],
            body_digest=getattr(request.state, "body_digest", _NO_BODY),
            session=session.id,
            nonce=signed.nonce,
        )
        if not signature.holds(session.binding, signed.signature, said):
            raise NotProven("bad_signature")
        # In the record before anything is done: after a restart and at another replica, too.
        used = await self._people.use_nonce(viewer.secret, signed.nonce)
        if used == "ended":
            raise SignInNeeded
        if used != "fresh":
            raise NotProven("sent_twice" if used == "used" else "too_many")

    async def of_api(self, request: Request) -> Viewer:
        """The person or program behind an API request: a bearer token, else the session cookie.
        Kept as `request.state.viewer`.

        Raises:
            ApiProblem: 401; an agent's grant is no reviewer's token, whatever its form.
            NotProven, RecordUnavailable: as `of_page`, for a cookie.
        """
        given = request.headers.getlist("authorization")
        if given:
            scheme, _, token = given[0].partition(" ")
            reviewer = None
            if len(given) == 1 and scheme.lower() == "bearer":
                reviewer = await self._people.bearer(token.strip())
            if reviewer is None:
                raise ApiProblem(401, "unknown_token", "This token is not a reviewer's.")
            viewer = Viewer(reviewer, "api")
        else:
            try:
                viewer = await self.of_page(request)
            except SignInNeeded:
                title = "Sign in, or send a reviewer's token as a bearer."
                raise ApiProblem(401, "sign_in", title) from None
        request.state.viewer = viewer
        return viewer

    async def of_api_signed(self, request: Request) -> Viewer:
        """As `of_api`, for a GET that gives away more than the masked view."""
        viewer = await self.of_api(request)
        await self._prove(request, viewer)
        return viewer

    async def admin(self, request: Request, form_token: str | None = None) -> Viewer:
        """The administrator behind a page; with a token, behind a form of our own page.

        Raises:
            SignInNeeded: no one we know.
            NotProven: a cookie alone, where that proves nothing.
            NotFromOurForm: the token is another session's.
            AdminOnly: someone else.
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

    def welcome(self, request: Request, response: Response, secret: str) -> None:
        here = self.proof(request)
        response.set_cookie(
            _cookie(here),
            secret,
            max_age=HOURS * 3600,
            path="/",
            secure=here == "cookie",
            httponly=True,
            samesite="strict",
        )

    def farewell(self, request: Request, response: Response) -> None:
        here = self.proof(request)
        response.delete_cookie(
            _cookie(here), path="/", secure=here == "cookie", httponly=True, samesite="strict"
        )


def _cookie(here: Proof) -> str:
    return "__Host-signoff" if here == "cookie" else "signoff"


def own_path(path: str) -> str:
    """A path of ours to go on to after signing in; anything else becomes the queue."""
    fine = (
        path.startswith("/")
        and path.isascii()
        and path.isprintable()
        and len(path) <= _LONGEST_PATH
    )
    return path if fine and not path.startswith(("//", "/\\", "/signin")) else "/"


@dataclass(frozen=True, slots=True)
class _Door:
    """The page for people who are not signed in."""

    sessions: PageSessions
    pages: Pages

    async def show(
        self, request: Request, path: str, problem: str = "", status: int = 200
    ) -> Response:
        viewer = await self.sessions.seen(request)
        html = self.pages.render(
            "signin.html",
            frame=bare(request),
            viewer=viewer.reviewer if viewer else None,
            next=own_path(path),
            problem=problem,
            proof=self.sessions.proof(request),
        )
        return HTMLResponse(html, status)

    async def refuse(self, request: Request, path: str, problem: str, status: int) -> Response:
        """The page again; for its script, which has the form still, the words alone."""
        if SCRIPT in request.headers:
            return problem_answer(ApiProblem(status, "not_signed_in", problem))
        return await self.show(request, path, problem, status)


def router(services: Services, pages: Pages, sessions: PageSessions) -> APIRouter:
    routes = APIRouter()
    throttle = Throttle()
    door = _Door(sessions, pages)

    @routes.get("/signin", response_class=HTMLResponse)
    async def signin(request: Request, next: str = "/") -> Response:  # noqa: A002 - the query's word
        return await door.show(request, next)

    @routes.post("/signin")
    async def enter(
        request: Request,
        code: Annotated[str, Form(max_length=512)],
        next: Annotated[str, Form(max_length=1024)] = "/",  # noqa: A002 - the form's word
        key: Annotated[str, Form(max_length=128)] = "",
    ) -> Response:
        binding = _binding(sessions.proof(request), key)
        if binding is None:  # before the code is used up: it is good once
            return await door.refuse(request, next, _NEEDS_KEY, 422)
        secret = await services.people.redeem(code.strip().removeprefix("#"), binding=binding)
        if secret is None:
            sender = request.client.host if request.client else ""
            wait = throttle.fail(sender, services.clock.now())
            if not wait:
                return await door.refuse(request, next, _NO_LINK, 403)
            refused = await door.refuse(request, next, _SLOWER.format(wait), 429)
            refused.headers["Retry-After"] = str(wait)
            return refused
        # A session that was there before is ended, not kept: its cookie may be someone else's.
        old = await sessions.seen(request)
        if old is not None:
            await services.people.end(old.secret)
        goto = own_path(next)
        response: Response = RedirectResponse(goto, 303)
        if SCRIPT in request.headers:
            response = JSONResponse({"session": session_id(secret), "goto": goto})
        sessions.welcome(request, response, secret)
        return response

    _add_leave(routes, services, sessions)
    return routes


def _add_leave(routes: APIRouter, services: Services, sessions: PageSessions) -> None:
    @routes.post("/signout")
    async def leave(
        request: Request,
        csrf: Annotated[str, Form(max_length=128)] = "",
        everywhere: Annotated[str, Form(max_length=1)] = "",
    ) -> Response:
        seen = await sessions.seen(request)
        # Where nothing can be proven, a person may still end this one session.
        alone = seen is not None and seen.reads_only and not everywhere
        viewer = seen if seen and alone else await sessions.of_page(request)
        sessions.checked(request, viewer, csrf)
        if everywhere:
            await services.people.end_all(viewer.reviewer.id)
        else:
            await services.people.end(viewer.secret)
        response = RedirectResponse("/signin", 303)
        sessions.farewell(request, response)
        return response


_NEEDS_KEY: Final = (
    "Signing in here needs JavaScript, and a browser that keeps keys: other programs of this "
    "machine get the same cookie, so the page signs what you decide. Your code was not used."
)
_NO_LINK: Final = "This link was used before, has ended, or is not ours. Ask for a new one."
_SLOWER: Final = "Too many tries. Wait {} seconds."


def _binding(here: Proof, key: str) -> str | None:
    """What shall prove changes in a session made here; None: a key should, and this is none."""
    if here == "key":
        return key if signature.is_key(key) else None
    return HOST if here == "cookie" else READS
