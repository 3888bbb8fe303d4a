"""On the page: the risk that was stored decides order, bulk, confirmation; a class is settled."""

from __future__ import annotations

from approvals.model import Terms
from gateway.enforcement.tool_class import ToolClass
from gateway.risk.assessment import Category
from tests.support.admin_place import Place
from tests.support.review_scene import Scene
from tests.web.conftest import FROM_OUR_PAGE, Door
from tests.web.test_card_words import words
from web.border import csrf_token

SET = Terms(risk="low", risk_set=True, tool_risk="critical")
CRITICAL = Terms(risk="critical", tool_risk="critical")


async def test_a_lowered_risk_is_said_on_the_card(scene: Scene, door: Door) -> None:
    held = scene.held("delete_customer", {"id": "cus_1"}, terms=SET)
    visit = await door.signed_in("alice")
    said = await words(visit, f"/approvals/{held.id}")
    assert "Low risk" in said
    assert "The rule sets this risk. By its class the tool is of critical risk." in said
    other = scene.held("delete_customer", {"id": "cus_2"}, terms=CRITICAL)
    said = await words(visit, f"/approvals/{other.id}")
    assert "Critical risk" in said
    assert "The rule sets this risk" not in said


async def test_the_stored_risk_orders_confirms_and_keeps_out_of_bulk(
    scene: Scene, door: Door
) -> None:
    low = scene.held("list_customers", {"page": 1}, terms=Terms(risk="low", tool_risk="low"))
    critical = scene.held("delete_customer", {"id": "cus_1"}, terms=CRITICAL)
    visit = await door.signed_in("alice")
    queue = (await visit.get("/")).text
    assert queue.index(critical.id) < queue.index(low.id)
    assert f'value="{low.id}:1:' in queue  # may be picked
    assert f'value="{critical.id}:1:' not in queue
    csrf = csrf_token(visit.http.cookies["signoff"])
    shown = (await visit.get(f"/approvals/{critical.id}/card")).text
    digest = shown.partition('name="view" value="')[2].partition('"')[0]
    sent = {"csrf": csrf, "choice": "approve", "revision": "1", "view": digest}
    answer = await visit.post(f"/approvals/{critical.id}/decide", sent)
    assert answer.status_code == 422
    assert "to approve a call of critical risk" in answer.text


def settled(place: Place) -> ToolClass | None:
    tool = place.catalogue.tool("git", "git_commit")
    assert tool is not None
    return tool.settled


async def test_an_administrator_settles_a_class_as_it_was_shown(office: Door, place: Place) -> None:
    visit = await office.signed_in("root", "admin")
    page = (await visit.get("/tools")).text
    assert 'action="/tools/class"' in page
    csrf = csrf_token(visit.http.cookies["signoff"])
    tool = place.catalogue.tool("git", "git_commit")
    assert tool is not None
    sent = {"csrf": csrf, "server": "git", "tool": tool.name, "kind": "execute"}
    answer = await visit.post("/tools/class", {**sent, "seen": "ab" * 32})  # of another definition
    assert (answer.status_code, answer.headers["location"]) == (303, "/tools")
    assert settled(place) is None
    await visit.post("/tools/class", {**sent, "seen": tool.hash})
    found = settled(place)
    assert found is not None
    assert (found.category, found.settled_by) == (Category.EXECUTE, "root")


async def test_an_approver_settles_no_class(office: Door, place: Place) -> None:
    visit = await office.signed_in("alice")
    assert 'action="/tools/class"' not in (await visit.get("/tools")).text
    csrf = csrf_token(visit.http.cookies["signoff"])
    tool = place.catalogue.tool("git", "git_commit")
    assert tool is not None
    sent = {"csrf": csrf, "server": "git", "tool": tool.name, "seen": tool.hash, "kind": "read"}
    assert (await visit.post("/tools/class", sent)).status_code == 403
    assert (await visit.post("/tools/class", sent, headers=FROM_OUR_PAGE)).status_code == 403
    assert settled(place) is None
