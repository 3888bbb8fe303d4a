"""The surface as one ASGI application: routes, the border around them, and refusals in words."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from approvals.store import RecordUnavailable
from web import api, effects, session
from web.deps import Deps
from web.guard import Guard
from web.office import Office
from web.page import admin, history, queue
from web.page.frame import bare
from web.page.render import STATIC
from web.problems import Problem, answer
from web.session import AdminOnly, NotFromOurForm, SignInNeeded, own_path
from web.stream import Stream, stream_router


class _Assets(StaticFiles):
    """Static files whose address names their content: kept by browsers for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == HTTPStatus.OK:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def build(deps: Deps) -> FastAPI:
    """The whole surface; mount it at "/" behind everything more specific."""
    app = FastAPI(
        title="Signoff reviewers' API",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    office = Office(deps)
    stream = Stream(deps.database, deps.clock)
    for routes in (
        session.router(deps, office.pages, office.sessions),
        api.router(office),
        effects.router(office),
        stream_router(office, stream),
        queue.router(office),
        history.router(office),
        admin.router(office),
    ):
        app.include_router(routes)
    if deps.slack is not None:
        app.include_router(deps.slack)
    app.mount("/static", _Assets(directory=STATIC), name="static")
    _answer_errors(app, office)
    app.add_middleware(Guard, border=deps.border)
    return app


def _answer_errors(app: FastAPI, office: Office) -> None:
    """Every refusal that is not a route's own answer, in fixed words."""

    async def unknown(request: Request, _: Exception) -> Response:
        return _to_the_door(request, office)

    async def foreign(request: Request, _: Exception) -> Response:
        sentence = "This form is old or not from this page. Go back, reload, and press again."
        return await _said(request, office, 403, "Nothing was done", sentence)

    async def not_admin(request: Request, _: Exception) -> Response:
        return await _said(request, office, 403, "Only administrators may", "Nothing was changed.")

    app.add_exception_handler(SignInNeeded, unknown)
    app.add_exception_handler(NotFromOurForm, foreign)
    app.add_exception_handler(AdminOnly, not_admin)
    _answer_faults(app, office)


def _answer_faults(app: FastAPI, office: Office) -> None:
    async def problem(_: Request, error: Exception) -> Response:
        found = error if isinstance(error, Problem) else Problem(500, "internal", "Internal error.")
        unknown = found.status == HTTPStatus.UNAUTHORIZED
        return answer(found, {"WWW-Authenticate": "Bearer"} if unknown else None)

    async def unavailable(_request: Request, _: Exception) -> Response:
        title = "The record cannot be read or written right now. Nothing was decided."
        return answer(Problem(503, "record_unavailable", title), {"Retry-After": "2"})

    async def malformed(request: Request, _: Exception) -> Response:
        if _is_api(request):
            return answer(Problem(422, "invalid_request", "The request is not valid."))
        sentence = "The form was incomplete. Go back, reload, and press again."
        return await _said(request, office, 422, "Nothing was done", sentence)

    async def plain(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = HTTPStatus(status).phrase
        if _is_api(request):
            response: Response = answer(Problem(status, "http", words))
        else:
            response = await _said(request, office, status, words, "There is nothing to do here.")
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RecordUnavailable, unavailable)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, plain)


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def _to_the_door(request: Request, office: Office) -> Response:
    """Where somebody unknown is sent."""
    path = own_path(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    if request.method != "GET" or "x-signoff-fragment" in request.headers:
        return HTMLResponse("", 401)
    if request.headers.get("sec-fetch-site") == "cross-site" and not request.cookies:
        # A strict cookie stays at home when the click was on another site (a chat, a mail). One
        # step from our own page to itself brings it along.
        html = office.pages.render("bounce.html", frame=bare(request), path=path)
        return HTMLResponse(html)
    return RedirectResponse(f"/signin?next={_quoted(path)}", 303)


def _quoted(path: str) -> str:
    return quote(path, safe="/")


async def _said(
    request: Request, office: Office, status: int, heading: str, sentence: str
) -> Response:
    viewer = await office.sessions.of_cookie(request)
    if viewer is None:
        return answer(Problem(status, "refused", f"{heading}. {sentence}"))
    return await office.message(request, viewer, status, heading, sentence)
