"""Keys under `dev.signoff/` are the gateway's own words: no server's and no agent's may pass. Pure.

A client, a host or a model takes a verdict under such a key for the gateway's. Keys only: a text
that speaks of them is a text.
"""

from __future__ import annotations

import re
from typing import Any, Final

PREFIX: Final = "dev.signoff/"

_WORD: Final = b"dev.signoff"
_ESCAPE: Final = b"\\u00"
_ESCAPED: Final = re.compile(rb"\\u00(?:6[4-9a-fA-F]|7[36]|2[eE])").search
"""A letter of the word written as an escape, as no one has reason to."""


def may_hold(data: bytes) -> bool:
    """Whether such a key may stand in this JSON text; False is certain, and cheap to know."""
    return _WORD in data or (_ESCAPE in data and _ESCAPED(data) is not None)


def take_out(value: Any) -> bool:
    """Take such keys out of a decoded value, at any depth, in place; whether there were any."""
    found, waiting = False, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key in [key for key in one if key.startswith(PREFIX)]:
                del one[key]
                found = True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found
