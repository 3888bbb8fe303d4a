"""Stands the reference server up, alone or with a gateway in front that adds a grant by itself."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.support import forked
from tests.support.granting_listener import granting
from tests.support.live_gateway import ROOT, Site, accepts, end, eventually, free_port
from tests.support.one_era import Era
from tests.support.patience import PATIENCE
from tests.support.reviewer_desk import Desk

REFERENCE: Final = (sys.executable, "-m", "tests.support.reference_server")
_LOOK_SECONDS: Final = 0.03
BY_PIPE: Final[dict[str, Any]] = {
    "command": REFERENCE[0],
    "args": [*REFERENCE[1:], "stdio"],
    "cwd": str(ROOT),
}
"""The reference server as servers.json names one that is started as a command."""


@contextmanager
def reference(era: Era = "both", *, port: int = 0) -> Iterator[str]:
    """The reference server over HTTP; its URL."""
    port = port or free_port()
    argv = [REFERENCE[-1], "http", str(port), era]
    process = forked.begin(argv, folder=ROOT, environ=os.environ, log=2)
    try:
        eventually(lambda: accepts(port))
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        end(process, signal.SIGKILL)


@contextmanager
def jobs(file: Path) -> Iterator[str]:
    """The server of jobs (tests/support/task_server.py), which remembers in this file; its URL."""
    port = free_port()
    argv = [
        "uvicorn", "tests.support.task_server:app", "--app-dir", str(ROOT),
        "--port", str(port), "--no-access-log", "--log-level", "error",
    ]  # fmt: skip
    environ = {**os.environ, "JOBS_FILE": str(file)}
    process = forked.begin(argv, folder=ROOT, environ=environ, log=2)
    try:
        eventually(lambda: accepts(port))
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        end(process, signal.SIGKILL)


@dataclass(frozen=True)
class Front:
    """A gateway in front of the server."""

    url: str  # of the listener that adds a grant
    site: Site


@contextmanager
def gateway(folder: Path, server: dict[str, Any], **policy: Any) -> Iterator[Front]:
    """A gateway in front of one server; its default is to allow."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    own = {
        "SIGNOFF_ALLOWED_HOSTS": json.dumps([host]),
        "SIGNOFF_ALLOWED_ORIGINS": json.dumps([f"http://{host}"]),
    }
    site = Site(folder, own)
    site.policy(**{"default": "allow", **policy})
    site.servers(reference=server)
    token = site.grant("suite")
    site.start()
    try:
        with granting(port, to=site.port, token=token):
            yield Front(f"http://{host}/mcp/reference", site)
    finally:
        site.stop()


@contextmanager
def approving(site: Site) -> Iterator[Desk]:
    """Someone who approves whatever waits, at once, and reads the history."""
    desk, stop = Desk(site.url, site.reviewer()), threading.Event()

    def approve() -> None:
        while not stop.wait(_LOOK_SECONDS):
            for row in desk.everything():
                with suppress(httpx2.HTTPStatusError):  # its agent has just withdrawn it
                    desk.approve(row["id"])

    thread = threading.Thread(target=approve, daemon=True)
    thread.start()
    try:
        yield desk
    finally:
        stop.set()
        thread.join(PATIENCE)
        desk.close()
