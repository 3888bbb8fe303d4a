"""Problem details (RFC 9457) of the JSON API: fixed words, never the text of an exception. Pure."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse


class ApiProblem(Exception):
    """A refusal of the API. `code` is for programs and never changes; `title` is for people."""

    def __init__(self, status: int, code: str, title: str, **more: Any) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.title = title
        self.more = more


def answer(problem: ApiProblem, headers: dict[str, str] | None = None) -> JSONResponse:
    body = {
        "type": f"urn:signoff:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        **problem.more,
    }
    return JSONResponse(
        body, problem.status, headers=headers, media_type="application/problem+json"
    )
