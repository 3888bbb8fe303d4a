"""An agent of 2026-07-28 as bare requests: what is sent is in sight, what comes back is whole.

Each call of `Agent.ask` is one POST. Nothing is remembered between two, so leaving and coming back
is making another one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE

TASKS: Final = "io.modelcontextprotocol/tasks"
VERSION: Final = "2026-07-28"
ENDED: Final = ("completed", "failed", "cancelled")
NAMED: Final = {
    "tools/call": "name",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """One answer: HTTP status and JSON-RPC message."""

    status: int
    message: Json

    @property
    def result(self) -> Json:
        assert "result" in self.message, self.message
        found: Json = self.message["result"]
        return found

    @property
    def error(self) -> Json:
        assert "error" in self.message, self.message
        found: Json = self.message["error"]
        return found

    @property
    def text(self) -> str:
        return "\n".join(block["text"] for block in self.result["content"])


@dataclass
class Agent:
    """One grant, at one server behind a gateway."""

    url: str
    token: str
    tasks: bool = True
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def ask(self, method: str, headers: Json | None = None, **params: Any) -> Reply:
        """One request; the answer may come as JSON or as the last event of a stream."""
        body = self.body(method, params)
        with httpx2.Client(timeout=PATIENCE) as http:
            answer = http.post(self.url, json=body, headers=self.headers(body, headers))
        return Reply(answer.status_code, _last(answer))

    def call(self, tool: str, *, more: Json | None = None, **arguments: Any) -> Reply:
        """tools/call; `more` are params beside name and arguments."""
        return self.ask("tools/call", name=tool, arguments=arguments, **(more or {}))

    def begin(self, tool: str, **arguments: Any) -> str:
        """A call that becomes a task; its id."""
        result = self.call(tool, **arguments).result
        assert result["resultType"] == "task", result
        assert result["status"] == "working"
        return str(result["taskId"])

    def get(self, task: str) -> Json:
        return self.ask("tasks/get", taskId=task).result

    def update(self, task: str, **answers: Any) -> Reply:
        return self.ask("tasks/update", taskId=task, inputResponses=answers)

    def cancel(self, task: str) -> Reply:
        return self.ask("tasks/cancel", taskId=task)

    def until(self, task: str, *statuses: str, seconds: float = PATIENCE) -> Json:
        """The task once its status is one of these."""

        def look() -> Json | None:
            found = self.get(task)
            return found if found["status"] in statuses else None

        return eventually(look, seconds)

    def ended(self, task: str, seconds: float = PATIENCE) -> Json:
        return self.until(task, *ENDED, seconds=seconds)

    @contextmanager
    def listen(self, **wanted: Any) -> Iterator[Iterator[Json]]:
        """A subscription; its messages as they come."""
        body = self.body("subscriptions/listen", {"notifications": wanted})
        with (
            httpx2.Client(timeout=PATIENCE) as http,
            http.stream("POST", self.url, json=body, headers=self.headers(body)) as stream,
        ):
            assert stream.headers["content-type"] == "text/event-stream", stream.read()
            yield (
                json.loads(line.removeprefix("data: "))
                for line in stream.iter_lines()
                if line.startswith("data: ")
            )

    def body(self, method: str, params: Json) -> Json:
        extensions: Json = {"extensions": {TASKS: {}}} if self.tasks else {}
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "bare", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, **extensions},
        }
        return {
            "jsonrpc": "2.0",
            "id": next(self._ids),
            "method": method,
            "params": {**params, "_meta": meta},
        }

    def headers(self, body: Json, more: Json | None = None) -> dict[str, str]:
        named = NAMED.get(body["method"])
        name = {"Mcp-Name": str(body["params"].get(named))} if named else {}
        return {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": body["method"],
            **name,
            **(more or {}),
        }


def _last(answer: httpx2.Response) -> Json:
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        data = [line for line in answer.text.splitlines() if line.startswith("data: ")]
        found: Json = json.loads(data[-1].removeprefix("data: "))
    else:
        found = answer.json() if answer.content else {}
    return found
