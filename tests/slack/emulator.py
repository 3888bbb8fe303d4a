"""A Slack Web API made by others (`emulate`, from npm), run beside a test. Not a test."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.live_gateway import end, free_port

HERE: Final = Path(__file__).parent
NODE: Final = HERE / "node_modules" / ".bin" / "node"
EMULATE: Final = HERE / "node_modules" / "emulate" / "dist" / "index.js"
TOKEN: Final = "test_token_admin"
CHANNEL: Final = "C000000001"
"""Its public channel #general."""


@contextmanager
def emulator() -> Iterator[str]:
    """Its address, ending in /api/, for the length of the block. Skips where it cannot be had."""
    if not EMULATE.exists() or not NODE.exists():
        pytest.skip("the emulator is not installed: run `make setup-node` (needs npm)")
    port = free_port()
    process = subprocess.Popen(
        [str(NODE), str(EMULATE), "start", "--service", "slack", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        _listening(process, port)
        yield f"http://127.0.0.1:{port}/api/"
    finally:
        end(process)


def _listening(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"the emulator ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the emulator does not listen")
