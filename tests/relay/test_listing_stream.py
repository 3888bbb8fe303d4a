"""A listing that the server streams stays a stream, and what is hidden stays hidden in it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.relay.sse import Event, SseParser
from tests.conformance.stage import gateway, reference

pytestmark = pytest.mark.xdist_group("conformance")
HIDDEN = "test_simple_text"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("listing")
    with (
        reference() as server,
        gateway(
            folder,
            {"url": server},
            hide=[HIDDEN],
            tools={"test_image_content": {"require_approval": True}},
        ) as found,
    ):
        yield found


def ask(url: str, session: str = "", **message: Any) -> tuple[str, str, list[Event]]:
    """One POST: media type, session and the events of the answer."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if session:
        headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        events = SseParser().feed(answer.read())
        return answer.headers["Content-Type"], answer.headers.get("Mcp-Session-Id", ""), events


def resumed(url: str, session: str, after: str) -> Iterator[Event]:
    headers = {
        "Accept": "text/event-stream",
        "Mcp-Session-Id": session,
        "MCP-Protocol-Version": "2025-11-25",
        "Last-Event-ID": after,
    }
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        parser = SseParser()
        for line in answer:
            yield from parser.feed(line)


def names(event: Event) -> list[str]:
    result = json.loads(event.data or b"{}")["result"]
    return [tool["name"] for tool in result["tools"]]


def test_a_streamed_listing_is_streamed_and_filtered_and_so_is_its_repeat(url: str) -> None:
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    _, session, _ = ask(url, id=1, method="initialize", params=params)
    ask(url, session, method="notifications/initialized")
    kind, _, (primed, listed) = ask(url, session, id=2, method="tools/list", params={})
    assert kind == "text/event-stream"
    assert primed == Event(b"", primed.id, primed.event, 100)
    assert listed.id not in (None, primed.id)
    found = names(listed)
    assert HIDDEN not in found
    assert {"test_audio_content", "signoff_await_approval"} <= set(found)
    repeated = next(event for event in resumed(url, session, primed.id or "") if event.data)
    assert (repeated.id, names(repeated)) == (listed.id, found)
