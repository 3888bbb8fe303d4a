"""The queue is quick however much has been decided before, and says the same as a single card."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import pytest
from sqlalchemy import Connection, Engine, event

from approvals.model import Choice, Vote
from approvals.record import history
from approvals.shared_facts import SharedFacts
from approvals.view import view_in, view_of
from tests.support.review_scene import Scene, charge, hold
from tests.web.conftest import Door


async def _busy(scene: Scene) -> None:
    """60 decided and 200 waiting calls of one tool by one agent."""
    bob = await scene.people.add("bob", role="approver")
    for number in range(60):
        held = scene.held("create_charge", charge(1000 + number))
        choice = Choice.APPROVE if number % 3 else Choice.DENY
        await scene.approvals.decide(
            held.id, Vote(revision=1, reviewer=bob, choice=choice, reason="seen", via="page")
        )
    scene.database.journal.write_now(
        lambda tx: [hold(tx, "create_charge", charge(5000 + number)) for number in range(200)]
    )


@contextmanager
def counted() -> Iterator[list[str]]:
    """Every SELECT while the block runs."""
    selects: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        selects.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield selects
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_the_cards_of_a_queue_share_what_they_read(scene: Scene, door: Door) -> None:
    await _busy(scene)
    visit = await door.signed_in("alice")
    with counted() as selects:
        page = await visit.get("/")
    assert "200 calls" in page.text
    waiting = await scene.approvals.pending(limit=page.text.count('<article class="card'))
    with counted() as alone:
        for one in waiting:
            await scene.approvals.view(one.id)
    assert len(selects) < len(alone) / 2


@pytest.mark.figure
async def test_the_time_a_queue_with_200_pending_takes(scene: Scene, door: Door) -> None:
    await _busy(scene)
    visit = await door.signed_in("alice")
    await visit.get("/")  # templates are compiled once
    took = []
    for _ in range(11):
        started = time.perf_counter()
        await visit.get("/")
        took.append(time.perf_counter() - started)
    print(f"a queue with 200 pending is made in {median(took) * 1000:.0f} ms")


async def test_a_card_among_many_shows_what_it_shows_alone(scene: Scene) -> None:
    await _busy(scene)
    for tool in ("refund", "create_charge"):
        scene.held(tool, charge(1))
    waiting = await scene.approvals.pending(limit=300)
    now = scene.clock.now()

    def compared(connection: Connection) -> list[bool]:
        listing = SharedFacts(connection)
        return [
            view_in(listing, one, now=now) == view_of(connection, one.id, now=now)
            for one in waiting[::10]
        ]

    same = await scene.database.read(compared)
    assert len(same) == 21
    assert all(same)


async def test_a_decided_call_is_not_among_its_own_earlier_ones(scene: Scene) -> None:
    await _busy(scene)
    alice = await scene.people.add("alice", role="approver")
    held = scene.held("create_charge", charge(7))
    await scene.approvals.decide(
        held.id, Vote(revision=1, reviewer=alice, choice=Choice.DENY, reason="no", via="page")
    )
    shown = await scene.approvals.view(held.id)
    assert shown is not None
    assert held.id not in [one.approval_id for one in shown.similar]
    assert shown.since_denied is not None
    assert shown.since_denied.approval_id != held.id


async def test_a_search_that_was_cut_short_says_so_and_goes_on(
    scene: Scene, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows looked at between looks at the time, and the time: so small that a page ends early.
    monkeypatch.setattr(history, "_STRIDE", 2)
    monkeypatch.setattr(history, "_STEP", 1.0)  # longer than a page may take
    scene.held("needle", {"x": 1})
    for number in range(10):
        scene.held("hay", {"x": number})
    visit = await door.signed_in("alice")
    path, pages = "/history?tool=needle", 0
    while "Nothing found yet" in (page := (await visit.get(path)).text):
        pages += 1
        path = re.findall(r'href="(/history\?[^"]+)" rel="next"', page)[0].replace("&amp;", "&")
    assert pages > 2
    assert "<bdi>needle</bdi> on" in page
