"""JSON with one reading only: whatever two parsers could read differently is refused. Pure.

Not a schema check and not the MCP envelope: `gateway.protocol.jsonrpc` builds on it.
It gives back exactly what `json.loads` gives, for fewer texts.
"""

from __future__ import annotations

import json
from array import array
from itertools import accumulate
from typing import Any, Literal

import orjson

Kind = Literal["encoding", "syntax", "duplicate_key", "number", "nesting", "surrogate"]

MAX_DEPTH = 64
"""Arrays and objects inside each other. Parsers differ from about 200 on; tools stop before 20."""

MAX_INT_DIGITS = 1000
"""Python refuses ints over 4300 digits, and their cost grows with the square: a body full of ints
this long still reads in milliseconds, and each of them can be written again."""

_ORJSON_EXACT_DIGITS = 19  # orjson turns ints beyond 64 bit into floats; 18 digits always fit
_LONG_NUMBER = b"0" * _ORJSON_EXACT_DIGITS
_DIGITS_TO_ZERO = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))  # noqa: PLR2004 - "0" to "9"
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")  # read back as signed bytes: +1, -1
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NOT_MARKS = bytes(set(range(256)) - set(b'[{]}"'))


class BadJson(ValueError):
    """The bytes have no single reading as JSON; `kind` says why. The text itself is not kept."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind: Kind = kind


def strict_loads(body: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Decode UTF-8 JSON. Ints stay ints at any size, floats are Python's, -0.0 keeps its sign.

    `max_depth` may be at most 250, so that every value can be written again.

    Raises:
        BadJson: BOM, UTF-16/32 or broken UTF-8; bad syntax or trailing data; a key twice in one
            object, however it is spelled; NaN, Infinity, a float beyond range, an int of more
            than MAX_INT_DIGITS; nesting beyond `max_depth`; a surrogate without its other half.
    """
    if deeper_than(body, max_depth):
        raise BadJson("nesting")
    if _LONG_NUMBER in body.translate(_DIGITS_TO_ZERO):
        return _loads_exact(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        _loads_exact(body)  # to say why
        raise BadJson("syntax") from None
    if not _keys_all_kept(body, value):
        raise BadJson("duplicate_key")
    return value


def _keys_all_kept(body: bytes, value: Any) -> bool:
    """Whether `value` has as many keys as `body`: the parser keeps one of a key given twice.

    Keys are counted by their colons, in the body and in the value written again. A colon inside
    a string counts the same in both, unless it was spelled as an escape; and a dropped member
    can only take colons away. So equal counts mean that no key was dropped.
    """
    again = orjson.dumps(value)
    if b"\\u003" in body:
        body, again = _outside_strings(body), _outside_strings(again)
    return body.count(b":") == again.count(b":")


def _outside_strings(text: bytes) -> bytes:
    """The text without its strings; right up to the first syntax error, in linear time."""
    return b"".join(text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def deeper_than(body: bytes, depth: int) -> bool:
    """Whether arrays and objects stand in each other deeper than that, as far as it is JSON."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(_ONE_KIND, _NOT_MARKS)
    brackets = marks.replace(b'""', b"")
    if b'"' in brackets:  # there are some in strings
        brackets = b"".join(marks.split(b'"')[::2])
    rest = brackets
    for _ in range(depth):  # takes the innermost ones away, one level at a time
        inner = rest.replace(b"[]", b"")
        if len(inner) == len(rest):
            break
        rest = inner
    if not rest:
        return False
    steps = brackets.translate(_STEPS)
    return any(map(depth.__lt__, accumulate(array("b", steps))))


def _loads_exact(body: bytes) -> Any:
    """The same reading by the standard library: slower, exact at any size, and able to say why."""
    try:
        text = body.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise BadJson("encoding") from None
    if text.startswith("\ufeff") or "\x00" in text:
        raise BadJson("encoding")
    try:
        value = _decode(text)
    except BadJson:
        raise
    except ValueError:
        raise BadJson("syntax") from None
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8", "strict")
    except UnicodeEncodeError:
        raise BadJson("surrogate") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJson("duplicate_key")
    return members


def _integer(text: str) -> int:
    if len(text) - text.startswith("-") > MAX_INT_DIGITS:
        raise BadJson("number")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise BadJson("number")
    return number


def _constant(_text: str) -> float:
    raise BadJson("number")


_decode = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_integer,
    parse_float=_finite,
    parse_constant=_constant,
).decode
