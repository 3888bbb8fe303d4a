"""A call's cost is kept: the short form of the benchmark, with a limit for quiet machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.figure


def test_an_allowed_call_costs_no_more_cpu_than_its_limit() -> None:
    bench = Path(__file__).parent / "bench.py"
    done = subprocess.run(
        [sys.executable, str(bench), "--short"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
