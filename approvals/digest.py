"""Canonical JSON and digests: one spelling for what is judged, shown, stored and sent. Pure.

Objects are ordered and strings escaped as RFC 8785 says; integers are exact at any size and floats
are the shortest text that reads back equal (RFC 8785 would turn 1.0 into 1 and round 2**53+1:
a server may care). Input must come from `gateway.protocol.jsonrpc`, which refuses what has no such
form.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, Protocol

import orjson

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def canonical(value: Any) -> bytes:
    """The canonical JSON of a decoded value, UTF-8.

    Raises:
        ValueError: NaN, infinity, or a lone surrogate.
    """
    text = _encode(value)
    if not text.isascii() and max(text) > "\uffff":
        # RFC 8785 §3.2.3 orders keys by UTF-16 units; that differs from code points only here.
        text = _encode_in_order(_utf16_ordered(value))
    return text.encode("utf-8", "strict")


_encode_in_order = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def _utf16_ordered(value: Any) -> Any:
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return {key: _utf16_ordered(member) for key, member in ordered}
    if isinstance(value, list):
        return [_utf16_ordered(member) for member in value]
    return value


NUL: Final = "\x00"
"""JSON has it, texts of PostgreSQL do not."""


def keepable(text: str) -> bool:
    """Whether every database can keep this text and look for it."""
    if NUL in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character
        return False
    return True


def kept(text: str) -> str:
    r"""The text as a record keeps it: what no database can is written as `\u0000`."""
    if keepable(text):
        return text
    return "".join(f"\\u{ord(one):04x}" if one == NUL or _half(one) else one for one in text)


def all_keepable(value: Any) -> bool:
    """Whether that is so of every text and name in a decoded value."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            if not keepable(one):
                return False
        elif isinstance(one, dict):
            rest += one.keys()
            rest += one.values()
        elif isinstance(one, list):
            rest += one
    return True


def _half(character: str) -> bool:
    """A surrogate without its other half: no text of UTF-8 has it."""
    return "\ud800" <= character <= "\udfff"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Identified(Protocol):
    """What a call is told apart by; `model.Call` is one."""

    @property
    def grant(self) -> str: ...
    @property
    def server(self) -> str: ...
    @property
    def tool(self) -> str: ...
    @property
    def arguments(self) -> bytes: ...
    @property
    def tool_hash(self) -> str: ...


def digest_of(call: Identified) -> str:
    """The identity of a call: equal digests are the same call, anything else is another one."""
    head = orjson.dumps([call.grant, call.server, call.tool, call.tool_hash])
    framed = b"signoff/call/1\n%d\n" % len(head) + head + call.arguments
    return hashlib.sha256(framed).hexdigest()
