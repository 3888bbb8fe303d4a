"""`signoff` on a machine whose clock stood at THEN (epoch milliseconds) when it was started."""

from __future__ import annotations

import os
import time

from approvals.record.clock import SystemClock
from gateway.cli import main

BEGAN = time.monotonic()
THEN = int(os.environ["THEN"])


def now(self: SystemClock) -> int:
    return THEN + int((time.monotonic() - BEGAN) * 1000)


SystemClock.now = now  # type: ignore[method-assign]  # the only reader of the wall clock
main()
