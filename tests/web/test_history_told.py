"""The history as people read it: each row says who did it, about whom or what, and under which
risk; and the API pages it as every other list.
"""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from approvals import effects
from approvals.digest import canonical
from approvals.effects import EffectState
from approvals.model import Call, EffectClaim, Event, Terms
from approvals.telling import OPERATOR, told_of
from tests.support.review_scene import Scene
from tests.web.conftest import Door

ROW = re.compile(r'<tr id="s(\d+)">(.*?)</tr>', re.DOTALL)


async def cells(door: Door, path: str = "/history") -> list[list[str]]:
    """The page's rows as they are read, newest first."""
    page = (await (await door.signed_in("root", "admin")).get(path)).text
    return [
        [
            " ".join(html.unescape(re.sub(r"<[^>]+>", " ", cell)).split())
            for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)
        ]
        for _, row in ROW.findall(page)
    ]


def about_person(event: str, kind: str = "operator") -> Event:
    data = canonical({"reviewer": "carol"}).decode()
    return Event(event=event, actor_kind=kind, actor="carol", data=data)


@pytest.mark.parametrize(
    ("event", "who"),
    [
        ("reviewer_added", OPERATOR),
        ("reviewer_removed", OPERATOR),
        ("credentials_revoked", OPERATOR),
        ("token_issued", OPERATOR),
        ("link_issued", OPERATOR),
        ("link_used", "carol"),
        ("session_issued", "carol"),
    ],
)
def test_whom_a_row_is_about_did_not_do_it(event: str, who: str) -> None:
    told = told_of(about_person(event), {})
    assert (told.who, told.about) == (who, "" if who == "carol" else "carol")


async def test_who_signs_out_did_it(scene: Scene, door: Door) -> None:
    visit = await door.signed_in("carol")
    page = (await visit.get("/")).text
    csrf = re.search(r'name="csrf" value="([^"]*)"', page)
    assert csrf is not None
    await visit.post("/signout", {"csrf": csrf[1], "everywhere": "1"})
    rows = await cells(door, "/history?event=credentials_revoked")
    assert rows[0][4] == "carol"


async def test_an_effect_row_says_the_key_where_it_stands_and_whose_it_is(
    scene: Scene, door: Door
) -> None:
    held = scene.held("pay", {"amount": 1}, terms=Terms(risk="high"))
    call = Call(
        grant="grt_x", grant_label="x", server="billing", tool="pay", arguments=b"{}", tool_hash=""
    )
    await scene.database.journal.write(
        lambda tx: effects.take(
            tx, EffectClaim("pay:7"), call, holder=held.id, terms=Terms(), owner=None
        )
    )
    (row,) = await cells(door, "/history?event=effect_marked")
    assert f"about pay:7: {EffectState.TAKEN}" in row[3]
    assert held.id in row[3]
    assert row[4] == "the gateway"


async def test_rows_of_a_held_call_show_its_risk(scene: Scene, door: Door) -> None:
    held = scene.held("pay", {"amount": 1}, terms=Terms(risk="high"))
    await scene.approvals.withdraw(held.id, grant=held.call.grant, why="Gone.")
    told = {row[2] for row in await cells(door, f"/history?approval_id={held.id}")}
    assert told == {"Held High risk", "Withdrawn High risk"}


def test_an_agent_is_called_alike_in_every_row() -> None:
    names = {"grt_1": "coder"}
    allowed = Event(event="allowed", actor_kind="agent", actor="coder", grant="grt_1")
    held = Event(event="held", actor_kind="agent", actor="grt_1", grant="grt_1")
    assert told_of(allowed, names).who == told_of(held, names).who == "coder"
    granted = Event(event="grant_created", actor_kind="operator", actor="root", grant="grt_1")
    assert (told_of(granted, names).who, told_of(granted, names).about) == ("root", "coder")


async def test_the_api_pages_the_history_by_limit_and_cursor(scene: Scene, door: Door) -> None:
    for number in range(4):
        scene.held("pay", {"amount": number})
    await scene.people.add("alice", role="approver")
    token = await scene.people.token("alice")
    headers = {"Authorization": f"Bearer {token}"}
    http = door.stranger().http

    async def page(query: str) -> dict[str, Any]:
        answer = await http.get(f"/api/v1/history?{query}", headers=headers)
        assert answer.status_code == 200
        return dict(answer.json())

    first = await page("event=held&limit=3")
    assert (len(first["items"]), first["total"]) == (3, 4)
    rest = await page(f"event=held&limit=3&cursor={first['next']}")
    assert [row["seq"] for row in rest["items"]] == [
        row["seq"] for row in (await page("event=held"))["items"][3:]
    ]
    assert (await page(f"event=held&limit=3&before={first['next']}"))["items"] == rest["items"]
    for wrong in ("limit=0", "limit=501", "limit=x", "cursor=x", "before=-1"):
        answer = await http.get(f"/api/v1/history?{wrong}", headers=headers)
        assert answer.status_code == 422, wrong
    described = (await http.get("/api/v1/openapi.json", headers=headers)).json()
    named = {one["name"] for one in described["paths"]["/api/v1/history"]["get"]["parameters"]}
    assert {"limit", "cursor", "before", "text", "event", "verdict", "since"} <= named
