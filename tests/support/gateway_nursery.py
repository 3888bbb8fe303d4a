"""Starts gateways fast: a process that has imported everything forks one for each line it reads.

`python -m tests.support.gateway_nursery`: a line is JSON {"environ", "folder"}; the answer is the
pid. A forked gateway is a process of its own in every respect: its own database, loop and death.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from pathlib import Path

import uvloop

from gateway.hosting.server import configure_logging, running
from gateway.settings import Settings


async def serve() -> None:
    """As `signoff up` does."""
    async with running(Settings()) as (_, stopped):
        await stopped


def live(order: dict[str, object]) -> None:
    """Be a gateway until the end."""
    environ, folder = order["environ"], str(order["folder"])
    assert isinstance(environ, dict)
    os.environ.update(environ)
    os.chdir(folder)
    log = os.open(Path(folder) / "gateway.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    configure_logging("json")
    uvloop.run(serve())


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no waiting for
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                live(json.loads(line))
            finally:
                os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
