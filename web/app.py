"""The surface as one ASGI application: routes, the border around them, and refusals in words."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from approvals.record.database import RecordUnavailable
from web import api, effects, session
from web.border import FRAGMENT, SCRIPT, SIGNATURE, BorderMiddleware
from web.context import PageContext
from web.page_request import PageRequest
from web.pages import admin, bulk, confirm, definition, edit, history, policy, queue
from web.problems import ApiProblem, answer
from web.services import Services
from web.session import (
    AdminOnly,
    NotFromOurForm,
    NotProven,
    SignInNeeded,
    Unproven,
    own_path,
)
from web.stream import LiveFeed, stream_router
from web.views.frame import bare
from web.views.render import STATIC


class _Assets(StaticFiles):
    """Static files whose address names their content: kept by browsers for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == HTTPStatus.OK:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def build(services: Services) -> FastAPI:
    """The whole surface; mount it at "/" behind everything more specific."""
    app = FastAPI(
        title="Signoff reviewers' API",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # not for strangers: see `api.router`
    )
    context = app.state.context = PageContext(services)
    stream = LiveFeed(services.database, services.clock)
    for routes in (
        session.router(services, context.pages, context.sessions),
        api.router(context, describe=app.openapi),
        effects.router(context),
        stream_router(context, stream),
        *(
            pages.routes
            for pages in (queue, bulk, edit, history, admin, policy, definition, confirm)
        ),
    ):
        app.include_router(routes)
    if services.slack is not None:
        app.include_router(services.slack)
    app.mount("/static", _Assets(directory=STATIC), name="static")
    _answer_errors(app, context)
    app.add_middleware(BorderMiddleware, border=services.border)
    return app


def _answer_errors(app: FastAPI, context: PageContext) -> None:
    """Every refusal that is not a route's own answer, in fixed words."""

    async def unknown(request: Request, _: Exception) -> Response:
        return _to_the_door(request, context)

    async def foreign(request: Request, _: Exception) -> Response:
        sentence = "This form is old or not from this page. Go back, reload, and press again."
        return await _said(request, context, 403, "Nothing was done", sentence)

    async def not_admin(request: Request, _: Exception) -> Response:
        return await _said(request, context, 403, "Only administrators may", "Nothing was changed.")

    async def unproven(request: Request, error: Exception) -> Response:
        why = error.why if isinstance(error, NotProven) else "bad_signature"
        status, sentence = _UNPROVEN[why]
        if _is_api(request):
            return answer(ApiProblem(status, why, f"Nothing was done. {sentence}"))
        if SCRIPT in request.headers or FRAGMENT in request.headers:
            return HTMLResponse(context.pages.render("refused.html", sentence=sentence), status)
        return await _said(request, context, status, "Nothing was done", sentence)

    app.add_exception_handler(SignInNeeded, unknown)
    app.add_exception_handler(NotProven, unproven)
    app.add_exception_handler(NotFromOurForm, foreign)
    app.add_exception_handler(AdminOnly, not_admin)
    _answer_faults(app, context)


_NO_SIGNATURE: Final = (
    "At this address a cookie is not enough: the page signs what it sends, with JavaScript. "
    "Programs send a reviewer's token as a bearer."
)
_UNPROVEN: Final[Mapping[Unproven, tuple[int, str]]] = {
    "signature_needed": (403, _NO_SIGNATURE),
    "signed_in_anew": (409, "You signed in again: reload this page, then press again."),
    "bad_signature": (403, "The signature is not that of your sign-in. Reload, then press again."),
    "sent_twice": (409, "This very request was sent before. Reload, then press again."),
    "too_many": (403, "This sign-in has sent as many requests as one may. Sign in again."),
    "reads_only": (403, "Over plain http this page only shows. Open it by https to decide."),
}


def _answer_faults(app: FastAPI, context: PageContext) -> None:
    async def problem(_: Request, error: Exception) -> Response:
        found = (
            error
            if isinstance(error, ApiProblem)
            else ApiProblem(500, "internal", "Internal error.")
        )
        unknown = found.status == HTTPStatus.UNAUTHORIZED
        return answer(found, {"WWW-Authenticate": "Bearer"} if unknown else None)

    async def unavailable(_request: Request, _: Exception) -> Response:
        title = "The record cannot be read or written right now. Nothing was decided."
        return answer(ApiProblem(503, "record_unavailable", title), {"Retry-After": "2"})

    async def malformed(request: Request, _: Exception) -> Response:
        if _is_api(request):
            return answer(ApiProblem(422, "invalid_request", "The request is not valid."))
        sentence = "The form was incomplete. Go back, reload, and press again."
        return await _said(request, context, 422, "Nothing was done", sentence)

    async def plain(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = HTTPStatus(status).phrase
        if _is_api(request):
            response: Response = answer(ApiProblem(status, "http", words))
        else:
            response = await _said(request, context, status, words, "There is nothing to do here.")
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(ApiProblem, problem)
    app.add_exception_handler(RecordUnavailable, unavailable)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, plain)


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def _to_the_door(request: Request, context: PageContext) -> Response:
    """Where someone unknown is sent."""
    path = own_path(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    sent = request.headers
    if request.method != "GET" or FRAGMENT in sent or SIGNATURE in sent:
        return HTMLResponse("", 401)
    if request.headers.get("sec-fetch-site") == "cross-site" and not request.cookies:
        # A strict cookie stays at home when the click was on another site (a chat, a mail). One
        # step from our own page to itself brings it along.
        html = context.pages.render("bounce.html", frame=bare(request), path=path)
        return HTMLResponse(html)
    return RedirectResponse(f"/signin?next={_quoted(path)}", 303)


def _quoted(path: str) -> str:
    return quote(path, safe="/")


async def _said(
    request: Request, context: PageContext, status: int, heading: str, sentence: str
) -> Response:
    viewer = await context.sessions.seen(request)
    if viewer is None:
        return answer(ApiProblem(status, "refused", f"{heading}. {sentence}"))
    return await PageRequest(context, request, viewer).message(status, heading, sentence)
