"""The short ways of the hot path come out where the long ones do."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.digest import canonical, digest_of
from approvals.model import Call
from approvals.redact import masked, plain

KEY = b"k" * 32
ODD_TEXT = st.sampled_from(
    [
        "password", "api-key", "max_tokens", "PIN", "shopping", "secretary", "page_token", "otp",
        "sk-abcdefghijklmnop1234", "see ghp_aaaaaaaaaaaaaaaaaaaaaaaa", "Bearer abcdefgh12345678",
        "https://u:p@host", "-----BEGIN PRIVATE KEY-----", "xoxb-1234567890-abc",
    ]
)  # fmt: skip
TEXT = st.text(max_size=12) | ODD_TEXT | st.tuples(ODD_TEXT, st.text(max_size=4)).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "inf" not in repr(value).lower())


@given(st.dictionaries(TEXT, VALUES, max_size=4))
@settings(max_examples=400, deadline=None)
def test_what_is_plain_is_shown_as_it_is(arguments: dict[str, Any]) -> None:
    text = canonical(arguments)
    if plain(json.loads(text)):
        assert masked(text, (), key=KEY) == text.decode()


@given(st.lists(st.text(max_size=20), min_size=4, max_size=4), st.binary(max_size=20))
@settings(max_examples=400, deadline=None)
def test_a_calls_identity_is_that_of_its_canonical_head(names: list[str], arguments: bytes) -> None:
    grant, server, tool, tool_hash = names
    head = canonical(names)
    wanted = hashlib.sha256(b"signoff/call/1\n%d\n" % len(head) + head + arguments).hexdigest()
    call = Call(
        grant=grant,
        grant_label="",
        server=server,
        tool=tool,
        arguments=arguments,
        tool_hash=tool_hash,
    )
    assert wanted == digest_of(call)
