"""What a slow reader loses is told in the log: that it begins, and how much it was."""

from __future__ import annotations

import pytest

from gateway.relay.upstreams.message_queue import MessageQueue, QueuedMessage


async def test_what_a_slow_reader_loses_is_told_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = MessageQueue(limit=1_000_000, letters=3)
    for number in range(10):
        queue.put(b"%d" % number)
    queue.finish(b"last")
    kept = [await queue.get(0) for _ in range(4)]
    assert kept == [
        *(QueuedMessage(b"%d" % number) for number in (7, 8, 9)),
        QueuedMessage(b"last", last=True),
    ]
    told = [vars(one).get("lost") for one in caplog.records if one.message == "messages.lost"]
    assert told == [None, 7]


async def test_a_reader_that_keeps_up_is_told_nothing_of(caplog: pytest.LogCaptureFixture) -> None:
    queue = MessageQueue(limit=10, letters=3)
    queue.put(b"one")
    assert await queue.get(0) == QueuedMessage(b"one")
    queue.finish(b"last")
    assert caplog.records == []
