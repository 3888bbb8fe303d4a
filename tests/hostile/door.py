"""The door as an attacker finds it: raw requests to a running gateway, and what they caused."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hostile.evil import Evil
from tests.support.live_gateway import Site, Witness
from tests.support.patience import PATIENCE

VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def code(self) -> int | None:
        """The JSON-RPC error code."""
        return self.json.get("error", {}).get("code") if self.body else None

    @property
    def refused(self) -> bool:
        """The call was answered, and did not run."""
        result = self.json.get("result", {}) if self.status == 200 else {}
        return bool(result.get("isError")) and "dev.signoff/decision" in result.get("_meta", {})

    @property
    def text(self) -> str:
        return str(self.json["result"]["content"][0]["text"])


@dataclass(frozen=True)
class Caused:
    """All that can have come of a request."""

    executions: int
    requests: int
    evil: int
    pending: int


@dataclass(frozen=True)
class Door:
    """A gateway with two servers behind it, two agents and a reviewer."""

    site: Site
    witness: Witness
    evil: Evil
    token: str
    other: str
    reviewer: str

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.site.port}"

    @property
    def pid(self) -> int:
        assert self.site.process is not None
        return self.site.process.pid

    def raw(self, data: Iterable[bytes]) -> Answer | None:
        """Send bytes as they are; the answer, or None if the connection was closed without."""
        with socket.create_connection(("127.0.0.1", self.site.port), PATIENCE) as connection:
            try:
                for part in data:
                    connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the gateway has answered already
            return read_answer(connection)

    def send(
        self,
        body: bytes = b"",
        *,
        method: str = "POST",
        path: str = "/mcp/w",
        headers: Mapping[str, str | None] | None = None,
        extra: Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """One request with the usual headers; `headers` replaces them, None leaves one out."""
        usual: dict[str, str | None] = {
            "host": self.host,
            "authorization": f"Bearer {self.token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "content-length": str(len(body)),
            "connection": "close",
        }
        usual.update((name.lower(), value) for name, value in (headers or {}).items())
        lines = [f"{name}: {value}" for name, value in usual.items() if value is not None]
        lines += [f"{name}: {value}" for name, value in extra]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
        answer = self.raw([head.encode("utf-8") + body])
        assert answer is not None, "closed without an answer"
        return answer

    def caused(self) -> Caused:
        """So far."""
        headers = Path(f"{self.witness.file}.headers")
        return Caused(
            executions=len(self.witness.ran()),
            requests=headers.read_bytes().count(b"\n") if headers.exists() else 0,
            evil=len(self.evil.heard),
            pending=len(self.pending()),
        )

    def pending(self) -> list[dict[str, Any]]:
        answer = self.review("GET", "/api/v1/pending")
        assert answer.status == 200, answer
        items: list[dict[str, Any]] = answer.json["items"]
        return items

    def review(self, method: str, path: str, document: Any = None) -> Answer:
        """A request of the reviewer's program."""
        body = json.dumps(document).encode() if document is not None else b""
        headers = {"authorization": f"Bearer {self.reviewer}"}
        return self.send(body, method=method, path=path, headers=headers)

    def highest_memory(self) -> int:
        """The most the gateway ever held, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) // 1024


def message(method: str = "tools/call", params: Any = None, **more: Any) -> bytes:
    document = {"jsonrpc": "2.0", "id": 1, "method": method, **more}
    if params is not None:
        document["params"] = params
    return json.dumps(document).encode()


def call(name: Any = "free", arguments: Any = None, **params: Any) -> bytes:
    """A tools/call of the older revisions."""
    return message(params={"name": name, "arguments": arguments or {"key": "k"}, **params})


def modern(name: str = "free", **arguments: Any) -> tuple[bytes, dict[str, str]]:
    """A tools/call of 2026-07-28 and its headers."""
    body = call(name, arguments or {"key": "k"}, _meta=META)
    return body, {"mcp-protocol-version": VERSION, "mcp-method": "tools/call", "mcp-name": name}


def read_answer(connection: socket.socket) -> Answer | None:
    """The next answer on this connection; None: closed without one."""
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return None
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(body) < length or "transfer-encoding" in headers:
            part = connection.recv(1 << 20)
            if not part:
                break
            body += part
    except ConnectionResetError:
        return None
    return Answer(int(first.split()[1]), headers, body)
