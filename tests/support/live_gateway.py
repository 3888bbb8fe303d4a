"""Starts real parts for tests: the gateway as the command a user types, and servers behind it.

Everything listens on 127.0.0.1 and is ended by its pid. Nothing here knows the gateway's inside
but the record, which is opened beside it as the command line does.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from approvals.record.clock import SystemClock
from approvals.record.database import Database, Transaction
from approvals.record.keys import Keys
from approvals.reviewers import People
from gateway.enforcement import grants
from tests.support import forked
from tests.support.forked import Forked
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
SIGNOFF = Path(sys.executable).parent / "signoff"
DEPLOYED = {"SIGNOFF_POLICY_TRUST": "file"}
"""For tests that rewrite policy.json or servers.json and are about something else than who may:
the files count as they are, as in a container.
"""
Process = subprocess.Popen[str] | Forked
T = TypeVar("T")


def free_port() -> int:
    """A port no one listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(ready: Callable[[], T | None], seconds: float = PATIENCE) -> T:
    """What `ready` gives once it gives something.

    Raises:
        TimeoutError: it never did.
    """
    until = time.monotonic() + seconds
    while True:
        found = ready()
        if found:
            return found
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds} s for {ready}")
        time.sleep(0.01)


def end(process: Process, sig: int = signal.SIGTERM, seconds: float = PATIENCE) -> int:
    """End a process and what it left; its exit code."""
    if process.poll() is None:
        process.send_signal(sig)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(PATIENCE)


@dataclass(frozen=True)
class Witness:
    """The remembering server and its file."""

    url: str
    file: Path
    process: Process

    def ran(self) -> list[tuple[str, Any]]:
        """(tool, key) of every execution, in order."""
        if not self.file.exists():
            return []
        lines = self.file.read_text(encoding="utf-8").splitlines()
        return [(tool, key) for tool, key, _ in map(json.loads, lines)]

    def arguments(self) -> list[dict[str, Any]]:
        if not self.file.exists():
            return []
        return [json.loads(line)[2] for line in self.file.read_text(encoding="utf-8").splitlines()]

    def headers(self) -> list[dict[str, str]]:
        """The headers of every request the server received."""
        text = Path(f"{self.file}.headers").read_text(encoding="utf-8")
        return [dict(json.loads(line)) for line in text.splitlines()]

    def methods(self) -> list[str]:
        """The method of every message the server received, in order."""
        return Path(f"{self.file}.methods").read_text(encoding="utf-8").split()

    def describe(self, words: str) -> None:
        """From now on the tools are described otherwise."""
        Path(f"{self.file}.description").write_text(words, encoding="utf-8")


