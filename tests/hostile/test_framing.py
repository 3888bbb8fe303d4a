"""T-10 and around: where a message begins and ends, and how much of it is ever kept."""

import pytest

from tests.hostile.door import Door, call


@pytest.mark.parametrize("chunked", [False, True])
def test_24_mb_are_refused_without_being_kept(door: Door, *, chunked: bool) -> None:
    before = door.caused()
    size = "transfer-encoding: chunked" if chunked else "content-length: 25165824"
    head = (
        f"POST /mcp/w HTTP/1.1\r\nhost: {door.host}\r\nauthorization: Bearer {door.token}\r\n"
        f"content-type: application/json\r\n{size}\r\n\r\n"
    )
    part = b" " * 65_536
    chunk = b"10000\r\n" + part + b"\r\n" if chunked else part
    answer = door.raw([head.encode(), *[chunk] * 384])
    assert answer is not None
    assert answer.status == 413
    assert door.highest_memory() < 400
    assert door.caused() == before


@pytest.mark.parametrize(
    "declared", ["-1", "+5", "0x10", "1e3", "5, 5", "99999999999999999999999", "", "five"]
)
def test_a_length_that_is_no_length_is_refused(door: Door, declared: str) -> None:
    before = door.caused()
    answer = door.send(call(), headers={"content-length": declared})
    assert answer.status in (400, 413)
    assert door.caused() == before


SMUGGLED = {
    "length and chunks": [("transfer-encoding", "chunked")],
    "chunks by another name": [("transfer-encoding", "xchunked")],
    "chunks, then not": [("transfer-encoding", "chunked, identity")],
    "two lengths": [("content-length", "3")],
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_a_body_of_two_lengths_is_refused(door: Door, case: str) -> None:
    before = door.caused()
    assert door.send(call(), extra=SMUGGLED[case]).status == 400
    assert door.caused() == before


def test_what_follows_the_body_as_trailers_is_no_header(door: Door) -> None:
    before = door.caused()
    body = call()
    head = (
        f"POST /mcp/w HTTP/1.1\r\nhost: {door.host}\r\ncontent-type: application/json\r\n"
        f"trailer: authorization\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    trailer = f"0\r\nauthorization: Bearer {door.token}\r\n\r\n"
    whole = head.encode() + b"%x\r\n" % len(body) + body + b"\r\n" + trailer.encode()
    answer = door.raw([whole])
    assert answer is not None
    assert answer.status == 401
    assert door.caused() == before
