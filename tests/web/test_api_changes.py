"""Editing, extending and settling by the JSON API, for programs of people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from approvals.model import Approval, Call, Execution, State, Terms
from approvals.record.database import Transaction
from tests.support.admin_place import open_place
from tests.support.review_scene import Scene, charge
from tests.web.conftest import FROM_OUR_PAGE, Door, Visit
from web.app import build

EDITABLE = Terms(risk="low", editable=("args.amount", "args.metadata.*"))


def agree(_tx: Transaction, _call: Call, *, held: Approval) -> None:
    return None


@pytest.fixture
async def office(scene: Scene, tmp_path: Path) -> Door:
    place = await open_place(scene, tmp_path)
    return Door(build(scene.services(**{**place.services(), "judge_again": agree})), scene)


async def send(office: Door, path: str, body: Any, name: str = "alice") -> httpx2.Response:
    token = await office.scene.people.token(name)
    headers = {"Authorization": f"Bearer {token}"}
    return await office.stranger().http.post(
        f"/api/v1/approvals/{path}", json=body, headers=headers
    )


@pytest.fixture
async def alice(scene: Scene) -> None:
    await scene.people.add("alice", role="approver")
    await scene.people.add("eve", role="viewer")


@pytest.mark.usefixtures("alice")
async def test_an_edit_by_path_is_a_new_revision(scene: Scene, office: Door) -> None:
    held = scene.held("create_charge", charge(900), terms=EDITABLE)
    answer = await send(office, f"{held.id}/edit", {"revision": 1, "changes": {"args.amount": 450}})
    assert answer.status_code == 200
    assert answer.json()["approval"]["revision"] == 2
    found = await scene.approvals.get(held.id)
    assert found is not None
    assert json.loads(found.call.arguments) == charge(450)
    assert found.state is State.PENDING


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"customer": "x"}, "not_editable"),
        ({"amount": "450"}, "not_editable"),
        ({"amount": True}, "not_editable"),
        ({"nothing": 1}, "not_editable"),
        ({"amount": 900}, "not_allowed"),
        ({}, "invalid_request"),
    ],
)
async def test_other_changes_are_refused(
    scene: Scene, office: Door, changes: dict[str, Any], code: str
) -> None:
    held = scene.held("create_charge", charge(900), terms=EDITABLE)
    answer = await send(office, f"{held.id}/edit", {"revision": 1, "changes": changes})
    assert (answer.status_code, answer.json()["code"]) in ((422, code), (403, code))
    stale = await send(office, f"{held.id}/edit", {"revision": 7, "changes": {"amount": 1}})
    assert (stale.status_code, stale.json()["code"]) == (409, "stale_revision")


@pytest.mark.usefixtures("alice")
async def test_a_deadline_is_moved_within_bounds(scene: Scene, office: Door) -> None:
    held = scene.held("pay", {}, terms=Terms(risk="low", expires=60))
    answer = await send(office, f"{held.id}/extend", {"seconds": 3600})
    assert answer.json()["approval"]["expires_at"] == held.expires_at + 3_600_000
    for seconds in (0, -5, 31 * 86_400, "60", 1.5):
        refused = await send(office, f"{held.id}/extend", {"seconds": seconds})
        assert refused.status_code == 422


@pytest.mark.usefixtures("alice")
async def test_what_is_not_unknown_is_not_settled(scene: Scene, office: Door) -> None:
    held = scene.held("pay", {})
    body = {"settlement": "done", "note": "looked"}
    answer = await send(office, f"{held.id}/settle", body)
    assert answer.status_code == 409
    assert (await send(office, f"{held.id}/settle", {**body, "note": " "})).status_code == 422
    found = await scene.approvals.get(held.id)
    assert found is not None
    assert (found.execution, found.settlement) == (Execution.NONE, None)


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("edit", {"revision": 1, "changes": {"amount": 1}}),
        ("extend", {"seconds": 60}),
        ("settle", {"settlement": "done", "note": "x"}),
    ],
)
async def test_a_viewer_or_a_page_without_its_token_changes_nothing(
    scene: Scene, office: Door, path: str, body: Any
) -> None:
    held = scene.held("create_charge", charge(900), terms=EDITABLE)
    answer = await send(office, f"{held.id}/{path}", body, "eve")
    assert answer.status_code in (403, 409)  # 409: nothing to settle
    visit: Visit = await office.signed_in("alice")
    url = f"/api/v1/approvals/{held.id}/{path}"
    assert (await visit.http.post(url, json=body, headers=FROM_OUR_PAGE)).status_code == 403
    found = await scene.approvals.get(held.id)
    assert found is not None
    assert (found.revision, found.expires_at) == (1, held.expires_at)


@pytest.mark.usefixtures("alice")
async def test_an_administrator_denies_what_names_others_and_the_view_says_who_can_approve(
    scene: Scene, office: Door
) -> None:
    await scene.people.add("root", role="admin")
    held = scene.held("create_charge", charge(900), terms=Terms(reviewers=("bob",)))
    token = await scene.people.token("root")
    headers = {"Authorization": f"Bearer {token}"}
    shown = await office.stranger().http.get(f"/api/v1/approvals/{held.id}", headers=headers)
    assert shown.json()["view"]["unable"].startswith("No one can approve this: bob is no approver")
    approve = await send(office, f"{held.id}/approve", {"revision": 1}, "root")
    assert (approve.status_code, approve.json()["title"]) == (
        403,
        "This rule names other reviewers.",
    )
    body = {"revision": 1, "reason": "bob is away"}
    assert (await send(office, f"{held.id}/deny", body, "alice")).status_code == 403
    denied = await send(office, f"{held.id}/deny", body, "root")
    assert (denied.status_code, denied.json()["approval"]["state"]) == (200, "denied")


@pytest.mark.usefixtures("alice")
async def test_an_approval_is_taken_back_until_it_has_started(scene: Scene, office: Door) -> None:
    held = scene.held("create_charge", charge(900))
    waits = await send(office, f"{held.id}/take-back", {})
    assert (waits.status_code, waits.json()["code"]) == (409, "too_late")
    await send(office, f"{held.id}/approve", {"revision": 1})
    looks = await send(office, f"{held.id}/take-back", {}, name="eve")
    assert (looks.status_code, looks.json()["code"]) == (403, "not_allowed")
    wrong = await send(office, f"{held.id}/take-back", {"why": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_request")
    done = await send(office, f"{held.id}/take-back", {"reason": "Wrong customer."})
    assert (done.status_code, done.json()["outcome"]) == (200, "moved")
    told = done.json()["approval"]
    assert (told["state"], told["taken_back"], told["decided_by"], told["reason"]) == (
        *("withdrawn", True, "alice", "Wrong customer."),
    )
    late = await send(office, f"{held.id}/take-back", {})
    assert (late.status_code, late.json()["code"]) == (409, "too_late")
