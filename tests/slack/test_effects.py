"""An effect no one knows about, in Slack: the card has both answers, and each wants to know how."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from approvals import effects
from approvals.model import State
from approvals.slack.card import card
from approvals.slack.card_context import CardContext
from approvals.view import view_of
from tests.slack.app_bench import Bench, bench
from tests.support.fake_slack.payloads import click, submit
from tests.support.fake_slack.rules import wrong_blocks, wrong_view
from tests.web.test_effects import KEY, doubtful


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("action", "then", "state"),
    [("effect.not_done", "free", State.PENDING), ("effect.done", "done", State.SUPERSEDED)],
)
async def test_a_person_says_whether_it_was_done(
    there: Bench, action: str, then: str, state: State
) -> None:
    first, held = doubtful(there.scene)
    database, clock = there.scene.database, there.scene.approvals.clock
    view = database.read_now(lambda one: view_of(one, held.id, now=clock.now()))
    assert view is not None
    face = card(
        view, CardContext("http://127.0.0.1:1", show_arguments=True, team="T1"), now=clock.now()
    )
    assert wrong_blocks(list(face.blocks)) == []
    buttons = [one for block in face.blocks for one in block.get("elements", ())]
    assert {one.get("action_id") for one in buttons} >= {"effect.done", "effect.not_done"}
    await there.press(click(there.slack, held, action, "U1"))
    opened = dict(there.slack.called("views.open")[-1].params["view"])
    assert wrong_view(opened) == []
    silent = await there.press(submit(there.slack, opened, {"reason": None}, "U1"))
    assert silent["response_action"] == "errors"
    await there.press(submit(there.slack, opened, {"reason": "The ledger."}, "U1"))
    mark = database.read_now(
        lambda one: effects.mark_of(one, first.call.server, KEY, now=clock.now())
    )
    assert ("free" if mark is None else str(mark.state)) == then
    assert await there.state(held) is state
