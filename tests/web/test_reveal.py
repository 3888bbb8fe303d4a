"""The page and the API show what the scanner masked to who may decide, and record it."""

from __future__ import annotations

import json

from approvals.model import Terms
from approvals.record.history import HistoryQuery
from tests.support.review_scene import Scene
from tests.web.conftest import Door
from tests.web.test_card_words import words

COMMAND = "git clone https://bot:x7Zk2~evil@github.com/acme/site"


async def looks(scene: Scene, approval_id: str) -> list[tuple[str, str]]:
    page = await scene.approvals.history(HistoryQuery(approval_id=approval_id))
    return [(row.event.actor, row.event.via) for row in page.rows if row.event.event == "revealed"]


async def test_the_page_shows_it_once_asked_and_keeps_who_looked(scene: Scene, door: Door) -> None:
    held = scene.held("run", {"command": COMMAND}, terms=Terms(risk="low"))
    visit = await door.signed_in("alice")
    masked = await words(visit, f"/approvals/{held.id}")
    assert "x7Zk2" not in masked
    assert "Show what is masked" in masked
    form = await visit.form(held.id)
    answer = await visit.post(f"/approvals/{held.id}/reveal", {"csrf": "wrong"})
    assert answer.status_code == 403
    assert await looks(scene, held.id) == []
    answer = await visit.post(f"/approvals/{held.id}/reveal", {"csrf": form["csrf"]})
    assert answer.status_code == 200
    assert COMMAND in answer.text
    assert "Show what is masked" not in answer.text
    assert f'value="{form["view"]}"' in answer.text  # what is decided is what was shown before
    assert await looks(scene, held.id) == [("alice", "page")]
    assert "Looked behind the masks by alice" in await words(visit, f"/approvals/{held.id}")


async def test_a_viewer_is_offered_nothing(scene: Scene, door: Door) -> None:
    held = scene.held("run", {"command": COMMAND})
    visit = await door.signed_in("eve", "viewer")
    assert "Show what is masked" not in await words(visit, f"/approvals/{held.id}")


async def test_the_api_shows_it_and_says_why_the_call_stands_alone(
    scene: Scene, door: Door
) -> None:
    held = scene.held("run", {"command": COMMAND}, terms=Terms(risk="low"))
    await scene.people.add("alice", role="approver")
    await scene.people.add("eve", role="viewer")
    stranger = door.stranger().http
    for name, status in (("eve", 403), ("alice", 200)):
        headers = {"Authorization": f"Bearer {await scene.people.token(name)}"}
        full = (await stranger.get(f"/api/v1/approvals/{held.id}", headers=headers)).json()
        assert full["alone"].startswith("Something in it is masked")
        assert "masked" in full["view"]["flags"]
        answer = await stranger.post(f"/api/v1/approvals/{held.id}/reveal", headers=headers)
        assert answer.status_code == status, answer.text
    assert json.loads(answer.json()["arguments"]) == {"command": COMMAND}
    assert await looks(scene, held.id) == [("alice", "api")]
