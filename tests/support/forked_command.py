"""Runs one command in a forked process whose modules are imported already: the command's own
`main`, in its own process.

Started by `forked.py` through runpy, with `job` as a global.
"""

import fcntl
import os
import random
import runpy
import signal
import sys
import termios
import time

job: dict[str, object] = globals()["job"]
argv: list[str] = job["argv"]  # type: ignore[assignment]

if job["terminal"]:
    os.setsid()
random.seed()
# As a terminal's shell starts commands. Tests that run in the background have Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number, stream in enumerate(job["streams"]):  # type: ignore[arg-type, var-annotated]
    os.dup2(stream.fileno(), number)
    stream.close()
if job["terminal"]:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # its Ctrl-C is this process's
for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
    setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
os.chdir(str(job["folder"]))
os.environ.clear()
os.environ.update(job["environ"])  # type: ignore[call-overload]
time.tzset()
sys.argv = argv

if argv[0] == "signoff":
    from gateway.cli import main

    main()
elif argv[0] == "uvicorn":
    from uvicorn.main import main as serve

    serve()
else:
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
