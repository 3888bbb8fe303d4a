"""Stands the reference server up, alone or with a gateway in front that adds a grant by itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.conformance.listener import granting
from tests.harness import ROOT, START_SECONDS, Site, accepts, end, eventually, free_port

REFERENCE: Final = (sys.executable, "-m", "tests.conformance.reference")
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


@contextmanager
def gateway(folder: Path, server: dict[str, Any], **policy: Any) -> Iterator[str]:
    """A gateway in front of one server; the URL of the listener that adds a grant."""
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
            yield f"http://{host}/mcp/reference"
    finally:
        site.stop()
