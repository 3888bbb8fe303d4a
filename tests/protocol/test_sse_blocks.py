"""A stream cut at its blank lines: nothing is lost, and each block holds whole events."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocol.sse import Blocks, EventTooLarge, SseParser

PIECES = st.sampled_from(
    [b"data: a", b"id: 1", b": ping", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"x", b""]
)


def chunks(stream: bytes, cuts: list[int]) -> list[bytes]:
    return [stream[a:b] for a, b in pairwise([0, *sorted(cuts), len(stream)])]


@settings(max_examples=300, database=None, deadline=None)
@given(st.lists(PIECES, max_size=25), st.data())
def test_the_blocks_are_the_stream_and_hold_its_events(
    pieces: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(pieces)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    cutter = Blocks()
    blocks = [block for chunk in chunks(stream, cuts) for block in cutter.feed(chunk)]
    joined = b"".join(blocks)
    assert stream.startswith(joined)
    assert SseParser().feed(stream[len(joined) :]) == []
    events = [found for block in blocks for found in SseParser().feed(block)]
    assert events == SseParser().feed(stream)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\r\n\n"])
def test_a_block_is_given_as_soon_as_its_blank_line_is_there(end: bytes) -> None:
    cutter = Blocks()
    assert cutter.feed(b"data: a") == []
    assert cutter.feed(end + b"data: b") == [b"data: a" + end]
    assert cutter.feed(end) == [b"data: b" + end]


def test_a_block_beyond_the_bound_is_refused() -> None:
    cutter = Blocks(max_block=100)
    assert cutter.feed(b"data: " + b"x" * 90 + b"\n\n" + b"data: " + b"x" * 90) != []
    with pytest.raises(EventTooLarge):
        cutter.feed(b"x" * 90)
