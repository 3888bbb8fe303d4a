"""Several calls decided at once: one tool, a result for each, and what must not is left out."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from approvals.model import Approval, ArgumentEdit, Choice, State, Terms, Vote
from tests.support.review_scene import HOSTILE, Scene
from tests.web.conftest import Door, Visit
from tests.web.test_inert import stray
from web.border import csrf_token
from web.pages.bulk import MOST


async def items(visit: Visit) -> dict[str, str]:
    """What can be selected on the queue, by approval."""
    page = (await visit.get("/")).text
    found = re.findall(r'name="item" value="([^"]+)"', page)
    return {value.partition(":")[0]: value for value in found}


async def press(visit: Visit, picked: list[str], **form: str) -> tuple[int, str]:
    """The status, and what the page says as plain text."""
    csrf = csrf_token(visit.http.cookies["signoff"])
    sent = {"csrf": csrf, "choice": "approve", "item": picked, **form}
    answer = await visit.post("/bulk", sent)  # type: ignore[arg-type]  # a list is sent as many
    assert stray(answer.text) == ""
    main = answer.text[answer.text.index("<main") :]
    return answer.status_code, html.unescape(" ".join(re.sub(r"<[^>]+>", " ", main).split()))


async def states(scene: Scene, held: list[Approval]) -> list[State]:
    found = [await scene.approvals.get(one.id) for one in held]
    return [one.state for one in found if one is not None]


async def test_each_selected_call_is_decided_and_keeps_what_was_shown(
    scene: Scene, door: Door
) -> None:
    held = [scene.held("git_commit", {"message": f"m{n}"}) for n in range(3)]
    visit = await door.signed_in("alice")
    offered = await items(visit)
    status, said = await press(visit, [offered[one.id] for one in held[:2]])
    assert (status, "2 approved" in said) == (200, True)
    assert await states(scene, held) == [State.APPROVED, State.APPROVED, State.PENDING]
    (vote,) = await scene.approvals.decisions(held[0].id)
    assert (vote.reviewer, vote.via) == ("alice", "page")
    assert offered[held[0].id].endswith(f":{vote.view_digest}")


async def test_a_denial_of_several_reaches_each_agent_with_the_reason(
    scene: Scene, door: Door
) -> None:
    held = [scene.held("git_commit", {"message": f"m{n}"}) for n in range(2)]
    visit = await door.signed_in("alice")
    offered = list((await items(visit)).values())
    status, said = await press(visit, offered, choice="deny")
    assert (status, "Say why" in said) == (422, True)
    assert await states(scene, held) == [State.PENDING] * 2
    _, said = await press(visit, offered, choice="deny", preset="Too risky")
    assert "2 denied" in said
    found = await scene.approvals.get(held[1].id)
    assert found is not None
    assert (found.state, found.reason) == (State.DENIED, "Too risky")


async def test_calls_of_different_tools_are_not_decided_together(scene: Scene, door: Door) -> None:
    held = [scene.held("git_commit", {}), scene.held("git_push", {}),
            scene.held("git_commit", {"x": 1}, server="other")]  # fmt: skip
    visit = await door.signed_in("alice")
    offered = await items(visit)
    for pair in (held[:2], held[::2]):
        status, said = await press(visit, [offered[one.id] for one in pair])
        assert (status, "Only calls of one tool" in said) == (422, True)
    assert await states(scene, held) == [State.PENDING] * 3


LEFT_OUT: dict[str, tuple[dict[str, Any], Terms]] = {
    "High risk": ({"a": 1}, Terms(risk="high")),
    "Critical risk": ({"a": 1}, Terms(risk="critical")),
    "several people": ({"a": 1}, Terms(risk="low", quorum=2)),
    "too long": ({"a": "x" * 3000}, Terms(risk="low")),
    "would not be seen": ({"a": "x\u200by"}, Terms(risk="low")),
    "Something in it is masked": ({"api_key": "abc"}, Terms(risk="low")),
    "read like another": ({"a": "https://xn--pple-43d.com"}, Terms(risk="low")),
    "names other reviewers": ({"a": 1}, Terms(risk="low", reviewers=("bob",))),
}


@pytest.mark.parametrize("why", LEFT_OUT)
async def test_what_a_person_should_see_alone_is_left_out_and_says_why(
    scene: Scene, door: Door, why: str
) -> None:
    arguments, terms = LEFT_OUT[why]
    special = scene.held("git_commit", arguments, terms=terms)
    plain = scene.held("git_commit", {"b": 2})
    visit = await door.signed_in("alice")
    offered = await items(visit)
    assert list(offered) == [plain.id]
    view = await scene.approvals.view(special.id)
    assert view is not None
    forced = f"{special.id}:1:{view.digest}"
    _, said = await press(visit, [forced, offered[plain.id]])
    assert "1 approved, 1 left out" in said
    assert why in said
    assert await states(scene, [special, plain]) == [State.PENDING, State.APPROVED]


async def test_a_call_that_was_edited_or_decided_meanwhile_is_left_out(
    scene: Scene, door: Door
) -> None:
    terms = Terms(risk="low", editable=("args.a",))
    held = [scene.held("pay", {"a": n}, terms=terms) for n in range(3)]
    visit = await door.signed_in("alice")
    offered = await items(visit)
    bob = await scene.people.add("bob", role="approver")
    await scene.approvals.edit(
        held[0].id, ArgumentEdit(revision=1, reviewer=bob, arguments=b'{"a":9}', via="page"),
        judge_again=lambda _tx, _call: None,
    )  # fmt: skip
    await scene.approvals.decide(
        held[1].id, Vote(revision=1, reviewer=bob, choice=Choice.DENY, reason="no", via="slack")
    )
    _, said = await press(visit, [offered[one.id] for one in held])
    assert "It was edited" in said
    assert "it is denied by bob" in said
    assert await states(scene, held) == [State.PENDING, State.DENIED, State.APPROVED]


async def test_a_viewer_decides_nothing_and_is_offered_nothing(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {})
    offered = await items(await door.signed_in("alice"))
    visit = await door.signed_in("eve", "viewer")
    assert await items(visit) == {}
    _, said = await press(visit, [offered[held.id]])
    assert "may look, but not decide" in said
    assert await states(scene, [held]) == [State.PENDING]


@pytest.mark.parametrize("item", ["", "x", "a:b", "a:b:c:d", "apr_no:1:x", "apr_no:" * 40])
async def test_selections_nobody_made_do_nothing(scene: Scene, door: Door, item: str) -> None:
    visit = await door.signed_in("alice")
    status, _ = await press(visit, [item])
    assert status in (200, 422)
    assert (await press(visit, []))[0] == 422
    assert (await press(visit, ["a:1:b"] * (MOST + 1)))[0] == 422
    assert (await press(visit, ["a:1:b"], choice="x"))[0] == 422


async def test_hostile_text_stays_text_in_the_results(scene: Scene, door: Door) -> None:
    held = scene.held("<script>", HOSTILE, terms=Terms(risk="low"))
    visit = await door.signed_in("alice")
    view = await scene.approvals.view(held.id)
    assert view is not None
    _, said = await press(visit, [f"{held.id}:1:{view.digest}"])
    assert "would not be seen" in said
