"""The ground the invariants are proven on: gateways that may die at any moment, and a witness.

Nothing here looks into a gateway. What counts is the witness's file, the record and what agents
and reviewers were told over HTTP.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from approvals.record.history import Intact, verify
from tests.support.live_gateway import (
    DEPLOYED,
    ROOT,
    Site,
    Witness,
    end,
    eventually,
    free_port,
    witness,
)
from tests.support.patience import PATIENCE

DOWN = (ConnectionError, TimeoutError, http.client.HTTPException, OSError)
"""How a gateway that is not there, or just died, shows."""


class Nursery:
    """The process that forks gateways."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.gateway_nursery"],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if not k.startswith("SIGNOFF_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, site: Site, port: int) -> int:
        """A new gateway's pid; it may not listen yet."""
        environ = {"SIGNOFF_DATA": str(site.data), "SIGNOFF_PORT": str(port), **site.environ}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"environ": environ, "folder": str(site.folder)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        end(self._process, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass
class Gateway:
    """One gateway of a ground, at a port it keeps over its deaths."""

    ground: Ground
    port: int = field(default_factory=free_port)
    pid: int = 0

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.pid = self.ground.nursery.start(self.ground.site, self.port)
        eventually(self._answers)

    def send(self, sig: int) -> None:
        os.kill(self.pid, sig)

    def end(self, sig: int = signal.SIGKILL) -> None:
        """End it and wait until it is gone."""
        with suppress(ProcessLookupError):
            self.send(sig)
        eventually(lambda: not self.lives())

    def lives(self) -> bool:
        """Whether the process is there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def ask(
        self,
        method: str,
        path: str,
        token: str,
        document: Any = None,
        *,
        patience: float = PATIENCE,
    ) -> tuple[int, Any]:
        """Status and JSON of one request.

        Raises:
            DOWN: no whole answer came.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            body = None if document is None else json.dumps(document)
            body = document if isinstance(document, str) else body
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.headers.get_content_type() == "text/event-stream":
                content = _last_event(content)
            return answer.status, json.loads(content) if content else None
        finally:
            connection.close()

    def call(
        self, token: str, tool: str, *, patience: float = PATIENCE, **arguments: Any
    ) -> tuple[int, Any]:
        """One tools/call."""
        params = {"name": tool, "arguments": arguments}
        document = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        return self.ask("POST", "/mcp/w", token, document, patience=patience)

    def lists(self, token: str) -> bool:
        """Whether it has its server's tools: calls wait for a listing no longer than some seconds,
        which a busy machine may need.
        """
        document = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        try:
            status, answer = self.ask("POST", "/mcp/w", token, document)
        except DOWN:
            return False
        return status == 200 and "result" in answer

    def raw(self, token: str, tool: str, arguments: str) -> Any:
        """One tools/call whose arguments are sent as they are written."""
        call = f'{{"name": "{tool}", "arguments": {arguments}}}'
        text = f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {call}}}'
        return self.ask("POST", "/mcp/w", token, text)[1]

    def pending(self) -> list[dict[str, Any]]:
        """What waits for a decision."""
        status, found = self.ask("GET", "/api/v1/pending?limit=500", self.ground.reviewer)
        assert status == 200, found
        items: list[dict[str, Any]] = found["items"]
        return items

    def shown(self, approval: str) -> dict[str, Any]:
        """One approval as reviewers see it."""
        status, found = self.ask("GET", f"/api/v1/approvals/{approval}", self.ground.reviewer)
        assert status == 200, found
        return dict(found)

    def decide(self, approval: str, choice: str = "approve", token: str = "") -> tuple[int, Any]:
        path = f"/api/v1/approvals/{approval}/{choice}"
        press = {"revision": 1, "reason": "" if choice == "approve" else "No."}
        return self.ask("POST", path, token or self.ground.reviewer, press)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/healthz", "-")[0] == 200
        except DOWN:
            if not self.lives():
                raise RuntimeError(f"it died:\n{self.ground.site.log()}") from None
            return False


def _last_event(stream: bytes) -> bytes:
    """The last message of an SSE answer.

    Raises:
        ConnectionError: it broke off before the response.
    """
    data = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: ")]
    if not data or b'"id"' not in data[-1]:
        raise ConnectionError("the stream ended early")
    return data[-1]


@dataclass
class Ground:
    """One record, the witness, agents' grants and a reviewer."""

    site: Site
    witness: Witness
    nursery: Nursery
    agents: tuple[str, ...]
    reviewer: str
    other_reviewer: str

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        """A running gateway for the length of the block."""
        gateway = Gateway(self)
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.end()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the record says, read beside every gateway."""

        def read(connection: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

        with self.site.record() as database:
            return database.read_now(read)

    def assert_intact(self) -> None:
        """The history is whole, and no row says what the witness denies."""
        with self.site.record() as database:
            keys = database.keys
            found = database.read_now(lambda connection: verify(connection, keys))
        assert isinstance(found, Intact), found


@contextmanager
def ground(
    folder: Path, nursery: Nursery, *, tools: dict[str, Any], agents: int = 1, **environ: str
) -> Iterator[Ground]:
    """A record, a policy and a witness; no gateway yet."""
    usual = {"SIGNOFF_LIST_REFRESH": "3600", "SIGNOFF_HOLD": "0", "SIGNOFF_LEASE_SECONDS": "3"}
    site = Site(folder / "site", environ=DEPLOYED | usual | environ)
    site.folder.mkdir()
    site.policy(tools=tools)
    with witness(folder) as remembering:
        site.servers(w={"url": remembering.url})
        yield Ground(
            site=site,
            witness=remembering,
            nursery=nursery,
            agents=tuple(site.grant(f"agent-{place}") for place in range(agents)),
            reviewer=site.reviewer("alice"),
            other_reviewer=site.reviewer("bob"),
        )


def decision_of(answer: Any) -> dict[str, Any]:
    """What the gateway itself says of a refused call; {} for a server's own result."""
    found: dict[str, Any] = answer["result"].get("_meta", {}).get("dev.signoff/decision", {})
    return found


def text_of(answer: Any) -> str:
    return str(answer["result"]["content"][0]["text"])
