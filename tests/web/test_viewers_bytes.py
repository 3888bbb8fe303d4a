"""Bytes in base64: told by what they are, drawn or read out where that is safe."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.web.test_viewers import encoded, now, png, read
from web.views.viewers.blob import blob_of
from web.views.viewers.pictures import picture_of


def test_bytes_are_told_by_kind_size_digest_and_beginning() -> None:
    content = b"%PDF-1.7\n" + bytes(range(256)) * 4
    for text in (encoded(content), f"data:application/pdf;base64,{encoded(content)}"):
        found = read("file", text)
        assert found.form == "bytes"
        assert found.blob is not None
        assert (found.blob.kind, found.blob.size) == ("PDF document", len(content))
        assert found.blob.sha256 == hashlib.sha256(content).hexdigest()
        assert found.blob.first.startswith("25 50 44 46")
        assert found.text == text


def test_a_program_in_base64_is_read_out() -> None:
    script = "Get-ChildItem C:\\ | Remove-Item -Recurse -Force # everything, at once"
    for coding in ("utf-8", "utf-16-le"):
        found = read("payload", encoded((script * 2).encode(coding)))
        assert "".join(now(line.spans) for line in found.lines) == script * 2


def test_what_looks_like_a_secret_is_not_read_out_of_bytes() -> None:
    found = read("payload", encoded(b"the token is sk_live_abcdefghijk123456, and more text " * 3))
    assert found.blob is not None
    assert "sk_live" not in found.blob.reads
    assert found.lines == ()
    assert found.blob.why == "Not read out: something in it looks like a secret."


@pytest.mark.parametrize(
    "text",
    [
        "5f" * 64, "a" * 400, "the quick brown fox " * 10, "https://example.com/" + "a/b" * 60,
        "[redacted, 900 chars, fp 1a2b3c4d]" * 6, "data:text/plain,hello" + "o" * 60,
    ],
)  # fmt: skip
def test_ordinary_long_texts_are_not_taken_for_bytes(text: str) -> None:
    assert blob_of(text) is None


GIF = b"GIF89a\x10\x00\x08\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x10\x00\x08\x00\x00"
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x0f\x00\x00\x07\x00\x00"
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08\x00\x08\x00\x10" + b"\x00" * 20


@pytest.mark.parametrize(
    ("content", "media"),
    [(png(16, 8), "png"), (GIF, "gif"), (WEBP, "webp"), (JPEG, "jpeg")],
    ids=["png", "gif", "webp", "jpeg"],
)
def test_a_small_picture_is_drawn_from_the_bytes_that_are_sent(content: bytes, media: str) -> None:
    found = blob_of(f"data:image/svg+xml;base64,{encoded(content)}")  # what it is, not what it says
    assert found is not None
    assert found.source == f"data:image/{media};base64,{encoded(content)}"
    assert found.picture is not None
    assert (found.picture.width, found.picture.height) == (16, 8)


def test_no_svg_no_giant_and_no_large_picture_is_drawn() -> None:
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>" * 2
    found = blob_of(f"data:image/svg+xml;base64,{encoded(svg)}")
    assert found is not None
    assert (found.kind, found.source) == ("SVG, not drawn", "")
    for content, why in (
        (png(60_000, 60_000), "too many points"),
        (png(0, 9), "too many points"),
        (GIF.replace(b"\x2c\x00\x00\x00\x00\x10\x00", b"\x2c\x00\x00\x00\x00\xff\xff"), "points"),
        (png(16, 8) + bytes(200 * 1024), "larger than 200 kB"),
    ):
        drawn = blob_of(f"data:image/png;base64,{encoded(content)}")
        assert drawn is not None
        assert drawn.source == ""
        assert why in drawn.why


@given(
    st.binary(max_size=64), st.sampled_from([png(1, 1)[:8], GIF[:6], b"\xff\xd8\xff", WEBP[:16]])
)
@settings(max_examples=200, deadline=None)
def test_any_broken_picture_is_just_not_one(rest: bytes, begin: bytes) -> None:
    picture_of(begin + rest)
