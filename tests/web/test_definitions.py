"""A tool's changed definition: seen as it is, accepted only as it was shown (T-60, T-61)."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from approvals.model import Reviewer
from gateway.admin.service import AdminService
from gateway.enforcement.catalogue import Catalogue, Tool
from gateway.enforcement.confirmations import Confirmations
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.grants import Grants
from gateway.enforcement.policy_file import PolicyFile
from gateway.servers import Servers
from tests.support.admin_place import DEFINITIONS, Place, changed
from tests.support.review_scene import Scene
from tests.web.conftest import FROM_OUR_PAGE, Door, Visit
from tests.web.test_inert import stray
from web.border import csrf_token

ADDRESS = "/tools/changed?server=crm&tool=delete_customer"
DELETE = changed(DEFINITIONS["crm"][0])


@pytest.fixture
async def seen(place: Place) -> str:
    """The hash of what the server says of the tool by now."""
    await place.catalogue.observe("crm", [DELETE], complete=True)
    return seen_of(place)


def seen_of(place: Place) -> str:
    return known(place).seen_hash


def known(place: Place) -> Tool:
    tool = place.catalogue.tool("crm", "delete_customer")
    assert tool is not None
    return tool


async def accept(visit: Visit, seen: str, **form: str) -> httpx2.Response:
    csrf = csrf_token(visit.http.cookies["signoff"])
    sent = {"csrf": csrf, "server": "crm", "tool": "delete_customer", "seen": seen, **form}
    return await visit.post("/tools/accept", sent)


async def test_the_difference_is_shown_as_text_and_leads_from_the_tools(
    office: Door, seen: str
) -> None:
    visit = await office.signed_in("alice")
    assert (
        'href="/tools/changed?server=crm&amp;tool=delete_customer"'
        in (await visit.get("/tools")).text
    )
    page = (await visit.get(ADDRESS)).text
    assert stray(page) == ""
    assert "<del>Deletes a customer for good.</del>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert ">\\u200b</span>" in page
    assert "not there" in page
    assert f'name="seen" value="{seen}"' in page


async def test_an_approver_accepts_exactly_what_was_shown(
    office: Door, place: Place, seen: str
) -> None:
    visit = await office.signed_in("alice")
    answer = await accept(visit, seen)
    assert (answer.status_code, answer.headers["location"]) == (303, "/tools?settled=accept")
    tool = known(place)
    assert (tool.hash, tool.quarantined, tool.accepted_by) == (seen, False, "alice")
    assert (await visit.get(ADDRESS)).status_code == 404
    again = await accept(visit, seen)
    assert again.status_code == 409


async def test_a_definition_that_changed_again_is_shown_again(
    office: Door, place: Place, seen: str
) -> None:
    visit = await office.signed_in("alice")
    bob = Reviewer(id="bob", role="approver")  # was first, and the server said otherwise again
    assert await place.admin.settle("crm", "delete_customer", seen, keep=True, by=bob)
    await place.catalogue.observe("crm", [{**DELETE, "title": "Delete"}], complete=True)
    answer = await accept(visit, seen)
    assert answer.status_code == 409
    assert "Nothing was accepted" in answer.text
    assert seen_of(place) != seen
    assert f'name="seen" value="{seen_of(place)}"' in answer.text
    assert known(place).quarantined


async def test_all_that_a_server_changed_is_shown_and_settled_on_one_page(
    office: Door, place: Place, seen: str
) -> None:
    for description in ("Sums up.", "Sums up, and tells me."):
        prompt = {"name": "sum", "description": description}
        await place.catalogue.observe("crm", [prompt], kind="prompt", complete=True)
    visit = await office.signed_in("alice")
    assert 'href="/tools/changed?server=crm"' in (await visit.get("/tools")).text
    page = (await visit.get("/tools/changed?server=crm")).text
    assert stray(page) == ""
    assert "2 definitions changed" in page
    changes = await place.admin.changes("crm")
    assert changes is not None
    assert f'name="seen" value="{changes.digest}"' in page
    assert (await accept(visit, seen, tool="")).status_code == 409
    assert (await accept(visit, changes.digest, tool="")).status_code == 303
    assert place.catalogue.quarantined("crm") == []
    pins = [known(place), place.catalogue.pin("crm", "prompt", "sum")]
    assert [pin.accepted_by for pin in pins if pin is not None] == ["alice", "alice"]


async def test_an_approver_stays_with_what_is_pinned(office: Door, place: Place, seen: str) -> None:
    visit = await office.signed_in("alice")
    pinned = known(place).hash
    assert (await accept(visit, seen, choice="keep")).status_code == 303
    tool = known(place)
    assert (tool.hash, tool.quarantined, tool.definition["description"]) == (
        pinned,
        False,
        "Deletes a customer for good.",
    )


async def test_a_viewer_sees_the_difference_and_accepts_nothing(
    office: Door, place: Place, seen: str
) -> None:
    visit = await office.signed_in("eve", "viewer")
    page = (await visit.get(ADDRESS)).text
    assert "Accept this definition" not in page
    assert (await accept(visit, seen)).status_code == 403
    assert known(place).quarantined


async def test_nothing_is_accepted_without_the_sessions_token(
    office: Door, place: Place, seen: str
) -> None:
    visit = await office.signed_in("alice")
    assert (await accept(visit, seen, csrf="x")).status_code == 403
    stranger = office.stranger()
    form = {"server": "crm", "tool": "delete_customer", "seen": seen}
    assert (await stranger.post("/tools/accept", form, FROM_OUR_PAGE)).status_code == 401
    assert (await visit.get("/tools/accept")).status_code == 405
    assert known(place).quarantined


async def test_the_gateways_desk_compares_and_pins(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text('{"version": "1", "default": "allow", "tools": {}}')
    catalogue = Catalogue(scene.database)
    first = {"name": "pay", "description": "Pays", "inputSchema": {"type": "object"}}
    later = {**first, "description": "Pays twice", "annotations": {"readOnlyHint": True}}
    for definition in (first, later):
        await catalogue.observe("bank", [definition], complete=True)
    policies, servers = PolicyFile(file, scene.clock), Servers(servers={})
    desk = AdminService(
        database=scene.database,
        grants=Grants(scene.database, scene.clock),
        freezes=Freezes(scene.database),
        catalogue=catalogue,
        policies=policies,
        servers=servers,
        confirmations=Confirmations(scene.database, policies, servers, None),
    )
    alice = Reviewer(id="alice", role="approver")
    changes = await desk.changes("bank", "pay")
    assert changes is not None
    shown = changes.pins[0]
    assert [(one.path, one.before, one.after) for one in shown.fields] == [
        ("annotations", None, '{"readOnlyHint": true}'),
        ("description", "Pays", "Pays twice"),
    ]
    assert not await desk.settle("bank", "pay", shown.pinned_hash, keep=False, by=alice)
    assert await desk.settle("bank", "pay", shown.seen_hash, keep=False, by=alice)
    assert await desk.changes("bank", "pay") is None
    assert await desk.changes("bank", "nothing") is None
    tool = catalogue.tool("bank", "pay")
    assert tool is not None
    assert (tool.quarantined, tool.accepted_by) == (False, "alice")
