"""Streams of a 2025-11-25 server: a listing stays one and stays filtered; one that the server
closes before the result of an approved call is come back to.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.protocol.sse import ServerSentEvent, SseParser
from tests.support.patience import PATIENCE
from tests.support.reference_gateway import Front, approving, gateway, reference

pytestmark = pytest.mark.xdist_group("conformance")
HIDDEN = "test_simple_text"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("listing")
    with (
        reference() as server,
        gateway(
            folder,
            {"url": server},
            hide=[HIDDEN],
            tools={"test_reconnection": {"require_approval": True}},
        ) as found,
    ):
        yield found


def ask(url: str, session: str = "", **message: Any) -> tuple[str, str, bytes]:
    """One POST: media type, session and body of the answer."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if session:
        headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - loopback
        headers = dict(answer.headers.items())
        return headers.get("content-type", ""), headers.get("mcp-session-id", ""), answer.read()


def opened(url: str) -> str:
    """A new session."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    _, session, _ = ask(url, id=1, method="initialize", params=params)
    ask(url, session, method="notifications/initialized")
    return session


def resumed(url: str, session: str, after: str) -> Iterator[ServerSentEvent]:
    headers = {
        "Accept": "text/event-stream",
        "Mcp-Session-Id": session,
        "MCP-Protocol-Version": "2025-11-25",
        "Last-Event-ID": after,
    }
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - loopback
        parser = SseParser()
        for line in answer:
            yield from parser.feed(line)


def names(event: ServerSentEvent) -> list[str]:
    result = json.loads(event.data or b"{}")["result"]
    return [tool["name"] for tool in result["tools"]]


def test_a_streamed_listing_is_streamed_and_filtered_and_so_is_its_repeat(front: Front) -> None:
    session = opened(front.url)
    kind, _, body = ask(front.url, session, id=2, method="tools/list", params={})
    assert kind == "text/event-stream"
    primed, listed = SseParser().feed(body)
    assert primed == ServerSentEvent(b"", primed.id, primed.event, 100)
    assert listed.id not in (None, primed.id)
    found = names(listed)
    assert HIDDEN not in found
    assert {"test_audio_content", "signoff_await_approval"} <= set(found)
    repeated = next(event for event in resumed(front.url, session, primed.id or "") if event.data)
    assert (repeated.id, names(repeated)) == (listed.id, found)


def test_the_result_of_an_approved_call_is_fetched_after_its_stream_was_closed(
    front: Front,
) -> None:
    session = opened(front.url)
    params = {"name": "test_reconnection", "arguments": {}}
    with approving(front.site) as desk:
        kind, _, body = ask(front.url, session, id=2, method="tools/call", params=params)
        ran = desk.events(event="claimed", tool="test_reconnection")
    assert (kind, len(ran)) == ("application/json", 1)
    assert json.loads(body)["result"]["content"][0]["text"] == "Reconnection test completed"
