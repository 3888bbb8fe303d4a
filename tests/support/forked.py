"""Starts commands fast: one process has imported everything and forks for each of them.

Without it a start costs 2 s of CPU, most of it imports, and the tests make hundreds. What is forked
is a process of its own in every respect: folder, environment, streams, database, signals and death.
Only /proc tells its command line otherwise. Who needs that too, or another interpreter (LD_PRELOAD,
PYTHON…), starts the real command.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Final

from tests.support.patience import PATIENCE

CHILD: Final = Path(__file__).parent / "forked_command.py"
_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support.preload"])
_OTHERS: Final = ("PYTHON", "LD_", "LC_", "LANG")
"""Variables that an interpreter which runs already does not heed."""


class Forked:
    """A running command, with what tests use of `subprocess.Popen`."""

    def __init__(self, process: BaseProcess, argv: Sequence[str]) -> None:
        self.args = tuple(argv)
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self._process = process

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Its exit code; None: it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it runs on after `timeout` seconds.
        """
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(list(self.args), timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def can_run(environ: Mapping[str, str]) -> bool:
    """Whether a fork of a running interpreter is the same as a new one, in this environment."""
    return not any(
        name.startswith(_OTHERS) and os.environ.get(name) != value
        for name, value in environ.items()
    )


def start(
    argv: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    stdin: int,
    stdout: int,
    stderr: int,
    terminal: bool = False,
) -> Forked:
    """Run `argv` with these descriptors, which stay the caller's to close; in a `terminal`, that is
    its own. The first word is "signoff", "uvicorn" or the name of a module, which runs as by
    `python -m`.
    """
    # A descriptor travels to the fork as a connection does.
    streams = [
        Connection(os.dup(stdin), writable=False),
        Connection(os.dup(stdout), readable=False),
        Connection(os.dup(stderr), readable=False),
    ]
    job = {
        "argv": list(argv),
        "folder": str(folder),
        "environ": dict(environ),
        "streams": streams,
        "terminal": terminal,
    }
    process = _CONTEXT.Process(target=runpy.run_path, args=(str(CHILD), {"job": job}), daemon=True)
    process.start()
    for stream in streams:
        stream.close()
    return Forked(process, argv)


def run(
    argv: Sequence[str], *, folder: Path, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `argv` to its end, with files for its streams, as in a pipe.

    Raises:
        subprocess.TimeoutExpired: it did not end.
    """
    with _nothing() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(
            argv, folder=folder, environ=environ,
            stdin=stdin, stdout=out.fileno(), stderr=err.fileno(),
        )  # fmt: skip
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)
            raise
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode("utf-8"))
    return subprocess.CompletedProcess(list(argv), code, *said)


def begin(argv: Sequence[str], *, folder: Path, environ: Mapping[str, str], log: int) -> Forked:
    """Run `argv` in the background; what it says goes to the descriptor."""
    with _nothing() as stdin:
        return start(argv, folder=folder, environ=environ, stdin=stdin, stdout=log, stderr=log)


def talk(argv: Sequence[str], *, folder: Path, environ: Mapping[str, str], log: int) -> Forked:
    """As `begin`, with a pipe for its `stdout`, which the caller closes."""
    reading, writing = os.pipe()
    with _nothing() as stdin:
        process = start(
            argv, folder=folder, environ=environ, stdin=stdin, stdout=writing, stderr=log
        )
    os.close(writing)
    process.stdout = os.fdopen(reading, encoding="utf-8")
    return process


def converse(argv: Sequence[str], *, folder: Path, environ: Mapping[str, str], log: int) -> Forked:
    """As `talk`, with a pipe for its `stdin` as well."""
    heard, telling = os.pipe()
    reading, writing = os.pipe()
    process = start(argv, folder=folder, environ=environ, stdin=heard, stdout=writing, stderr=log)
    os.close(heard)
    os.close(writing)
    process.stdin = os.fdopen(telling, "w", encoding="utf-8")
    process.stdout = os.fdopen(reading, encoding="utf-8")
    return process


@contextmanager
def _nothing() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
