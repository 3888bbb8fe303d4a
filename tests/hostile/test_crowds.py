"""T-82: connections are bounded in number, so that whoever opens many keeps nobody else out."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator

import pytest

from tests.hostile.door import Answer, Door, call, read_answer
from tests.hostile.evil import Evil
from tests.support.live_gateway import SIGNOFF, Site, eventually, witness
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.xdist_group("crowds")

FILES = 512
"""As little as the gateway may open: every bound is reached soon, and no test opens thousands."""

LITTLE = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))"
LIMITED = (sys.executable, "-c", f"{LITTLE}; os.execv(sys.argv[1], sys.argv[1:])", str(SIGNOFF))


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway that may open few files."""
    folder = tmp_path_factory.mktemp("crowds")
    with witness(folder) as remembering:
        site = Site(folder / "site", environ={"SIGNOFF_HOLD": "600"}, signoff=LIMITED)
        site.folder.mkdir()
        site.policy(tools={"free": {}, "held": {"require_approval": True}})
        site.servers(w={"url": remembering.url})
        tokens = site.grant("a"), site.grant("b")
        door = Door(site, remembering, Evil(0), *tokens, site.reviewer())
        site.start()
        try:
            yield door
        finally:
            site.stop()


@contextlib.contextmanager
def opened(door: Door, number: int, data: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each with a request that is not waited for."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(number):
            address = ("127.0.0.1", door.site.port)
            connection = stack.enter_context(socket.create_connection(address, PATIENCE))
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(data)
            found.append(connection)
        yield found


def request(door: Door, token: str, body: bytes = b"") -> bytes:
    head = f"POST /mcp/w HTTP/1.1\r\nhost: {door.host}\r\nauthorization: Bearer {token}\r\n"
    kind = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return (head + kind).encode() + body


def others_are_served(door: Door) -> None:
    others = {"authorization": f"Bearer {door.other}"}
    assert door.send(call("free", {"key": "others"}), headers=others).status == 200
    assert door.review("GET", "/api/v1/pending").status == 200


def answered(connection: socket.socket) -> Answer | None:
    try:
        return read_answer(connection)
    except ConnectionResetError:
        return None


def test_idle_connections_of_strangers_keep_nobody_out(little: Door) -> None:
    with opened(little, 2 * FILES, request(little, "nobody")) as connections:
        last = connections[-1]
        assert eventually(lambda: answered(last)) is not None
        others_are_served(little)


def test_a_grant_takes_its_share_of_requests_at_once(little: Door) -> None:
    held = request(little, little.token, call("held", {"key": "crowd"}))
    with opened(little, FILES, held) as connections:
        others_are_served(little)
        refused = [answered(one) for one in connections[FILES // 2 :]]
        statuses = {one.status for one in refused if one is not None}
        assert statuses == {429}
        told = next(one for one in refused if one is not None)
        assert "at once" in told.json["error"]["message"]
        assert int(told.headers["retry-after"]) > 0
        assert len(little.pending()) == 1  # those that were there wait on

    def again() -> bool:
        return little.send(call("free", {"key": "mine"})).status == 200

    eventually(again)  # whose agent has left, its places are free
