"""The real command for tests: argv, folder and environment in, exit code and output out."""

import os
import pty
import select
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support import forked
from tests.support.forked import Forked
from tests.support.patience import PATIENCE

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def said(self) -> str:
        return self.out + self.err


@dataclass(frozen=True, slots=True)
class Command:
    """`signoff` in a folder. Nothing of the tests' own environment reaches it."""

    folder: Path

    def __call__(self, *argv: str, stdin: str = "", **environ: str) -> Done:
        """Run it with files for its streams, as in a pipe."""
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write(stdin.encode())
            given.seek(0)
            streams = (given.fileno(), out.fileno(), err.fileno())
            code = self._finished(self._start(argv, environ, streams, tty=False))
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode())
        done = Done(code, *said)
        assert "Traceback" not in done.said(), done.said()
        return done

    def typed(self, *argv: str, answer: str = "", after: str = "", **environ: str) -> Done:
        """Run it in a terminal, with this typed into it, once `after` is to be read there."""
        master, slave = pty.openpty()
        try:
            streams = (slave, slave, slave)
            process = self._start(argv, {"TERM": "xterm", **environ}, streams, tty=True)
            seen, typed = b"", False
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                if not typed and after.encode() in seen and _sleeps(process):
                    os.write(master, answer.encode())
                    typed = True
                ready, _, _ = select.select([master], [], [], 0.05)
                if ready:
                    seen += os.read(master, 65_536)
                elif process.poll() is not None:
                    break
            code = self._finished(process)
        finally:
            os.close(slave)
            os.close(master)
        text = seen.decode().replace("\r\n", "\n")
        assert "Traceback" not in text, text
        return Done(code, text, "")

    def _start(
        self,
        argv: tuple[str, ...],
        environ: dict[str, str],
        streams: tuple[int, int, int],
        *,
        tty: bool,
    ) -> Forked:
        usual = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TZ": "UTC"}
        stdin, stdout, stderr = streams
        return forked.start(
            ["signoff", *argv], folder=self.folder, environ={**usual, **environ},
            stdin=stdin, stdout=stdout, stderr=stderr, terminal=tty,
        )  # fmt: skip

    def _finished(self, process: Forked) -> int:
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)
            raise AssertionError("the command did not end") from None


def _sleeps(process: Forked) -> bool:
    """Whether it waits for a key by now. A Ctrl-C between the prompt and the reading would be
    noted by Python and answered only with the next key, as in every program that asks.
    """
    stat = Path(f"/proc/{process.pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "S"
