"""An agent of either revision that shows every byte it gets and says whatever it is told to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx2

from gateway.protocol.sse import SseParser

Json = dict[str, Any]
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/logLevel": "debug",
}


@dataclass
class Raw:
    """A raw agent of one revision at one URL, which shows every byte it is given."""

    url: str
    token: str
    modern: bool
    session: str = ""
    capabilities: Json = field(default_factory=dict)
    meta: Json = field(default_factory=dict)

    def headers(self, method: str = "", params: Json | None = None) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
        }
        if self.modern:
            headers |= {"MCP-Protocol-Version": VERSION, "Mcp-Method": method}
            key = {"resources/read": "uri"}.get(
                method, "taskId" if method[:5] == "tasks" else "name"
            )
            named = (params or {}).get(key)
            return headers | ({"Mcp-Name": named} if named else {})
        headers["MCP-Protocol-Version"] = "2025-11-25"
        return headers | ({"Mcp-Session-Id": self.session} if self.session else {})

    def open(self) -> None:
        if self.modern:
            return
        client = {"name": "raw", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        answer = self.post("initialize", params, number=0)
        self.session = answer.headers["mcp-session-id"]
        told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        answer = httpx2.post(self.url, json=told, headers=self.headers(), timeout=30)
        assert answer.content == b""  # what asks for nothing is answered with nothing

    def post(self, method: str, params: Json, number: int | str) -> httpx2.Response:
        meta: Json = {"progressToken": "mine", **self.meta}
        if self.modern:
            declared = {"io.modelcontextprotocol/clientCapabilities": self.capabilities}
            meta = {**META, **declared, **meta}
        body: Json = {"jsonrpc": "2.0", "id": number, "method": method}
        body["params"] = {**params, "_meta": meta} if method != "initialize" else params
        return httpx2.post(
            self.url, json=body, headers=self.headers(method, params), timeout=30
        )  # fmt: skip


def read(answer: httpx2.Response) -> list[Json]:
    """Every message of an answer, as the most lenient client would find them."""
    if answer.headers["content-type"] != "text/event-stream":
        return [answer.json()]
    parser = SseParser()
    lines = answer.text.splitlines()  # at everything that Python takes for the end of a line
    events = [event for line in lines for event in parser.feed(line.encode() + b"\n")]
    return [json.loads(event.data) for event in events if event.data]
