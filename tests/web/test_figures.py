"""Figures for reviewers: counted from the record, left out where they would say little."""

from __future__ import annotations

from approvals.model import Choice, Event, Vote
from tests.support.review_scene import Scene
from web.views.figures import NONE, ToolUse, insights, use_of_tools


async def test_a_tools_use_counts_each_call_once(scene: Scene) -> None:
    alice = await scene.people.add("alice", role="approver")
    held = scene.held("pay", {"n": 1})
    scene.held("pay", {"n": 2})
    await scene.approvals.decide(
        held.id, Vote(revision=1, reviewer=alice, choice=Choice.DENY, reason="no", via="page")
    )
    scene.database.journal.write_now(
        lambda tx: [
            tx.append(Event(event=name, server="billing", tool="pay"))
            for name in ("allowed", "allowed", "limited", "denied")
        ]
    )
    now = scene.clock.now()
    use = scene.database.read_now(lambda connection: use_of_tools(connection, now))
    assert use == {("billing", "pay"): ToolUse(calls=6, held=2, denied=2)}


async def test_no_rate_stands_on_fewer_than_five_decisions(scene: Scene) -> None:
    alice = await scene.people.add("alice", role="approver")

    async def decide(number: int) -> None:
        held = scene.held("pay", {"n": number})
        choice = Choice.DENY if number == 0 else Choice.APPROVE
        await scene.approvals.decide(
            held.id, Vote(revision=1, reviewer=alice, choice=choice, reason="", via="page")
        )

    def approved() -> str:
        found = scene.database.read_now(lambda c: insights(c, scene.clock.now()))
        assert found.bars[-1].count + found.bars[-2].count == int(found.stats[0].value)
        return found.stats[1].value

    for number in range(4):
        await decide(number)
    assert approved() == NONE
    await decide(4)
    assert approved() == "80 %"
