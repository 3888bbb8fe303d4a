"""Work on foreign text beside the event loop: the large text of one keeps no one else waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

LARGE: Final = 16 * 1024
"""Bytes or characters above which a text is not scanned on the event loop; up to it the way to
another thread and back costs more than the scan.
"""

_WORKERS: Final = ThreadPoolExecutor(2, thread_name_prefix="signoff-scan")

T = TypeVar("T")


async def aside(size: int, work: Callable[[], T]) -> T:
    """What `work` returns or raises; in another thread if `size` is above LARGE.

    `work` must not change what the event loop reads.
    """
    return work() if size <= LARGE else await elsewhere(work)


async def elsewhere(work: Callable[[], T]) -> T:
    """As `aside`, where the size is not known beforehand."""
    return await asyncio.get_running_loop().run_in_executor(_WORKERS, work)
