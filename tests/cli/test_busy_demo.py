"""`signoff demo --busy` calls in every way there is, and ends when it is told to."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import threading
import time

import pytest

from tests.support.live_gateway import ROOT, SIGNOFF, end
from tests.support.patience import PATIENCE

WORDS = {
    "git_status": "Repository status",
    "git_reset": "Policy violation",
    "git_checkout": "not available",
    "git_show": "Error executing tool",
}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_agents_call_in_every_way_until_the_demo_is_stopped() -> None:
    demo = subprocess.Popen(
        [str(SIGNOFF), "demo", "--busy"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert demo.stdout is not None
        for line in demo.stdout:
            lines.put(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    seen = ""
    until = time.monotonic() + 90
    try:
        while not all(f"{tool} " in seen and word in seen for tool, word in WORDS.items()):
            seen += lines.get(timeout=max(0.1, until - time.monotonic()))
    finally:
        code = end(demo, signal.SIGINT)
        reader.join(PATIENCE)
        if demo.stdout is not None:
            demo.stdout.close()
    assert code == 0
    assert "as demo, admin" in seen
    assert "as second, approver" in seen
