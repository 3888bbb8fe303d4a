"""Real MCP clients as processes of their own, and the reviewer who decides beside them.

An `Agent` is one script of tests/clients, told what to do line by line. Nothing here knows what a
right answer is.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from tests.support import forked
from tests.support.live_gateway import ROOT, Process, end, eventually
from tests.support.patience import PATIENCE

CLIENTS = ("py2-legacy", "py2-modern", "py1", "ts1", "ts2-legacy", "ts2-auto")
DECISION = "dev.signoff/decision"

_MCP1 = ROOT / ".venv-mcp1" / "bin" / "python"
_NODE = ROOT / "tests" / "clients" / "node_modules" / ".bin" / "node"
_SDK = ROOT / "tests" / "clients" / "node_modules" / "@modelcontextprotocol"


def command(client: str) -> list[str]:
    """How this client is started; its URL and token follow. Skips where it is not installed. A
    client in this interpreter is a module's name alone.
    """
    match client:
        case "py2-legacy" | "py2-modern":
            mode = "legacy" if client == "py2-legacy" else "auto"
            return ["tests.clients.py2_client", mode]
        case "py2-tasks":
            return ["tests.clients.py2_tasks_client"]
        case "py1":
            if not _MCP1.exists():
                pytest.skip("mcp 1.x is not installed: make setup")
            return [str(_MCP1), "-m", "tests.clients.py1_client"]
        case _:
            node = str(_NODE) if _NODE.exists() else shutil.which("node")
            if node is None or not (_SDK / "client").exists():
                pytest.skip("Node and the TypeScript SDK are not installed: make setup")
            if client == "ts1":
                return [node, "tests/clients/ts1_client.mjs"]
            return [node, "tests/clients/ts2_client.mjs", client.partition("-")[2]]


@dataclass(frozen=True)
class Answer:
    """What the client's own API gave: a tool result, or the error it raised."""

    result: dict[str, Any]
    error: str = ""

    @property
    def text(self) -> str:
        return "\n".join(block["text"] for block in self.result.get("content", ()))

    @property
    def refused(self) -> bool:
        return bool(self.result.get("isError"))

    @property
    def decision(self) -> dict[str, Any]:
        """What the gateway says to machines."""
        said: dict[str, Any] = self.result.get("_meta", {}).get(DECISION, {})
        return said


class Call:
    """One call on its way."""

    def __init__(self) -> None:
        self.progress: list[dict[str, Any]] = []
        self.answered: Queue[dict[str, Any]] = Queue()

    def answer(self, seconds: float = PATIENCE) -> Answer:
        try:
            seen = self.answered.get(timeout=seconds)
        except Empty:
            raise TimeoutError(f"no answer in {seconds} s") from None
        return Answer(seen.get("result") or {}, seen.get("error", ""))

    @property
    def done(self) -> bool:
        return not self.answered.empty()


class Agent:
    """One connected client."""

    def __init__(self, client: str, process: Process) -> None:
        self.client = client
        self.protocol = ""
        self._process = process
        self._calls: dict[int, Call] = {0: Call()}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def connected(self) -> None:
        """Wait for the handshake."""
        seen = self._calls[0].answered.get(timeout=PATIENCE)
        if "ready" not in seen:
            raise RuntimeError(f"{self.client} did not connect")
        self.protocol = seen["ready"]

    @property
    def notes(self) -> list[dict[str, Any]]:
        """What the client told of by itself."""
        return self._calls[0].progress

    def tools(self) -> list[str]:
        seen = self._order({"op": "list"}).answered.get(timeout=PATIENCE)
        names: list[str] = seen["result"]
        return names

    def begin(
        self,
        tool: str,
        *,
        timeout: float | None = None,
        progress: bool = False,
        reset: bool = False,
        **arguments: Any,
    ) -> Call:
        """Make a call and do not wait. `timeout`: the client's own, in seconds; `reset`: it begins
        again with every progress note.
        """
        order = {"op": "call", "name": tool, "arguments": arguments, "progress": progress}
        return self._order({**order, "timeout": timeout, "reset": reset})

    def cancel(self, call: Call) -> None:
        """Give a call up on purpose."""
        number = next(number for number, one in self._calls.items() if one is call)
        self._order({"op": "cancel", "call": number})

    def call(self, tool: str, *, timeout: float | None = None, **arguments: Any) -> Answer:
        return self.begin(tool, timeout=timeout, **arguments).answer()

    def kill(self) -> None:
        """Gone without a word."""
        end(self._process, signal.SIGKILL)

    def close(self) -> None:
        """End it as its host would: by closing stdin."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _order(self, order: dict[str, Any]) -> Call:
        number = len(self._calls)
        call = self._calls[number] = Call()
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps({"id": number, **order}) + "\n")
        stdin.flush()
        return call

    def _read(self) -> None:
        out = self._process.stdout
        assert out is not None
        for line in out:
            seen = json.loads(line)
            call = self._calls[seen.get("id", 0)]
            if "progress" in seen:
                call.progress.append(seen["progress"])
            else:
                call.answered.put(seen)
        for call in list(self._calls.values()):
            call.answered.put({"error": "the client ended"})


@contextmanager
def agent(client: str, url: str, token: str, *, log: Path, answer_as: str = "") -> Iterator[Agent]:
    """A connected client for the length of the block; what it writes to stderr goes to `log`.
    With `answer_as` it answers what servers ask, in that name.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    if answer_as:
        kept["ANSWER_AS"] = answer_as
    with log.open("a", encoding="utf-8") as errors:
        process = _started([*command(client), url, token], kept, errors.fileno())
    started = Agent(client, process)
    try:
        started.connected()
        yield started
    finally:
        started.close()


def _started(argv: list[str], environ: dict[str, str], log: int) -> Process:
    if argv[0].startswith("tests."):
        return forked.converse(argv, folder=ROOT, environ=environ, log=log)
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )


def until_progress(call: Call) -> str:
    """The text of the first progress note."""
    return str(eventually(lambda: call.progress[:1])[0]["message"])
