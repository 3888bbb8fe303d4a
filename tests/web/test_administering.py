"""Tools, policy, agents and servers on the page; who may change them."""

from __future__ import annotations

import html
import re

import httpx2
import pytest

from approvals.model import Role
from gateway.enforcement.grants import learn
from tests.support.admin_place import DEFINITIONS, RULES, Place, changed
from tests.web.conftest import FROM_OUR_PAGE, HOST, Door, Visit
from tests.web.test_inert import stray
from web.border import csrf_token
from web.pages.admin import connect_lines


async def press(visit: Visit, path: str, **form: str) -> httpx2.Response:
    csrf = csrf_token(visit.http.cookies["signoff"])
    return await visit.post(path, {"csrf": csrf, **form})


def made(answer: httpx2.Response) -> str:
    """The token that a page shows this once."""
    found = re.search(r'<code class="once">(sgn_[^<]+)</code>', answer.text)
    assert found is not None
    return found[1]


async def grant_of(place: Place) -> str:
    """The id of the one grant there is."""
    (line,) = await place.admin.grants()
    return line.id


async def test_a_new_grants_token_is_shown_once_with_lines_to_paste(
    office: Door, place: Place
) -> None:
    visit = await office.signed_in("root", "admin")
    answer = await press(visit, "/agents/new", label='ci "bot"', servers="billing, crm", days="30")
    token = made(answer)
    assert f"claude mcp add --transport http ci--bot {HOST}/mcp " in answer.text
    assert f"Authorization: Bearer {token}" in html.unescape(answer.text)
    assert stray(answer.text) == ""
    assert answer.headers["cache-control"] == "no-store"
    assert token not in (await visit.get("/agents")).text
    (line,) = await place.admin.grants()
    assert line.servers == ("billing", "crm")
    assert line.expires_at == line.created_at + 30 * 86_400_000


async def test_an_administrator_revokes_and_freezes(office: Door, place: Place) -> None:
    visit = await office.signed_in("root", "admin")
    await press(visit, "/agents/new", label="x")
    grant = await grant_of(place)
    assert "Revoked." in (await press(visit, "/agents/revoke", id=grant)).text
    assert "It had ended before." in (await press(visit, "/agents/revoke", id=grant)).text
    await press(visit, "/agents/freeze", kind="everything", on="1")
    await press(visit, "/agents/freeze", kind="server", name="crm", on="1")
    assert place.freezes.frozen() == ("everything", "server crm")
    assert "Frozen" in (await visit.get("/agents")).text
    await press(visit, "/agents/freeze", kind="everything", on="")
    assert place.freezes.frozen() == ("server crm",)


async def test_a_server_nobody_knows_is_told_at_once(office: Door) -> None:
    visit = await office.signed_in("root", "admin")
    said = (await press(visit, "/agents/new", label="ci", servers="billing, crn")).text
    assert "No server is called crn: see servers.json." in said
    said = (await press(visit, "/agents/new", label="ci", servers="*")).text
    assert "No server is called" not in said


async def test_a_hold_that_was_learned_down_says_why(office: Door, place: Place) -> None:
    visit = await office.signed_in("root", "admin")
    await press(visit, "/agents/new", label="hasty")
    assert "gives up after" not in (await visit.get("/agents")).text
    grant = await grant_of(place)
    place.scene.database.journal.write_now(lambda tx: learn(tx, grant, 60))
    said = "Its client gives up after 60 s, so its held calls wait 54 s at most"
    assert said in (await visit.get("/agents")).text


async def test_a_freeze_leads_back_to_where_it_was_pressed(office: Door) -> None:
    visit = await office.signed_in("root", "admin")
    for kind, name, place in (
        ("server", "crm", "servers"),
        ("grant", "grt_1", "grt_1"),
        ("everything", "", "everything"),
    ):
        answer = await press(visit, "/agents/freeze", kind=kind, name=name, on="1")
        assert answer.headers["location"] == f"/agents#{place}"


@pytest.mark.parametrize("role", ["viewer", "approver"])
@pytest.mark.parametrize("path", ["/agents/new", "/agents/revoke", "/agents/freeze"])
async def test_others_change_nothing(office: Door, place: Place, role: Role, path: str) -> None:
    visit = await office.signed_in("eve", role)
    answer = await press(visit, path, label="x", id="grt_0", kind="everything", on="1")
    assert answer.status_code == 403
    assert (await place.admin.grants(), place.freezes.frozen()) == ([], ())
    assert "New agent" not in (await visit.get("/agents")).text


async def test_no_change_without_the_sessions_token(office: Door, place: Place) -> None:
    visit = await office.signed_in("root", "admin")
    answer = await visit.post("/agents/new", {"label": "x"}, FROM_OUR_PAGE)
    assert answer.status_code == 403
    assert await place.admin.grants() == []


async def test_tools_stand_with_their_risk_and_what_happens_to_their_calls(
    office: Door, place: Place
) -> None:
    free = {"name": "drop_ledger", "annotations": {"destructiveHint": True}}
    place.file.write_text(RULES.replace('"git_status": {}', '"git_status": {}, "drop_ledger": {}'))
    await place.policies.refresh_aside()
    await place.catalogue.observe("crm", [changed(DEFINITIONS["crm"][0]), free], complete=True)
    page = (await (await office.signed_in("alice")).get("/tools")).text
    assert stray(page) == ""
    for words in ("Waits for approval", "Passes within limits", "Unguarded", "Definition changed"):
        assert words in page


async def test_the_policy_in_force_is_shown_as_it_is(office: Door, place: Place) -> None:
    page = (await (await office.signed_in("alice")).get("/policy")).text
    assert "&#34;default&#34;: &#34;deny&#34;" in page
    assert place.policies.current.hash in page


def test_lines_to_paste_hold_no_name_that_a_shell_would_read() -> None:
    lines = connect_lines("http://h", "$(rm -rf /) `x`; é", "sgn_1")
    assert lines[0]["text"].split()[5].strip("-").replace("-", "").isalnum()
