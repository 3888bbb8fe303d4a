# ruff: noqa: RUF001 - this file is about such letters
"""Rows whose names or texts hold letters that may be taken for others say which letters: on the
page, on the command line and in Slack. Names that read alike are flagged and left out of bulk.
"""

from __future__ import annotations

import json

import pytest

from approvals.model import Approval
from approvals.slack.card import card
from approvals.view import View, alone
from gateway.cli.card import draw
from tests.slack.test_card import LOOK
from tests.support.review_scene import Scene
from tests.web.conftest import Door
from tests.web.test_card_words import words

DECEIVING = {"e\u0301x": "3", "\u00e9x": "4", "аpi_key": "2", "host": "pаypal.com"}


async def seen(scene: Scene, held: Approval) -> View:
    view = await scene.approvals.view(held.id)
    assert view is not None
    return view


async def test_every_surface_spells_the_letters_of_the_row(
    scene: Scene, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    held = scene.held("set", DECEIVING)
    view = await seen(scene, held)
    told = {value.path: value.odd for value in view.arguments}
    assert told == {
        "args.e\u0301x": ("name has e\u0301 (U+0065 U+0301)", 'name reads like "\u00e9x"'),
        "args.\u00e9x": ("name has \u00e9 (U+00E9)", 'name reads like "e\u0301x"'),
        "args.аpi_key": ("name has а (U+0430)",),
        "args.host": ("text has а (U+0430)",),
    }
    page = await words(await door.signed_in("alice"), f"/approvals/{held.id}")
    draw(view)
    terminal = capsys.readouterr().out
    slack = json.dumps(card(view, LOOK, now=scene.clock.now()).blocks, ensure_ascii=False)
    for odd in told.values():
        for one in odd[:1]:
            assert one in page
            assert one in terminal
    assert "name has а (U+0430)" in slack


@pytest.mark.parametrize(
    "arguments",
    [
        {"title": "a", "Title": "b"},
        {"o": [{"title": "a", "TITLE": "b"}]},
        {"to": "a", "tо": "b"},
    ],
)
async def test_names_that_read_alike_are_flagged_and_not_for_bulk(
    scene: Scene, arguments: dict[str, object]
) -> None:
    view = await seen(scene, scene.held("set", arguments))
    assert "names alike" in view.flags
    assert alone(view) == "It holds text that may read like another: look at it by itself."
    assert any("reads like" in said for value in view.arguments for said in value.odd)


async def test_names_of_different_objects_may_be_the_same(scene: Scene) -> None:
    view = await seen(scene, scene.held("set", {"a": {"title": 1}, "b": {"Title": 2}}))
    assert "names alike" not in view.flags
    assert [value.odd for value in view.arguments] == [(), ()]


async def test_ordinary_writing_and_masks_have_no_odd_letters(scene: Scene) -> None:
    view = await seen(scene, scene.held("say", {"a": "naïve café, Привет", "token": "x1"}))
    assert [value.odd for value in view.arguments] == [(), ()]


async def test_a_value_that_a_shell_would_take_apart_is_seen_on_the_card(
    scene: Scene, door: Door
) -> None:
    held = scene.held("run", {"token": "x&/tmp/evil.sh"})
    page = await words(await door.signed_in("alice"), f"/approvals/{held.id}")
    assert "x&/tmp/evil.sh" in page


async def test_a_name_above_many_values_is_told_once(scene: Scene) -> None:
    view = await seen(scene, scene.held("set", {"é": {"ü": [1] * 500}}))
    odd = [value.odd for value in view.arguments]
    assert odd == [("name has é (U+00E9)", "name has ü (U+00FC)"), *[()] * 499]
