"""What the card offers to whom: said on the card instead of refused after the press."""

from __future__ import annotations

from approvals.model import Event, State, Terms
from approvals.permission import GRANT as TABLE
from approvals.record import signed
from approvals.rows import load
from tests.support.review_scene import Scene
from tests.web.conftest import Door
from tests.web.test_card_words import words

GRANT = "grt_7d1f0a22c3b94e58"
OWNER = "This rule wants someone other than the agent's owner."


def owned_by(scene: Scene, name: str) -> None:
    row = {"id": GRANT, "label": "x", "token_hash": "h", "servers": '["*"]', "created_at": 1}
    event = Event(event="grant_created", actor_kind="operator", grant=GRANT)
    scene.database.journal.write_now(
        lambda tx: signed.put(tx, TABLE, {**row, "owner": name}, event=event)
    )


async def test_the_owner_is_told_on_the_card_and_may_still_deny(scene: Scene, door: Door) -> None:
    owned_by(scene, "alice")
    await scene.people.add("bob", role="approver")
    held = scene.held("pay", {"amount": 1}, terms=Terms(risk="high", not_owner=True))
    visit = await door.signed_in("alice")
    for path in ("/", f"/approvals/{held.id}"):
        page = (await visit.get(path)).text
        assert OWNER in await words(visit, path)
        assert 'data-key="approve"' not in page
        assert 'data-key="deny"' in page
    other = await door.signed_in("bob")
    assert 'data-key="approve"' in (await other.get(f"/approvals/{held.id}")).text


async def test_an_administrator_sees_deny_alone_where_others_are_named(
    scene: Scene, door: Door
) -> None:
    held = scene.held("pay", {"amount": 1}, terms=Terms(reviewers=("bob",)))
    visit = await door.signed_in("root", "admin")
    said = await words(visit, f"/approvals/{held.id}")
    assert "This rule names other reviewers." in said
    assert "No one can approve this: bob is no approver on record." in said
    page = (await visit.get(f"/approvals/{held.id}")).text
    assert 'data-key="approve"' not in page
    form = await visit.form(held.id)
    answer = await visit.post(
        f"/approvals/{held.id}/decide", form | {"choice": "deny", "reason": "bob is away"}
    )
    assert answer.status_code == 303
    now = scene.database.read_now(lambda connection: load(connection, held.id))
    assert now is not None
    assert (now.state, now.decided_by) == (State.DENIED, "root")


async def test_an_approver_whom_the_rule_does_not_name_sees_no_button(
    scene: Scene, door: Door
) -> None:
    held = scene.held("pay", {"amount": 1}, terms=Terms(reviewers=("bob",)))
    visit = await door.signed_in("alice")
    page = (await visit.get(f"/approvals/{held.id}")).text
    assert 'data-key="approve"' not in page
    assert 'data-key="deny"' not in page
