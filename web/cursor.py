"""Where the next page of a list begins, as the API writes it: opaque to programs. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from approvals.digest import all_keepable
from web.problems import ApiProblem


def written(*values: int | str) -> str:
    """The cursor behind the row with these values."""
    plain = json.dumps(values, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(plain).rstrip(b"=").decode("ascii")


def cursor_of(text: str, *kinds: type[int | str]) -> tuple[Any, ...] | None:
    """The values of a cursor of ours; None for an empty one.

    Raises:
        ApiProblem: it is none.
    """
    if not text:
        return None
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        values = json.loads(plain)
    except (binascii.Error, ValueError, RecursionError):
        values = None
    if (
        not all_keepable(values)
        or not isinstance(values, list)
        or [type(one) for one in values] != list(kinds)
    ):
        raise ApiProblem(422, "not_a_cursor", "The cursor is none: give `next` of the page before.")
    return tuple(values)
