"""Deciding on the page and by the API: who wins, what is refused (T-31, T-32, T-37, T-39)."""

from __future__ import annotations

import anyio
import pytest

from approvals.execution import Claimed
from approvals.model import State, Terms
from tests.support.patience import PATIENCE
from tests.support.record import run
from tests.support.review_scene import Scene
from tests.web.conftest import FROM_OUR_PAGE, Door


async def state_of(scene: Scene, approval_id: str) -> State:
    approval = await scene.approvals.get(approval_id)
    assert approval is not None
    return approval.state


async def test_a_press_approves_and_the_view_that_was_shown_is_kept(
    scene: Scene, door: Door
) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    form = await visit.form(held.id)
    answer = await visit.post(f"/approvals/{held.id}/decide", {**form, "choice": "approve"})
    assert answer.status_code == 303
    assert await state_of(scene, held.id) is State.APPROVED
    (vote,) = await scene.approvals.decisions(held.id)
    assert (vote.reviewer, vote.via, vote.view_digest) == ("alice", "page", form["view"])


async def test_a_denial_needs_a_reason_and_the_own_words_win_over_the_preset(
    scene: Scene, door: Door
) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "deny"}
    refused = await visit.post(f"/approvals/{held.id}/decide", form)
    assert refused.status_code == 422
    assert "Say why" in refused.text
    assert await state_of(scene, held.id) is State.PENDING
    words = {"preset": "Too risky", "reason": "Use a branch"}
    await visit.post(f"/approvals/{held.id}/decide", {**form, **words})
    approval = await scene.approvals.get(held.id)
    assert approval is not None
    assert (approval.state, approval.reason) == (State.DENIED, "Use a branch")


async def test_asking_for_a_change_is_a_denial_that_says_what_to_change(
    scene: Scene, door: Door
) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "change"}
    silent = await visit.post(f"/approvals/{held.id}/decide", form)
    assert (silent.status_code, "Say what to change" in silent.text) == (422, True)
    await visit.post(f"/approvals/{held.id}/decide", {**form, "reason": "commit to a branch"})
    approval = await scene.approvals.get(held.id)
    assert approval is not None
    assert approval.state is State.DENIED
    assert approval.reason == "Not as it is. Change this and call again: commit to a branch"


async def test_a_deadline_is_moved_by_what_is_offered_and_not_otherwise(
    scene: Scene, door: Door
) -> None:
    held = scene.held("git_commit", {"message": "x"}, terms=Terms(risk="low", expires=1800))
    visit = await door.signed_in("alice")
    form = await visit.form(held.id)
    path = f"/approvals/{held.id}/extend"
    for seconds in ("7201", "-1800", "99999999"):
        assert (await visit.post(path, {**form, "seconds": seconds})).status_code == 422
    assert (await visit.post(path, {**form, "seconds": "7200"})).status_code == 303
    approval = await scene.approvals.get(held.id)
    assert approval is not None
    assert approval.expires_at == held.expires_at + 7_200_000
    headers = {**FROM_OUR_PAGE, "X-Signoff-Fragment": "1"}
    answer = await visit.post(path, {**form, "seconds": "1800"}, headers)
    assert f'data-expires="{held.expires_at + 9_000_000}"' in answer.text


async def test_nobody_extends_beyond_30_days_or_what_is_decided(scene: Scene, door: Door) -> None:
    held = scene.held("x", {}, terms=Terms(risk="low", expires=30 * 86_400))
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "seconds": "86400"}
    path = f"/approvals/{held.id}/extend"
    answer = await visit.post(path, form)
    assert (answer.status_code, "within 30 days" in answer.text) == (403, True)
    viewer = await door.signed_in("eve", "viewer")
    assert (await viewer.post(path, form)).status_code == 403
    denial = {**form, "choice": "deny", "reason": "no"}
    await visit.post(f"/approvals/{held.id}/decide", denial)
    assert (await visit.post(path, form)).status_code == 409


async def test_high_risk_needs_the_tools_name_typed(scene: Scene, door: Door) -> None:
    held = scene.held("delete_customer", {"id": 1}, terms=Terms(risk="high"))
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "approve"}
    for typed in ("", "delete", "DELETE_CUSTOMER"):
        answer = await visit.post(f"/approvals/{held.id}/decide", {**form, "confirm": typed})
        assert answer.status_code == 422
    assert await state_of(scene, held.id) is State.PENDING
    await visit.post(f"/approvals/{held.id}/decide", {**form, "confirm": "delete_customer"})
    assert await state_of(scene, held.id) is State.APPROVED


