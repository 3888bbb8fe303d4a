"""Runs one `signoff` command in a forked process whose modules are already imported: the command's
own `main`, its own process, its own terminal or files, without a second of imports each time.

Started by `command.py` through runpy, with `job` as a global.
"""

import os
import signal
import sys

job: dict[str, object] = globals()["job"]


def _open(path: str, flags: int, onto: int) -> None:
    descriptor = os.open(path, flags, 0o600)
    os.dup2(descriptor, onto)
    if descriptor > 2:
        os.close(descriptor)


os.setsid()
# As a terminal's shell starts commands. Tests that run in the background have Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
_open(str(job["stdin"]), os.O_RDWR if job["tty"] else os.O_RDONLY, 0)
for name, onto in (("stdout", 1), ("stderr", 2)):
    _open(str(job[name]), os.O_RDWR | (0 if job["tty"] else os.O_CREAT | os.O_TRUNC), onto)
for number, stream, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
    setattr(sys, stream, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
os.chdir(str(job["folder"]))
os.environ.clear()
os.environ.update(job["environ"])  # type: ignore[call-overload]
sys.argv = ["signoff", *job["argv"]]  # type: ignore[misc]

from gateway.cli import main  # noqa: E402

main()
