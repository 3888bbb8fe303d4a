"""Stands the reference server up, alone or with a gateway in front that adds a grant by itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.conformance.listener import granting
from tests.end_to_end.desk import Desk
from tests.harness import ROOT, START_SECONDS, Site, accepts, end, eventually, free_port

REFERENCE: Final = (sys.executable, "-m", "tests.conformance.reference")
_LOOK_SECONDS: Final = 0.03
BY_PIPE: Final[dict[str, Any]] = {
    "command": REFERENCE[0],
    "args": [*REFERENCE[1:], "stdio"],
    "cwd": str(ROOT),
}
"""The reference server as servers.json names one that is started as a command."""


@contextmanager
def reference() -> Iterator[str]:
    """The reference server over HTTP; its URL."""
    port = free_port()
    process = subprocess.Popen(
        [*REFERENCE, "http", str(port)], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: accepts(port), START_SECONDS)
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
def approving(site: Site) -> Iterator[list[str]]:
    """Somebody who approves whatever waits, at once; the ids, as they are approved."""
    desk, done, stop = Desk(site.url, site.reviewer()), list[str](), threading.Event()

    def approve() -> None:
        while not stop.wait(_LOOK_SECONDS):
            for row in desk.everything():
                desk.approve(row["id"])
                done.append(row["id"])

    thread = threading.Thread(target=approve, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join(10)
        desk.close()
