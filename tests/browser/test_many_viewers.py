"""A thousand open pages hear of an event over real connections, also while one never reads."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from tests.browser.conftest import Site
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.figure

VIEWERS = 1000
EVENT = b"event: change"


@pytest.fixture
def watchers(site: Site) -> Iterator[list[socket.socket]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * VIEWERS:
        pytest.skip(f"this machine allows {hard} open files: a thousand viewers need more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8 * VIEWERS), hard))
    site.do(site.scene.people.add("alice", role="viewer"))
    token = site.do(site.scene.people.token("alice"))
    asked = (
        f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
        f"Authorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
    ).encode()
    opened = []
    for _ in range(VIEWERS):
        one = socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE)
        one.sendall(asked)
        opened.append(one)
    yield opened
    for one in opened:
        one.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def until(watchers: list[socket.socket], word: bytes, seconds: float) -> float:
    """How long until every one of them has received the word."""
    began = time.monotonic()
    heard = dict.fromkeys(watchers, b"")
    with selectors.DefaultSelector() as selector:
        for one in watchers:
            one.setblocking(False)
            selector.register(one, selectors.EVENT_READ)
        while selector.get_map():
            left = began + seconds - time.monotonic()
            assert left > 0, f"{len(selector.get_map())} of {len(watchers)} heard nothing"
            for key, _ in selector.select(left):
                watcher = key.fileobj
                assert isinstance(watcher, socket.socket)
                heard[watcher] += watcher.recv(65_536)
                if word in heard[watcher]:
                    selector.unregister(watcher)
    return time.monotonic() - began


def test_a_thousand_viewers_hear_it_although_one_never_reads(
    site: Site, watchers: list[socket.socket]
) -> None:
    until(watchers, b"event: beat", PATIENCE)
    silent, reading = watchers[0], watchers[1:]
    took = []
    for number in range(5):
        site.scene.held("git_commit", {"message": str(number)})
        took.append(until(reading, EVENT, PATIENCE))
    print(f"{len(reading)} viewers heard it after {max(took):.2f} s at most")
    assert silent.fileno() >= 0