async def test_the_loser_of_a_race_is_told_who_won(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visits = {name: await door.signed_in(name) for name in ("alice", "bob", "carol", "dave")}
    forms = {name: await visit.form(held.id) for name, visit in visits.items()}
    statuses: dict[str, int] = {}
    bodies: dict[str, str] = {}

    async def press(name: str) -> None:
        form = {**forms[name], "choice": "deny", "reason": f"{name} says no"}
        answer = await visits[name].post(f"/approvals/{held.id}/decide", form)
        statuses[name], bodies[name] = answer.status_code, answer.text

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for name in visits:
                group.start_soon(press, name)
    assert sorted(statuses.values()) == [303, 409, 409, 409]
    winner = next(name for name, status in statuses.items() if status == 303)
    for name in visits.keys() - {winner}:
        assert f"Someone was first: denied by {winner} via page." in bodies[name]


async def test_pressing_twice_is_harmless(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "approve"}
    assert (await visit.post(f"/approvals/{held.id}/decide", form)).status_code == 303
    again = await visit.post(f"/approvals/{held.id}/decide", form)
    assert again.status_code == 409
    assert "approved by you via page" in again.text
    assert len(await scene.approvals.decisions(held.id)) == 1


async def test_an_old_revision_decides_nothing(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "approve", "revision": "2"}
    answer = await visit.post(f"/approvals/{held.id}/decide", form)
    assert answer.status_code == 409
    assert await state_of(scene, held.id) is State.PENDING


async def test_a_fragment_answer_is_the_card_with_what_happened(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "approve"}
    headers = {**FROM_OUR_PAGE, "X-Signoff-Fragment": "1"}
    answer = await visit.post(f"/approvals/{held.id}/decide", form, headers)
    assert answer.status_code == 200
    assert answer.text.lstrip().startswith("<article")
    assert "data-open" not in answer.text


async def test_a_viewer_sees_and_cannot_decide(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    approver, viewer = await door.signed_in("alice"), await door.signed_in("eve", "viewer")
    page = await viewer.get(f"/approvals/{held.id}")
    assert "may look, but not decide" in page.text
    form = {**await approver.form(held.id), "choice": "approve"}
    from web.border import csrf_token  # noqa: PLC0415 - eve forges the rest of the form

    form["csrf"] = csrf_token(viewer.http.cookies["signoff"])
    assert (await viewer.post(f"/approvals/{held.id}/decide", form)).status_code == 403
    assert await state_of(scene, held.id) is State.PENDING


async def test_a_quorum_counts_people_and_says_how_many_are_missing(
    scene: Scene, door: Door
) -> None:
    held = scene.held("git_commit", {"message": "x"}, terms=Terms(risk="low", quorum=2))
    alice, bob = await door.signed_in("alice"), await door.signed_in("bob")
    path = f"/approvals/{held.id}/decide"
    await alice.post(path, {**await alice.form(held.id), "choice": "approve"})
    assert await state_of(scene, held.id) is State.PENDING
    assert "You have approved this" in (await alice.get(f"/approvals/{held.id}")).text
    await bob.post(path, {**await bob.form(held.id), "choice": "approve"})
    assert await state_of(scene, held.id) is State.APPROVED


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_only_post_decides(scene: Scene, door: Door, method: str) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "approve"}
    for path in (f"/approvals/{held.id}/decide", f"/api/v1/approvals/{held.id}/approve"):
        answer = await visit.http.request(method, path, params=form, headers=FROM_OUR_PAGE)
        assert answer.status_code == 405
    override = {"X-HTTP-Method-Override": "POST", "X-Forwarded-User": "alice"}
    answer = await visit.http.get(f"/approvals/{held.id}/decide", params=form, headers=override)
    assert answer.status_code == 405
    assert await state_of(scene, held.id) is State.PENDING


@pytest.mark.parametrize("token", ["sgn_grant", "grt_7d1f0a22c3b94e58", "", "alice"])
async def test_an_agent_cannot_approve_by_the_api(scene: Scene, door: Door, token: str) -> None:
    held = scene.held("git_commit", {"message": "x"})
    stranger = door.stranger()
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-User": "alice"}
    for path in ("approve", "deny", "../approvals/" + held.id + "/approve"):
        url = f"/api/v1/approvals/{held.id}/{path}"
        answer = await stranger.http.post(url, json={"revision": 1}, headers=headers)
        assert answer.status_code in (401, 404, 405)
    assert await state_of(scene, held.id) is State.PENDING


async def test_a_program_decides_with_a_reviewers_token(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    await scene.people.add("alice", role="approver")
    headers = {"Authorization": f"Bearer {await scene.people.token('alice')}"}
    http = door.stranger().http
    listed = (await http.get("/api/v1/pending", headers=headers)).json()
    assert [item["id"] for item in listed["items"]] == [held.id]
    shown = (await http.get(f"/api/v1/approvals/{held.id}", headers=headers)).json()
    body = {"revision": shown["revision"], "view_digest": shown["view_digest"]}
    url = f"/api/v1/approvals/{held.id}/approve"
    answer = await http.post(url, json=body, headers=headers)
    assert answer.json()["outcome"] == "moved"
    again = await http.post(url, json=body, headers=headers)
    assert (again.status_code, again.json()["code"]) == (409, "already_decided")
    (vote,) = await scene.approvals.decisions(held.id)
    assert (vote.via, vote.view_digest) == ("api", shown["view_digest"])
    rows = (await http.get("/api/v1/history?event=approved", headers=headers)).json()["items"]
    assert [row["actor"] for row in rows] == ["alice"]


async def test_the_api_with_a_cookie_needs_the_sessions_token(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    url = f"/api/v1/approvals/{held.id}/deny"
    body = {"revision": 1, "reason": "no"}
    refused = await visit.http.post(url, json=body, headers=FROM_OUR_PAGE)
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf")
    csrf = (await visit.form(held.id))["csrf"]
    headers = {**FROM_OUR_PAGE, "X-CSRF-Token": csrf}
    assert (await visit.http.post(url, json=body, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"revision": "1"}, {"revision": 0}, {"revision": 1, "choice": "approve"}, []]
)
async def test_a_malformed_decision_is_a_problem_and_decides_nothing(
    scene: Scene, door: Door, body: object
) -> None:
    held = scene.held("git_commit", {"message": "x"})
    await scene.people.add("alice", role="approver")
    headers = {"Authorization": f"Bearer {await scene.people.token('alice')}"}
    url = f"/api/v1/approvals/{held.id}/approve"
    answer = await door.stranger().http.post(url, json=body, headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert await state_of(scene, held.id) is State.PENDING


async def test_looking_never_changes_anything(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    visit.key.reads = True
    before = (await scene.approvals.get(held.id), (await visit.get("/api/v1/me")).json()["cursor"])
    paths = ("/", f"/approvals/{held.id}", f"/approvals/{held.id}/card", "/history", "/tools")
    for path in (*paths, "/policy", "/insights", "/history/export.csv", "/history/export.jsonl"):
        assert (await visit.get(path)).status_code == 200
    after = (await scene.approvals.get(held.id), (await visit.get("/api/v1/me")).json()["cursor"])
    assert after == before


@pytest.mark.parametrize("written", ["apr_nothing", "%2e%2e%2fsignin", "a" * 3000])
async def test_an_invented_id_finds_nothing(door: Door, written: str) -> None:
    visit = await door.signed_in("alice")
    for path in (f"/approvals/{written}", f"/approvals/{written}/card"):
        assert (await visit.get(path)).status_code == 404
    token = {"X-CSRF-Token": "x", **FROM_OUR_PAGE}
    answer = await visit.http.post(f"/api/v1/approvals/{written}/approve", json={}, headers=token)
    assert answer.status_code in (403, 404, 422)


async def test_an_approval_is_taken_back_from_the_decided_card(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"}, terms=Terms(risk="low"))
    path, headers = f"/approvals/{held.id}/take-back", {**FROM_OUR_PAGE, "X-Signoff-Fragment": "1"}
    alice, bob = await door.signed_in("alice"), await door.signed_in("bob")
    form = await alice.form(held.id)
    approved = await alice.post(
        f"/approvals/{held.id}/decide", {**form, "choice": "approve"}, headers
    )
    assert f'action="{path}"' in approved.text
    assert f'action="{path}"' in (await alice.get(f"/approvals/{held.id}")).text
    assert f'action="{path}"' not in (await bob.get(f"/approvals/{held.id}")).text
    other = await bob.post(path, {"csrf": (await bob.form(held.id)).get("csrf", "")}, headers)
    assert (other.status_code, "Only someone who approved it" in other.text) == (403, True)
    forged = await alice.post(path, {"csrf": "x"}, headers)
    assert forged.status_code == 403
    done = await alice.post(path, {"csrf": form["csrf"]}, headers)
    assert (done.status_code, "Taken back" in done.text, path in done.text) == (200, True, False)
    found = await scene.approvals.get(held.id)
    assert found is not None
    assert (found.state, found.decided_by, found.decided_via) == (
        *(State.WITHDRAWN, "alice", "page"),
    )
    late = await alice.post(path, {"csrf": form["csrf"]}, headers)
    assert (late.status_code, "took it back already" in late.text) == (409, True)


async def test_what_has_started_is_not_taken_back_and_offers_no_button(
    scene: Scene, door: Door
) -> None:
    held = scene.held("git_commit", {"message": "x"}, terms=Terms(risk="low"))
    path = f"/approvals/{held.id}/take-back"
    alice = await door.signed_in("alice", "admin")
    form = await alice.form(held.id)
    await alice.post(f"/approvals/{held.id}/decide", {**form, "choice": "approve"})
    claimed = scene.database.journal.write_now(lambda tx: run(tx, held, "gw"))
    assert isinstance(claimed, Claimed)
    page = (await alice.get(f"/approvals/{held.id}")).text
    assert f'action="{path}"' not in page
    late = await alice.post(path, {"csrf": form["csrf"]})
    assert (late.status_code, "It has started" in late.text) == (409, True)
