"""What surrounds every page: who looks, where one is, what waits, what is wrong. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from approvals.model import Millis, Reviewer
from gateway.operations.status import Alert


@dataclass(frozen=True, slots=True)
class Item:
    path: str
    name: str
    here: bool


@dataclass(frozen=True, slots=True)
class FormNotice:
    """What came of the last press."""

    text: str
    kind: str = ""  # "", "good" or "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    nonce: str
    viewer: Reviewer | None = None
    csrf: str = ""
    session: str = ""  # whose page signs what it sends; "" where none does
    now: Millis = 0
    cursor: int = 0
    pending: int = 0
    values: bool = False  # desktop notifications may show arguments
    nav: tuple[Item, ...] = ()
    banners: tuple[Alert, ...] = ()


def bare(request: Request) -> Frame:
    """The frame of a page for someone unknown."""
    return Frame(nonce=request.state.nonce)
