"""The surface as one ASGI application: routes, the border around them, and refusals in words."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from approvals.store import RecordUnavailable
from web import api, session
from web.deps import Deps
from web.guard import Guard
from web.office import Office
from web.page import admin, history, queue
from web.page.frame import bare
from web.page.render import STATIC
from web.problems import Problem, answer
from web.session import NotFromOurForm, SignInNeeded, own_path
from web.stream import Stream, stream_router


class _Assets(StaticFiles):
    """Static files whose address names their content: kept by browsers for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200:
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
        stream_router(office, stream),
        queue.router(office),
        history.router(office),
        admin.router(office),
    ):
        app.include_router(routes)
    app.mount("/static", _Assets(directory=STATIC), name="static")
    _answer_errors(app, office)
    app.add_middleware(Guard, border=deps.border)
    return app


def _answer_errors(app: FastAPI, office: Office) -> None:
    @app.exception_handler(SignInNeeded)
    async def unknown(request: Request, _: Exception) -> Response:
        return _to_the_door(request, office)

    @app.exception_handler(NotFromOurForm)
    async def foreign(request: Request, _: Exception) -> Response:
        sentence = "This form is old or not from this page. Go back, reload, and press again."
        return await _said(request, office, 403, "Nothing was done", sentence)

    @app.exception_handler(admin.AdminOnly)
    async def not_admin(request: Request, _: Exception) -> Response:
        return await _said(request, office, 403, "Only administrators may", "Nothing was changed.")

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)  # noqa: S101 - the registration says so
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
        return answer(error, headers)

    @app.exception_handler(RecordUnavailable)
    async def unavailable(request: Request, _: Exception) -> Response:
        title = "The record cannot be read or written right now. Nothing was decided."
        if request.url.path.startswith("/api/"):
            return answer(Problem(503, "record_unavailable", title), {"Retry-After": "2"})
        return await _said(request, office, 503, "The record does not answer", title)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - the registration says so
        if request.url.path.startswith("/api/"):
            where = [".".join(str(step) for step in item["loc"]) for item in error.errors()]
            return answer(Problem(422, "invalid_request", "The request is not valid.", at=where))
        sentence = "The form was incomplete. Go back, reload, and press again."
        return await _said(request, office, 422, "Nothing was done", sentence)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - the registration says so
        if request.url.path.startswith("/api/"):
            return answer(Problem(error.status_code, "http", str(error.detail)))
        heading = "There is no such page" if error.status_code == 404 else "That does not work here"
        response = await _said(request, office, error.status_code, heading, str(error.detail))
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response


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
    viewer = None
    if status != 503:
        viewer = await office.sessions.of_cookie(request)
    if viewer is None:
        return JSONResponse(
            {"type": "about:blank", "title": f"{heading}. {sentence}", "status": status},
            status,
            media_type="application/problem+json",
        )
    return await office.message(request, viewer, status, heading, sentence)
