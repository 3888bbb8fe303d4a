"""The live stream: replay, resync, viewers that do not read, and no forged events (T-53)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from sse_starlette import ServerSentEvent

from approvals.model import Choice, Event, Vote
from tests.support.patience import PATIENCE
from tests.support.review_scene import Scene
from web.stream import BOUND, REPLAY, LiveFeed, StreamChange, Watcher, read_span


async def always() -> bool:
    return True


@asynccontextmanager
async def watching(
    stream: LiveFeed, after: int | None = None
) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    events = stream.events(after, always)
    try:
        yield events
    finally:
        await events.aclose()  # type: ignore[attr-defined]


async def upcoming(events: AsyncIterator[ServerSentEvent], name: str) -> ServerSentEvent:
    """The next event of this name."""
    with anyio.fail_after(PATIENCE):
        async for event in events:
            if event.event == name:
                return event
    raise AssertionError(name)


def told(event: ServerSentEvent) -> StreamChange:
    data = json.loads(str(event.data))
    assert str(event.id) == str(data["seq"])
    return StreamChange(data["seq"], data["id"], data["kind"])


def head(scene: Scene) -> int:
    return scene.database.read_now(lambda connection: read_span(connection, 2**62)).head


async def test_a_change_is_told_to_who_watches(scene: Scene) -> None:
    stream = LiveFeed(scene.database, scene.clock)
    async with watching(stream) as events:
        await upcoming(events, "beat")
        held = scene.held("git_commit", {"message": "x"})
        with anyio.fail_after(PATIENCE):
            change = told(await upcoming(events, "change"))
    assert (change.approval_id, change.kind) == (held.id, "held")


async def test_a_returning_viewer_is_told_what_it_missed_once(scene: Scene) -> None:
    stream = LiveFeed(scene.database, scene.clock)
    cursor = head(scene)
    alice = await scene.people.add("alice", role="approver")
    held = scene.held("git_commit", {"message": "x"})
    await scene.approvals.decide(
        held.id, Vote(revision=1, reviewer=alice, choice=Choice.APPROVE, via="page")
    )
    async with watching(stream, cursor) as events:
        kinds = [told(await upcoming(events, "change")).kind for _ in range(2)]
        scene.held("git_commit", {"message": "y"})
        kinds.append(told(await upcoming(events, "change")).kind)
    assert kinds == ["held", "approved", "held"]


@pytest.mark.parametrize("cursor", [10**9, 2**62])
async def test_a_cursor_from_another_history_means_look_anew(scene: Scene, cursor: int) -> None:
    stream = LiveFeed(scene.database, scene.clock)
    async with watching(stream, cursor) as events:
        assert (await upcoming(events, "resync")).id == str(head(scene))


async def test_too_much_to_tell_means_look_anew(scene: Scene) -> None:
    def many(tx: object) -> None:
        for number in range(REPLAY + 1):
            tx.append(Event(event="attached", approval_id=f"apr_{number}"))  # type: ignore[attr-defined]

    cursor = head(scene)
    scene.database.journal.write_now(many)
    stream = LiveFeed(scene.database, scene.clock)
    async with watching(stream, cursor) as events:
        await upcoming(events, "resync")


async def test_calls_that_pass_by_themselves_are_nobodys_news(scene: Scene) -> None:
    cursor = head(scene)
    scene.database.journal.write_now(
        lambda tx: [tx.append(Event(event="allowed", tool="t")) for _ in range(50)]
    )
    scene.held("git_commit", {"message": "x"})
    span = scene.database.read_now(lambda connection: read_span(connection, cursor))
    assert span.changes is not None
    assert [change.kind for change in span.changes] == ["held"]


async def test_a_viewer_that_never_reads_keeps_a_bounded_box_and_is_told_to_look_anew() -> None:
    viewer = Watcher()
    for number in range(10 * BOUND):
        viewer.offer((StreamChange(number, "apr_1", "held"),))
    assert await viewer.take(0.01) is None
    assert await viewer.take(0.01) == ()
    viewer.offer((StreamChange(1, "apr_1", "held"),))
    assert await viewer.take(0.01) == (StreamChange(1, "apr_1", "held"),)


async def test_a_thousand_viewers_hear_it_from_one_reader(scene: Scene) -> None:
    stream = LiveFeed(scene.database, scene.clock)
    heard = 0

    async def watch(ready: anyio.Event) -> None:
        nonlocal heard
        async with watching(stream) as events:
            await upcoming(events, "beat")
            if stream.viewers == 1000:
                ready.set()
            await upcoming(events, "change")
            heard += 1

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            ready = anyio.Event()
            for _ in range(1000):
                group.start_soon(watch, ready)
            await ready.wait()
            scene.held("git_commit", {"message": "x"})
    assert heard == 1000
    assert stream.viewers == 0


async def test_a_viewer_whose_session_ended_is_sent_away(scene: Scene) -> None:
    async def no_longer() -> bool:
        return False

    stream = LiveFeed(scene.database, scene.clock, beat=0.05)
    events = stream.events(None, no_longer)
    with anyio.fail_after(PATIENCE):
        names = [event.event async for event in events]
    assert names == ["beat", "bye"]


async def test_somebody_removed_is_told_nothing_more_however_much_happens(scene: Scene) -> None:
    await scene.people.add("eve", role="viewer")
    stream = LiveFeed(scene.database, scene.clock, beat=3_600)

    async def still() -> bool:
        return await scene.people.find("eve") is not None

    events = stream.events(None, still)
    await upcoming(events, "beat")
    scene.held("git_commit", {"message": "before"})
    assert told(await upcoming(events, "change")).kind == "held"
    await scene.people.remove("eve")
    scene.held("git_commit", {"message": "after"})
    with anyio.fail_after(PATIENCE):
        assert [event.event async for event in events] == ["bye"]


async def test_somebody_removed_is_sent_away_though_nothing_else_happens(scene: Scene) -> None:
    await scene.people.add("eve", role="viewer")
    stream = LiveFeed(scene.database, scene.clock, beat=3_600)

    async def still() -> bool:
        return await scene.people.find("eve") is not None

    events = stream.events(None, still)
    await upcoming(events, "beat")
    await scene.people.remove("eve")
    with anyio.fail_after(PATIENCE):
        assert [event.event async for event in events] == ["bye"]


async def test_a_heartbeat_carries_the_servers_time(scene: Scene) -> None:
    stream = LiveFeed(scene.database, scene.clock, beat=0.05)
    async with watching(stream) as events:
        await upcoming(events, "beat")
        data = json.loads(str((await upcoming(events, "beat")).data))
    assert abs(data["now"] - scene.clock.now()) < 5000


async def test_no_text_of_an_agent_can_forge_an_event(scene: Scene) -> None:
    stream = LiveFeed(scene.database, scene.clock)
    evil = "x\r\nid: 999\nretry: 1\n\nevent: change\ndata: {}\u2028"
    async with watching(stream) as events:
        await upcoming(events, "beat")
        scene.database.journal.write_now(
            lambda tx: tx.append(Event(event=evil, approval_id=evil, tool=evil))
        )
        event = await upcoming(events, "change")
    raw = event.encode().decode()
    assert raw.isascii()
    assert len(re_lines(raw)) == 3
    assert told(event).kind == evil


def re_lines(raw: str) -> list[str]:
    return [line for line in raw.splitlines() if line]
