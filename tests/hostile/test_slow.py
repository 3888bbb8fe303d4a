"""T-80 to T-82: connections that only take up room are ended, and others do not notice."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.hostile.door import Door, call, read_answer
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE

HEAD = "POST /mcp/w HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n"
JSON = "content-type: application/json\r\n"


@contextlib.contextmanager
def connected(door: Door, data: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", door.site.port), PATIENCE) as connection:
        connection.sendall(data)
        yield connection


def _filled(text: str, door: Door) -> bytes:
    return text.replace("{host}", door.host).replace("{token}", door.token).encode()


def _ended(connection: socket.socket) -> bool:
    """Whether the other side has closed."""
    connection.setblocking(False)
    try:
        return connection.recv(65_536, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_300_half_open_connections_keep_nobody_waiting(door: Door) -> None:
    head = _filled(HEAD, door)
    body = _filled(HEAD + JSON + "content-length: 99\r\n\r\n{", door)
    beginnings = [b"", head[:20], head, body]
    with contextlib.ExitStack() as stack:
        for place in range(300):
            stack.enter_context(connected(door, beginnings[place % 4]))
        assert door.send(call("free", {"key": "others"})).status == 200


SLOW = {
    "nothing": "",
    "half a head": HEAD,
    "half a body": HEAD + JSON + "content-length: 99\r\n\r\n{",
    "half a chunked body": HEAD + JSON + "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    "a body no one waits for": HEAD.replace("{token}", "x") + "content-length: 99\r\n\r\n{",
    "empty lines": "\r\n\r\n",
}


@pytest.mark.slow
def test_a_request_that_does_not_arrive_is_ended(door: Door) -> None:
    before = door.caused()
    with contextlib.ExitStack() as stack:
        waiting = {
            name: stack.enter_context(connected(door, _filled(text, door)))
            for name, text in SLOW.items()
        }
        for name, connection in waiting.items():
            if name == "a body no one waits for":
                refused = read_answer(connection)
                assert refused is not None
                assert refused.status == 401
        eventually(lambda: all(_ended(one) for one in waiting.values()))
    assert door.caused() == before


ENDLESS = {
    "a header": (HEAD, b"x-long: " + b"a" * 65_536, b"a" * 65_536),
    "many headers": (HEAD, b"", b"".join(b"x-%d: 1\r\n" % n for n in range(6_000))),
    "an address": ("", b"GET /", b"a" * 65_536),
    "a method": ("", b"", b"A" * 65_536),
    "a trailer": (
        HEAD + JSON + "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"x: ", b"a" * 65_536
    ),
    "a chunk's extension": (
        HEAD + JSON + "transfer-encoding: chunked\r\n\r\n", b"1;x=", b"a" * 65_536
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDLESS)
def test_a_head_without_end_is_not_kept(door: Door, case: str) -> None:
    before = door.caused()
    head, opening, more = ENDLESS[case]
    with connected(door, _filled(head, door) + opening) as connection:
        sent = 0
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while sent < 64_000_000:
                connection.sendall(more)
                sent += len(more)
        assert sent < 16_000_000, "it was taken"
    assert door.highest_memory() < 400
    assert door.caused() == before
