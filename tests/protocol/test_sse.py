"""Server-sent events: any cut of a stream gives the same events, and data cannot forge one."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocol.sse import EventTooLarge, ServerSentEvent, SseParser, event

QUICK = settings(max_examples=300, database=None, deadline=None)


def read(*chunks: bytes) -> list[ServerSentEvent]:
    parser = SseParser()
    return [found for chunk in chunks for found in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [ServerSentEvent(b"a")]),
        (b"data: a\r\n\r\n", [ServerSentEvent(b"a")]),
        (b"data: a\r\r", [ServerSentEvent(b"a")]),
        (b"data:a\n\ndata:  b\n\n", [ServerSentEvent(b"a"), ServerSentEvent(b" b")]),
        (b"data: a\r\ndata: b\rdata: c\n\n", [ServerSentEvent(b"a\nb\nc")]),
        (b"data\n\n", [ServerSentEvent(b"")]),
        (b"data\ndata\n\n", [ServerSentEvent(b"\n")]),
        (b"\xef\xbb\xbfdata: a\n\n", [ServerSentEvent(b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [ServerSentEvent(b"a")]),
        (b": ping\r\n\r\n", []),
        (b":\n\n\n\n", []),
        (b": ping\ndata: a\n: ping\n\n", [ServerSentEvent(b"a")]),
        (
            b"id: 1\nevent: message\nretry: 500\ndata: a\n\n",
            [ServerSentEvent(b"a", "1", "message", 500)],
        ),
        (b"id: 1\nretry: 500\ndata:\n\n", [ServerSentEvent(b"", "1", None, 500)]),
        (b"id: 1\n\n", [ServerSentEvent(None, "1")]),
        (b"id\ndata: a\n\n", [ServerSentEvent(b"a", "")]),
        (b"id: 1\nid: a\x00b\ndata: a\n\n", [ServerSentEvent(b"a", "1")]),
        (b"retry: 5s\ndata: a\n\n", [ServerSentEvent(b"a")]),
        (b"retry: -5\ndata: a\n\n", [ServerSentEvent(b"a")]),
        (b"retry: " + b"9" * 5000 + b"\ndata: a\n\n", [ServerSentEvent(b"a")]),
        (b"Data: a\nfoo: b\n data: c\n\n", []),
        (b"data: a: b\n\n", [ServerSentEvent(b"a: b")]),
        (b"data: \xff\nid: \xff\n\n", [ServerSentEvent(b"\xff", "\ufffd")]),
        (b"data: broken off\n", []),
        (b"data: broken off", []),
        (b"", []),
    ],
)
def test_a_stream_reads_as_the_standard_says_however_it_is_cut(
    stream: bytes, events: list[ServerSentEvent]
) -> None:
    assert read(stream) == events
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == events
    assert read(*(stream[at : at + 2] for at in range(0, len(stream), 2))) == events


def test_an_empty_chunk_between_cr_and_lf_changes_nothing() -> None:
    assert read(b"data: a\r", b"", b"\ndata: b\r", b"", b"\n\r\n") == [ServerSentEvent(b"a\nb")]


PIECES = st.sampled_from(
    [
        b"data: x",
        b"data:",
        b"id: 1",
        b"event: e",
        b"retry: 1",
        b":c",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        b"\x00",
        b"\xff",
    ]
)


@QUICK
@given(st.lists(PIECES, max_size=25), st.data())
def test_chunk_borders_carry_no_meaning(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    assert read(*chunks) == read(stream)


@pytest.mark.parametrize("cut", [1, 7, 10_000])
@pytest.mark.parametrize(
    "stream", [b"data: " + b"x" * 2000, b"data: xxx\n" * 300, b": " + b"x" * 2000, b"id: 1\n" * 999]
)
def test_an_event_beyond_the_bound_is_refused_before_it_is_held(stream: bytes, cut: int) -> None:
    parser = SseParser(max_event=1000)
    chunks = [stream[at : at + cut] for at in range(0, len(stream), cut)]
    with pytest.raises(EventTooLarge):
        all(parser.feed(chunk) == [] for chunk in chunks)


def test_the_bound_is_for_one_event_not_for_the_stream() -> None:
    parser = SseParser(max_event=100)
    assert len(parser.feed((b": ping\n" * 50 + b"data: " + b"x" * 80 + b"\n\n") * 50)) == 50


DATA = st.text().map(lambda text: text.encode("utf-8", "replace")) | st.binary()
LINE = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00"))


@QUICK
@given(DATA, LINE, LINE, st.none() | st.integers(0, 10**8))
def test_one_event_written_is_one_event_read(
    data: bytes, id_: str | None, name: str | None, retry: int | None
) -> None:
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found = read(event(data, id_, name, retry))
    assert found == [ServerSentEvent(lines, id_, name or None, retry)]


@pytest.mark.parametrize("forged", ["a\nb", "a\rb", "\x00", "a\n\ndata: x"])
def test_a_name_or_id_over_two_lines_is_refused(forged: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        event(b"", id=forged)
    with pytest.raises(ValueError, match="one line"):
        event(b"", event=forged)
