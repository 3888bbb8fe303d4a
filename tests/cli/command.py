"""The real command for tests: argv, folder and environment in, exit code and output out."""

import multiprocessing
import os
import pty
import runpy
import select
import time
from dataclasses import dataclass
from pathlib import Path

from tests.patience import PATIENCE

HERE = Path(__file__).parent
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["gateway.cli.main", "gateway.cli.record", "web.api", "gateway.cli.listing"]
)


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
        paths = {name: self.folder / f".test-{name}" for name in ("stdin", "stdout", "stderr")}
        paths["stdin"].write_text(stdin)
        code = self._finished(self._start(argv, environ, paths, tty=False))
        done = Done(code, paths["stdout"].read_text(), paths["stderr"].read_text())
        for path in paths.values():
            path.unlink()
        assert "Traceback" not in done.said(), done.said()
        return done

    def typed(self, *argv: str, answer: str = "", after: str = "", **environ: str) -> Done:
        """Run it in a terminal, with this typed into it, once `after` is to be read there."""
        master, slave = pty.openpty()
        try:
            tty = Path(os.ttyname(slave))
            paths = {"stdin": tty, "stdout": tty, "stderr": tty}
            process = self._start(argv, {"TERM": "xterm", **environ}, paths, tty=True)
            seen, typed = b"", False
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                if not typed and after.encode() in seen and _sleeps(process):
                    os.write(master, answer.encode())
                    typed = True
                ready, _, _ = select.select([master], [], [], 0.05)
                if ready:
                    seen += os.read(master, 65_536)
                elif not process.is_alive():
                    break
            code = self._finished(process)
        finally:
            os.close(slave)
            os.close(master)
        text = seen.decode().replace("\r\n", "\n")
        assert "Traceback" not in text, text
        return Done(code, text, "")

    def _start(
        self, argv: tuple[str, ...], environ: dict[str, str], paths: dict[str, Path], *, tty: bool
    ) -> multiprocessing.process.BaseProcess:
        job = {
            "argv": list(argv),
            "folder": str(self.folder),
            "environ": {
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "TZ": "UTC",
                **environ,
            },
            "tty": tty,
            **{name: str(path) for name, path in paths.items()},
        }
        process = _CONTEXT.Process(
            target=runpy.run_path, args=(str(HERE / "child.py"), {"job": job})
        )
        process.start()
        return process

    def _finished(self, process: multiprocessing.process.BaseProcess) -> int:
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join(PATIENCE)
            raise AssertionError("the command did not end")
        return process.exitcode


def _sleeps(process: multiprocessing.process.BaseProcess) -> bool:
    """Whether it waits for a key by now. A Ctrl-C between the prompt and the reading would be
    noted by Python and answered only with the next key, as in every program that asks.
    """
    stat = Path(f"/proc/{process.pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "S"
