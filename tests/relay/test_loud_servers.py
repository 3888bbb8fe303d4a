"""A command server that says much keeps nobody else waiting: the rest of the time is others'."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from gateway.relay.upstreams.process import RESTS, Command, End, Process
from tests.support.patience import PATIENCE

MESSAGES, LETTERS = 6, 400_000  # more than one read of a pipe brings
SPENT = 0.05  # seconds of the loop that each message takes
SAYS = f"""
import sys
for number in range({MESSAGES}):
    print('{{"number":%d,"text":"%s"}}' % (number, "x" * {LETTERS}), flush=True)
if sys.argv[1] == "stays":
    sys.stdin.read()
"""


async def heard(how: str) -> tuple[list[Any], float, float]:
    """Which messages came, the seconds their reader took of the loop, and those that went by."""
    numbers: list[Any] = []
    over, spent, last = asyncio.Event(), 0.0, 0.0

    def read(message: dict[str, Any]) -> None:
        nonlocal spent, last
        began = last = time.monotonic()
        while time.monotonic() - began < SPENT:
            pass
        spent += SPENT
        numbers.append(message["number"])
        if len(numbers) == MESSAGES:
            over.set()

    def ended(_: End) -> None:
        over.set()

    command = Command(name="loud", command=sys.executable, args=("-c", SAYS, how))
    process = Process(command, line_limit=1_000_000, on_message=read, on_end=ended)
    run = asyncio.create_task(process.run())
    await process.started
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        await over.wait()
    process.stop()
    await run
    return numbers, spent, last - began


async def test_most_of_the_time_is_left_to_others() -> None:
    numbers, spent, passed = await heard("stays")
    assert numbers == list(range(MESSAGES))
    assert passed >= RESTS * (spent - SPENT)


async def test_nothing_is_lost_of_a_server_that_says_much_and_ends() -> None:
    numbers, _, _ = await heard("ends")
    assert numbers == list(range(MESSAGES))
