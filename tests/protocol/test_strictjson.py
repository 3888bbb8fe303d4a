"""Strict JSON: the same value as the standard library, or a refusal that names its kind."""

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from approvals.digest import canonical
from gateway.protocol.strict_json import (
    MAX_DEPTH,
    MAX_INT_DIGITS,
    BadJson,
    Kind,
    deeper_than,
    strict_loads,
)
from tests.protocol.exact import same

QUICK = settings(max_examples=300, database=None, deadline=None)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def kind_of(body: bytes) -> Kind | None:
    try:
        strict_loads(body)
    except BadJson as bad:
        return bad.kind
    return None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        # T-14 encodings
        (b"\xef\xbb\xbf{}", "encoding"),
        ("{}".encode("utf-16"), "encoding"),
        ("{}".encode("utf-16-le"), "encoding"),
        ("{}".encode("utf-16-be"), "encoding"),
        ("{}".encode("utf-32"), "encoding"),
        ("{}".encode("utf-32-be"), "encoding"),
        (b'"\xff"', "encoding"),
        (b'"\xc0\xaf"', "encoding"),
        (b'"\xe0\x80\xaf"', "encoding"),
        (b'"\xed\xa0\xbd\xed\xb8\x80"', "encoding"),
        (b'"\xf4\x90\x80\x80"', "encoding"),
        (b'"\xe2\x82"', "encoding"),
        (b'{"a":"\x00"}', "encoding"),
        (b"{}\x00", "encoding"),
        # syntax
        (b"", "syntax"),
        (b" ", "syntax"),
        (b"{} {}", "syntax"),
        (b"{}x", "syntax"),
        (b"{,}", "syntax"),
        (b'{"a":1,}', "syntax"),
        (b"[1,]", "syntax"),
        (b"{a:1}", "syntax"),
        (b"{'a':1}", "syntax"),
        (b'"\x01"', "syntax"),
        (b'"a\nb"', "syntax"),
        (b'"\\x41"', "syntax"),
        (b'"\\u00g0"', "syntax"),
        (b'"\\U0041"', "syntax"),
        (b"// x\n{}", "syntax"),
        (b"\x0c{}", "syntax"),
        ("\u00a0{}".encode(), "syntax"),
        (b"True", "syntax"),
        (b'"unfinished', "syntax"),
        (b'"\\', "syntax"),
        (b"[[[", "syntax"),
        # T-12 numbers
        (b"NaN", "number"),
        (b"[Infinity]", "number"),
        (b'{"a":-Infinity}', "number"),
        (b"1e400", "number"),
        (b"-1e400", "number"),
        (b"1" * 400 + b".0", "number"),
        (b"9" * 5000, "number"),
        (b"-" + b"9" * (MAX_INT_DIGITS + 1), "number"),
        (b"01", "syntax"),
        (b"-01", "syntax"),
        (b"0x10", "syntax"),
        (b"+1", "syntax"),
        (b".5", "syntax"),
        (b"1.", "syntax"),
        (b"1_000", "syntax"),
        ("\u0661".encode(), "syntax"),
        # T-15 half surrogates, as value, key, and in the wrong order
        (rb'"\ud800"', "surrogate"),
        (rb'{"\udfff":1}', "surrogate"),
        (rb'["\udc00\ud800"]', "surrogate"),
        (rb'"\ud800\u0041"', "surrogate"),
        (rb'[12345678901234567890,"\uD800"]', "surrogate"),
        # T-05 keys given twice
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a" : 1 , "a"\n:\t2}', "duplicate_key"),
        (rb'{"name":1,"\u006eame":2}', "duplicate_key"),
        (rb'{"a/b":1,"a\/b":2}', "duplicate_key"),
        (b'[[{"x":{"":1,"":2}}]]', "duplicate_key"),
        (b'{"a":1,"b":":","a":2}', "duplicate_key"),
        (rb'{"a":1,"a":2,"b":"\u003a\u003A"}', "duplicate_key"),
        (rb'{"a":1,"a":"\"\u003a","b":"\":"}', "duplicate_key"),
        (rb'{"\u003a":1,":":2}', "duplicate_key"),
        (b'{"a":12345678901234567890123,"a":1}', "duplicate_key"),
        ('{"é":1,"\\u00e9":2}'.encode(), "duplicate_key"),
    ],
)
def test_a_text_with_two_readings_is_refused(body: bytes, kind: Kind) -> None:
    assert kind_of(body) == kind


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"A":2}',  # keys are bytes, not words
        '{"é":1,"e\u0301":2}'.encode(),  # nor are they normalised
        b'{"a:b":"c:d","\\":":"{}[]\\\\"}',
        rb'{"\u003a":"\u003c\u003a","b":["\ud83d\ude00","\u007f"]}',
        b' \t\r\n{"a" : [ ] }\n',
        b'"\x7f"',
        b"-0",
        b"-0.0",
        b"1e-400",
        b"1E+2",
        b"[9007199254740993,18446744073709551617,-9223372036854775809]",
        b"[9223372036854775807,-9223372036854775808,18446744073709551615]",
        b"[0.1,1.7976931348623157e308,5e-324,0.1000000000000000055511151231257827]",
        b'{"id":"12345678901234567890123456789"}',
        b"9" * MAX_INT_DIGITS,
        b"null",
    ],
)
def test_an_accepted_text_reads_as_the_standard_library_reads_it(body: bytes) -> None:
    assert same(strict_loads(body), json.loads(body))


