"""How many files this process may open, and what of them connections may take. Not pure.

A connection is a file, and a request that waits for a server may need a second one. Who is out of
files can neither accept a connection nor read the record: so connections get less than there is.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

_WANTED: Final = (65_536, 8_192)
"""The most that is asked for; some systems allow less than they say."""

_RESERVED: Final = 512
"""For the record, the servers' processes, the page's files and what libraries open."""

_SHARE: Final = 8


def raise_limit() -> None:
    """Have as many as the system lets a process have: shells start programs with a few hundred or
    a thousand, and each agent that waits takes one or two.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in _WANTED:
        wished = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft == resource.RLIM_INFINITY or soft >= wished:
            return
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
            return


def for_connections() -> int:
    """What connections, and requests that are under way on them, may take together."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _WANTED[0] if soft == resource.RLIM_INFINITY else soft
    return files - min(_RESERVED, files // 2)


def for_one_grant() -> int:
    """Requests that one grant may have under way at once: a quarter of that, at two files each."""
    return max(1, for_connections() // _SHARE)
