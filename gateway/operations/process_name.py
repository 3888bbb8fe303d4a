"""The name of a gateway process: the same after a restart in the same data folder, and never that
of another process that lives.

A file in the folder holds the name; the process that has it locked has the name. The system lets go
of the lock when a process dies, so the next one knows that its predecessor is dead. Not pure.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MOST: Final = 64  # gateways in one folder
_LONGEST: Final = 64


@contextmanager
def claimed_name(data: Path) -> Iterator[str]:
    """This process's name for the length of the block. Where the folder takes no locks, one that
    no one had before: then what a predecessor left is found when its lease ends.
    """
    for number in range(1, _MOST + 1):
        try:
            file = os.open(data / f"process-{number}", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            break
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept = os.read(file, _LONGEST).decode("ascii", "replace").strip()
            if not kept.isalnum():
                kept = secrets.token_hex(8)
                os.pwrite(file, kept.encode("ascii"), 0)
            # A folder that was copied to another machine does not bring its name along.
            yield f"{socket.gethostname()}/{kept}"
        except BlockingIOError:
            continue  # another gateway in this folder
        except OSError:
            break
        else:
            return
        finally:
            os.close(file)
    yield f"{socket.gethostname()}/{secrets.token_hex(8)}"
