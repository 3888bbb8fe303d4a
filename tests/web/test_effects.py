"""An effect no one knows about, on the page: the card of the next call asks, and a person says."""

from __future__ import annotations

import pytest

from approvals import decide, effects, execution
from approvals.model import Approval, Choice, Execution, Reviewer, State, Vote
from approvals.record.database import Transaction
from tests.support.review_scene import Scene
from tests.web.conftest import Door

KEY = "pay:cus_1"


def doubtful(scene: Scene) -> tuple[Approval, Approval]:
    """A call whose outcome is unknown, and one that would do the same."""
    first = scene.held("pay", {"n": 1}, effect=KEY)
    someone = Reviewer(id="carol", role="approver", verified="cli")

    def lost(tx: Transaction) -> None:
        vote = Vote(revision=1, reviewer=someone, choice=Choice.APPROVE, via="cli")
        decide.decide(tx, first.id, vote)
        execution.claim(
            tx, first.id, owner="gw", lease_ms=1_000, recheck=lambda *_: execution.Proceed(None)
        )
        execution.finish(tx, first.id, execution.RunEnd(Execution.OUTCOME_UNKNOWN), owner="gw")

    scene.database.journal.write_now(lost)
    return first, scene.held("pay", {"n": 2}, effect=KEY)


def stands(scene: Scene, server: str) -> str:
    now = scene.approvals.clock.now()
    mark = scene.database.read_now(lambda one: effects.mark_of(one, server, KEY, now=now))
    return "free" if mark is None else str(mark.state)


@pytest.mark.parametrize(
    ("settlement", "then", "state"),
    [("not_done", "free", State.PENDING), ("done", "done", State.SUPERSEDED)],
)
async def test_the_card_asks_whether_it_was_done_and_a_person_says(
    scene: Scene, door: Door, settlement: str, then: str, state: State
) -> None:
    first, held = doubtful(scene)
    visit = await door.signed_in("alice")
    page = (await visit.get(f"/approvals/{held.id}")).text
    assert f'action="/effects/{first.id}/settle"' in page
    assert "may have done already" in page
    assert f'action="/effects/{first.id}/settle"' in (await visit.get("/")).text
    form = {**await visit.form(held.id), "approval": held.id, "settlement": settlement}
    silent = await visit.post(f"/effects/{first.id}/settle", {**form, "note": " "})
    assert (silent.status_code, stands(scene, first.call.server)) == (422, "unknown")
    answer = await visit.post(f"/effects/{first.id}/settle", {**form, "note": "The ledger."})
    assert answer.status_code == 303
    assert stands(scene, first.call.server) == then
    found = await scene.approvals.get(held.id)
    assert found is not None
    assert found.state is state
    again = await visit.post(f"/effects/{first.id}/settle", {**form, "note": "Once more."})
    assert again.status_code == 409


async def test_who_may_only_look_is_not_asked_and_may_not_say(scene: Scene, door: Door) -> None:
    first, held = doubtful(scene)
    visit = await door.signed_in("vera", role="viewer")
    assert "/effects/" not in (await visit.get(f"/approvals/{held.id}")).text
    form = {**await visit.form(held.id), "approval": held.id, "settlement": "not_done"}
    answer = await visit.post(f"/effects/{first.id}/settle", {**form, "note": "x"})
    assert answer.status_code == 403
    assert stands(scene, first.call.server) == "unknown"
