"""What cards, verdicts and tables say: every word is true, and none is there for nothing."""

from __future__ import annotations

import html
import re

from approvals import queue
from approvals.digest import canonical
from approvals.model import Approval, ArgumentEdit, Choice, Metadata, Reviewer, Terms, Vote
from tests.support.review_scene import Scene
from tests.web.conftest import Door, Visit


async def words(visit: Visit, path: str) -> str:
    """The page as it is read: no tags, one space between words."""
    page = (await visit.get(path)).text
    main = page.partition("<main")[2].partition("</main>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


async def decided(scene: Scene, held: Approval, choice: Choice, by: Reviewer) -> None:
    reason = "no" if choice is Choice.DENY else ""
    await scene.approvals.decide(
        held.id, Vote(revision=1, reviewer=by, choice=choice, reason=reason, via="slack")
    )


async def test_a_first_call_is_not_said_to_be_compared(scene: Scene, door: Door) -> None:
    first, second = (scene.held("git_commit", {"message": name}) for name in "ab")
    visit = await door.signed_in("alice")
    # Two wait: neither is "the first that reached a reviewer".
    for held in (first, second):
        said = await words(visit, f"/approvals/{held.id}")
        assert "Nothing to compare with: no call of this tool by this agent was decided" in said
    bob = await scene.people.add("bob", role="approver")
    await decided(scene, first, Choice.APPROVE, bob)
    said = await words(visit, f"/approvals/{second.id}")
    assert "Since the last approved call by bob" in said
    assert "Decided before Approved" in said
    await decided(scene, second, Choice.DENY, bob)
    said = await words(visit, f"/approvals/{first.id}")
    assert "Others decided Denied" in said  # later than this one


async def test_an_edit_is_compared_with_what_the_agent_asked(scene: Scene, door: Door) -> None:
    terms = Terms(editable=("args.amount",), quorum=2)
    held = scene.held("pay", {"amount": 90_000}, terms=terms)
    bob = await scene.people.add("bob", role="approver")
    await scene.approvals.edit(
        held.id,
        ArgumentEdit(revision=1, reviewer=bob, arguments=b'{"amount":9000000}', via="slack"),
        judge_again=lambda _tx, _call: None,
    )
    visit = await door.signed_in("alice")
    said = await words(visit, f"/approvals/{held.id}")
    assert "Edited since the agent asked by bob" in said
    assert "amount 90000 → 9000000" in said
    assert "Nothing to compare with" not in said


async def test_how_often_an_agent_came_back(scene: Scene, door: Door) -> None:
    held = scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    for said in ("came back once", "came back 2 times", "came back 3 times"):
        scene.database.journal.write_now(lambda tx: queue.attach(tx, held.id))
        assert said in await words(visit, "/")
    timeline = (await words(visit, f"/approvals/{held.id}")).partition("Timeline")[2]
    assert "Came back" in timeline
    assert "by the agent" not in timeline


async def test_a_text_is_called_text_only_where_it_reads_as_something_else(
    scene: Scene, door: Door
) -> None:
    given = {"plain": "main", "number": "12", "truth": "true", "real": 12, "long": "x" * 90}
    held = scene.held("pay", given)
    page = (await (await door.signed_in("alice")).get(f"/approvals/{held.id}")).text
    kinds = re.findall(r'<tr[^>]*><th[^>]*>([^<]*)</th><td>(?:<span class="kind">([^<]*))?', page)
    assert dict(kinds) == {
        "plain": "", "number": "text", "truth": "text", "real": "number", "long": "90 characters",
    }  # fmt: skip


async def test_a_long_change_begins_shortly_before_it_differs(scene: Scene, door: Door) -> None:
    bob = await scene.people.add("bob", role="approver")
    start = "The same beginning of both. " * 10
    past = scene.held("send", {"body": start + "old" + "y" * 1000})
    await decided(scene, past, Choice.APPROVE, bob)
    held = scene.held("send", {"body": start + "new"})
    visit = await door.signed_in("alice")
    in_queue = (await visit.get("/")).text
    (before, after) = re.findall(r'<ul class="diff">.*?<del>(.*?)</del> → <b>(.*?)</b>', in_queue)[
        0
    ]
    assert after == "… " + start[-24:] + "new"
    assert before.startswith("… " + start[-24:] + "old")
    assert before.endswith(" more")
    assert len(before) < 200
    # All of it stands among the arguments and on the call's own page.
    assert start + "new" in (await visit.get(f"/approvals/{held.id}")).text


async def test_a_verdict_tells_what_was_decided_and_what_came_of_it(
    scene: Scene, door: Door
) -> None:
    bob = await scene.people.add("bob", role="approver")
    visit = await door.signed_in("alice")
    left = scene.held("git_commit", {"message": "left"}, waits=False)
    stays = scene.held("git_commit", {"message": "stays"})
    for held in (left, stays):
        await decided(scene, held, Choice.APPROVE, bob)
    said = await words(visit, f"/approvals/{left.id}")
    assert "Approved by bob via slack" in said
    assert "Not run yet: the agent has left; it runs if the agent asks again before" in said
    assert "Not run yet" not in await words(visit, f"/approvals/{stays.id}")
    late = scene.held("git_commit", {"message": "late"}, terms=Terms(risk="low", expires=0))
    scene.database.journal.write_now(lambda tx: queue.expire_due(tx, tx.now))
    said = await words(visit, f"/approvals/{late.id}")
    assert "Expired No one decided in" in said
    assert "“Nobody" not in said


async def test_a_vote_tells_how_many_more_are_needed(scene: Scene, door: Door) -> None:
    held = scene.held("pay", {"a": 1}, terms=Terms(risk="low", quorum=3))
    visit = await door.signed_in("alice")
    form = {**await visit.form(held.id), "choice": "approve"}
    await visit.post(f"/approvals/{held.id}/decide", form)
    assert "You have approved this. 2 more people must approve." in await words(visit, "/")
    bob = await scene.people.add("bob", role="approver")
    await decided(scene, held, Choice.APPROVE, bob)
    assert "You have approved this. One more person must approve." in await words(visit, "/")


async def test_the_history_offers_the_last_hour_and_keeps_the_other_filters(
    scene: Scene, door: Door
) -> None:
    scene.held("git_commit", {"message": "x"})
    visit = await door.signed_in("alice")
    page = (await visit.get("/history?tool=git_commit&until=2020-01-01T00:00")).text
    found = re.search(r'<a href="([^"]*)">Last hour</a>', page)
    assert found is not None
    to = html.unescape(found.group(1))
    assert "tool=git_commit" in to
    assert "until" not in to
    assert "git_commit" in await words(visit, to)


async def test_whoever_approves_an_edited_call_sees_what_the_agent_had_asked(
    scene: Scene, door: Door
) -> None:
    held = scene.held(
        "pay", {"a": 1, "note": None, "to": "<b>x</b>"}, terms=Terms(editable=("args",))
    )
    bob = await scene.people.add("bob", role="approver")
    await scene.approvals.edit(
        held.id,
        ArgumentEdit(revision=1, reviewer=bob, arguments=b'{"a":9,"to":"y"}', via="slack"),
        judge_again=lambda _tx, _call: None,
    )
    visit = await door.signed_in("alice")
    timeline = (await words(visit, f"/approvals/{held.id}")).partition("Timeline")[2]
    assert "Edited by bob via slack" in timeline
    assert "a 1 → 9" in timeline
    assert "note null → not there" in timeline
    assert "to <b>x</b> → y" in timeline


async def test_what_is_sent_beside_the_arguments_is_on_the_card(scene: Scene, door: Door) -> None:
    beside = Metadata(canonical({"_meta": {"vendor/<b>mode": "PRODUCTION"}, "task": {"ttl": 60}}))
    held = scene.held("git_commit", {"message": "a"}, metadata=beside)
    plain = scene.held("git_commit", {"message": "b"})
    visit = await door.signed_in("alice")
    for path in (f"/approvals/{held.id}", "/"):
        said = await words(visit, path)
        assert "Sent beside the arguments" in said
        assert "_meta.vendor/<b>mode" in said
        assert "PRODUCTION" in said
        assert "task.ttl" in said
    assert "Sent beside" not in await words(visit, f"/approvals/{plain.id}")