@pytest.mark.parametrize("number", [2**53 + 1, 2**64 + 1, -(2**64) - 1, 10**999, 0.1, -0.0, 1e22])
def test_numbers_arrive_equal_after_canonical_json(number: float) -> None:
    text = canonical({"amount": number})
    assert same(strict_loads(text), {"amount": number})
    assert canonical(strict_loads(text)) == text


@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"]":', b"}]")]
)
def test_nesting_counts_arrays_and_objects_alike(opening: bytes, closing: bytes) -> None:
    levels = opening.count(b"[") + opening.count(b"{")
    fits = MAX_DEPTH // levels
    assert kind_of(opening * fits + b"1" + closing * fits) is None
    assert kind_of(opening * (fits + 1) + b"1" + closing * (fits + 1)) == "nesting"


@pytest.mark.parametrize("depth", [200, 1_000, 10_000, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"\\"[":['])
def test_deep_nesting_is_refused_before_anything_is_built(depth: int, opening: bytes) -> None:
    assert kind_of(opening * depth) == "nesting"


def test_brackets_in_strings_are_no_nesting_and_wide_is_not_deep() -> None:
    assert kind_of(b'["' + b"[{" * 500 + b'"]') is None
    assert kind_of(b'["' + rb"\\\"[" * 500 + b'"]') is None
    assert kind_of(b"[" + b",".join([b"[{}]"] * 5000) + b"]") is None


def test_a_bracket_after_a_false_escape_cannot_hide_nesting() -> None:
    assert kind_of(b'"\\\\"' + b"[" * 100) == "nesting"
    assert kind_of(b'["\\\\",' + b"[" * 100 + b"]" * 101) == "nesting"


@QUICK
@given(VALUES)
def test_every_json_value_is_accepted_and_kept(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        read = strict_loads(text.encode())
        assert same(read, json.loads(text))
        assert same(strict_loads(canonical(read)), json.loads(canonical(read)))
        assert canonical(strict_loads(canonical(read))) == canonical(read)


@QUICK
@given(
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from("rgef"), st.integers(0, 25)
)
def test_a_float_reads_as_python_reads_it_however_it_is_written(
    number: float, style: str, digits: int
) -> None:
    text = repr(number) if style == "r" else f"{number:.{digits}{style}}"
    assume(math.isfinite(float(text)))  # 1.5e308 rounds up beyond range
    assert same(strict_loads(text.encode()), json.loads(text))


PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b'"',
        b"\\",
        b'\\"',
        b"\\u003a",
        b"\\u0061",
        b"\\ud800",
        b'"a"',
        b'"a":',
        b'"b":1',
        b"1",
        b"-",
        b"0",
        b".",
        b"e9",
        b"1" * 19,
        b"NaN",
        b" ",
        b"\n",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xa9",
        b"\xff",
        b"\x00",
        b"true",
        b"null",
        b"[" * 65,
    ]
)


@settings(max_examples=1500, database=None, deadline=None)
@given(st.lists(PIECES, max_size=14).map(b"".join) | st.binary(max_size=40))
def test_any_bytes_read_as_json_loads_reads_them_or_are_refused(body: bytes) -> None:
    try:
        value = strict_loads(body)
    except BadJson:
        return
    assert same(value, json.loads(body))


@QUICK
@given(st.data(), VALUES.filter(lambda value: isinstance(value, dict) and bool(value)))
def test_a_repeated_key_is_refused_wherever_it_stands(data: st.DataObject, value: Any) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    spelled = data.draw(
        st.sampled_from([json.dumps(key), "".join(f"\\u{u:04x}" for u in utf16(key)).join('""')])
    )
    other = data.draw(VALUES)
    members = [f"{json.dumps(name)}:{json.dumps(member)}" for name, member in value.items()]
    at = data.draw(st.integers(0, len(members)))
    members.insert(at, f"{spelled} : {json.dumps(other)}")
    wrapped = data.draw(st.sampled_from(["%s", "[%s]", '{"outer":{"x:":[%s]}}'])) % (
        "{" + ",".join(members) + "}"
    )
    assert kind_of(wrapped.encode()) == "duplicate_key"


def utf16(text: str) -> list[int]:
    raw = text.encode("utf-16-be")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]


@QUICK
@given(
    VALUES,
    st.integers(0, 6),
    st.sampled_from(["", "[", '"', "\\", "]]", '\\"[', "{[" * 9]),
)
def test_how_deep_a_text_stands_is_what_its_values_say(
    value: Any, depth: int, hostile: str
) -> None:
    def deepest(inner: Any) -> int:
        if isinstance(inner, dict):
            return 1 + max(map(deepest, inner.values()), default=0)
        return 1 + max(map(deepest, inner), default=0) if isinstance(inner, list) else 0

    value = {hostile: value, "x": [hostile, {"y" + hostile: hostile}]}
    body = json.dumps(value).encode()
    assert deeper_than(body, depth) == (deepest(value) > depth)