@contextmanager
def witness(folder: Path, *, port: int = 0, tools: str = "") -> Iterator[Witness]:
    """A remembering server for the length of the block, perhaps with tools of these names."""
    port = port or free_port()
    file = folder / "witness.jsonl"
    argv = ["uvicorn", "tests.support.witness:app", "--app-dir", str(ROOT), "--port", str(port),
            "--no-access-log", "--log-level", "error"]  # fmt: skip
    environ = {**os.environ, "WITNESS_FILE": str(file)}
    if tools:
        environ["WITNESS_TOOLS"] = tools
    process = forked.begin(argv, folder=folder, environ=environ, log=2)
    try:
        eventually(lambda: accepts(port))
        yield Witness(f"http://127.0.0.1:{port}/mcp", file, process)
    finally:
        end(process, signal.SIGKILL)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Site:
    """One gateway's folder: its files, its record, and the process when it runs."""

    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: Process | None = None
    said: list[str] = field(default_factory=list)  # the lines of its terminal, of every start
    signoff: tuple[str, ...] = (str(SIGNOFF),)  # how the command is started
    forked: bool = True  # False where the process itself is measured: as a user's shell starts it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def page(self) -> str:
        """Where people find its page."""
        return f"http://signoff.localhost:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def policy(self, **policy: Any) -> None:
        """Write policy.json."""
        document = {"version": "1", "default": "deny", **policy}
        (self.folder / "policy.json").write_text(json.dumps(document), encoding="utf-8")

    def servers(self, **servers: Any) -> None:
        """Write servers.json."""
        text = json.dumps({"mcpServers": servers})
        (self.folder / "servers.json").write_text(text, encoding="utf-8")

    def grant(self, label: str = "agent", servers: tuple[str, ...] = ("*",), **more: Any) -> str:
        """A new grant's token."""

        def create(tx: Transaction) -> str:
            return grants.create(tx, label=label, servers=frozenset(servers), **more)[1]

        return self.write(create)

    def reviewer(self, name: str = "alice", role: str = "approver") -> str:
        """A new reviewer's API token."""

        async def make(database: Database, people: People) -> str:
            await people.add(name, role=role)  # type: ignore[arg-type]  # tests try other roles
            return await people.token(name)

        with self.record() as database:
            people = People(database, database.clock)
            with ThreadPoolExecutor(1) as aside:  # a browser's loop may have this thread
                return aside.submit(asyncio.run, make(database, people)).result(PATIENCE)

    def write(self, fn: Callable[[Transaction], T]) -> T:
        """One write on the record, beside the running gateway."""
        with self.record() as database:
            return database.journal.write_now(fn)

    @contextmanager
    def record(self) -> Iterator[Database]:
        """The record, opened beside the gateway."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = Keys.open(self.data / "signoff.key")
        url = self.environ.get("SIGNOFF_DATABASE_URL", f"sqlite:///{self.data / 'signoff.db'}")
        database = Database.open(url, key=keys, clock=SystemClock())
        try:
            yield database
        finally:
            database.close_now()

    def start(self) -> None:
        """Run `signoff up` and wait until it accepts."""
        argv = ["up", "--port", str(self.port)]
        environ = self.environment()
        with (self.folder / "gateway.log").open("a", encoding="utf-8") as log:
            if self._forks(environ):
                self.process = forked.talk(
                    ["signoff", *argv], folder=self.folder, environ=environ, log=log.fileno()
                )
            else:
                self.process = subprocess.Popen(
                    [*self.signoff, *argv], cwd=self.folder, env=environ,
                    stdout=subprocess.PIPE, stderr=log, text=True,
                )  # fmt: skip
        self._read_until(self.process, "Page")

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """End the gateway; its exit code."""
        assert self.process is not None
        code = end(self.process, sig)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text(encoding="utf-8")

    def run(
        self, *args: str, check: bool = True, prefix: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """One `signoff` command in this folder, perhaps under another command."""
        environ = self.environment()
        if prefix or not self._forks(environ):
            return subprocess.run(
                [*prefix, *self.signoff, *args], cwd=self.folder, env=environ, check=check,
                capture_output=True, text=True, timeout=PATIENCE,
            )  # fmt: skip
        done = forked.run(["signoff", *args], folder=self.folder, environ=environ)
        if check:
            done.check_returncode()
        return done

    def _forks(self, environ: Mapping[str, str]) -> bool:
        return self.forked and self.signoff == (str(SIGNOFF),) and forked.can_run(environ)

    def environment(self) -> dict[str, str]:
        """What this gateway's commands find in their environment."""
        own = {"SIGNOFF_DATA": str(self.data), "SIGNOFF_PORT": str(self.port), "NO_COLOR": "1"}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SIGNOFF_")}
        return {**kept, **own, **self.environ}

    def _read_until(self, process: Process, word: str) -> None:
        lines: queue.Queue[str] = queue.Queue()
        out = process.stdout
        assert out is not None

        def read() -> None:
            for line in out:
                self.said.append(line)
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            line = lines.get(timeout=PATIENCE)
            if line.startswith(word):
                return
            if not line:
                break
        raise RuntimeError(f"the gateway did not start:\n{self.log()}")
