"""The page draws every kind of argument, inert, and as sent beside it."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from approvals.model import Choice, Vote
from approvals.slack.card import card
from gateway.cli.card import draw
from tests.slack.test_card import LOOK
from tests.support.review_scene import Scene
from tests.web.conftest import Door
from tests.web.test_inert import ATTACKS, DRAWN, stray
from tests.web.test_viewers import CONFIG, MAIL, PATCH, ROWS, SQL, encoded, png

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str]] = {
    "words": (
        {"body": MAIL.replace("1 December", "2 January")},
        {"body": MAIL},
        "<del>1 December</del><ins>2 January</ins>",
    ),
    "number": ({"amount": 9}, {"amount": 5}, "<del>5</del><i> → </i><ins>9</ins>"),
    "sql": ({"query": SQL}, None, '<span class="word">UPDATE</span>'),
    "sql since": ({"query": SQL + "COMMIT;\n"}, {"query": SQL}, '<li class="came"'),
    "patch": ({"patch": PATCH}, None, '<span class="plus">+1</span>'),
    "tree": ({"config": CONFIG}, None, '<details data-part="f1" open>'),
    "table": ({"items": ROWS}, None, '<table class="like">'),
    "bytes": ({"file": encoded(b"%PDF-1.7" + bytes(range(256)))}, None, "PDF document"),
    "picture": ({"file": encoded(png(32, 16))}, None, '<img src="data:image/png;base64,'),
    "look-alike": ({"host": "p\u0430ypal.com"}, None, "only looks like “paypal”"),
}


async def approved(scene: Scene, arguments: dict[str, Any]) -> None:
    bob = await scene.people.find("bob") or await scene.people.add("bob", role="approver")
    past = scene.held("send", arguments)
    vote = Vote(revision=1, reviewer=bob, choice=Choice.APPROVE, reason="", via="page")
    await scene.approvals.decide(past.id, vote)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_drawn_with_as_sent_beside(scene: Scene, door: Door, kind: str) -> None:
    arguments, before, expected = KINDS[kind]
    if before is not None:
        await approved(scene, before)
    held = scene.held("send", arguments)
    page = (await (await door.signed_in("alice")).get(f"/approvals/{held.id}")).text
    assert expected in page
    assert stray(page) == ""
    raw = page.partition('<div class="raw">')[2].partition('class="since"')[0]
    sent = html.unescape(re.sub(r"<[^>]+>", "", raw))
    assert "complete" in sent
    for name in arguments:
        assert f'"{name}":' in sent


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_kind_lets_a_text_out(scene: Scene, door: Door, attack: str) -> None:
    arguments = {
        "query": f"{SQL}-- {attack}\nSELECT '{attack}';\n",
        "patch": PATCH + f"@@ -1 +1,2 @@ {attack}\n-{attack}\n+{attack} more\n+{attack}\n",
        "body": f"{attack}\n{attack}\n{MAIL}",
        "items": [{attack: attack, "n": n} for n in range(3)],
        "config": {attack: [{attack: [attack] * 20}] * 3},
        "file": encoded(f"{attack} and so on, {attack}".encode() * 6),
        "url": f"data:image/png;base64,{attack}",
        "code": f"#!/bin/sh\n{attack}\n",
    }
    await approved(scene, {**arguments, "body": f"{attack}\nx\n{MAIL}", "gone": attack})
    held = scene.held("send", arguments)
    visit = await door.signed_in("alice")
    for path in ("/", f"/approvals/{held.id}", f"/approvals/{held.id}/card"):
        page = (await visit.get(path)).text
        assert stray(page) == ""
        for hidden in "\u202e\u200b\u0007\u2066\ufeff\U000e0041\x00\x1b\u2028":
            assert hidden not in page


async def test_a_picture_is_the_only_thing_with_a_source_of_its_own(
    scene: Scene, door: Door
) -> None:
    held = scene.held("send", {"a": encoded(png(32, 16)), "b": "<svg></svg>" * 20})
    page = (await (await door.signed_in("alice")).get(f"/approvals/{held.id}")).text
    (source,) = re.findall(r'<img src="([^"]*)"', page)
    assert DRAWN.fullmatch(source)
    assert source.endswith(encoded(png(32, 16)))


async def test_a_call_of_many_values_is_reviewed_in_full(scene: Scene, door: Door) -> None:
    held = scene.held("send", {f"key_{n}": n for n in range(40)})
    visit = await door.signed_in("alice")
    queue = (await visit.get("/")).text
    assert "28 more values: review in full" in queue
    assert "Review in full</a>" in queue
    page = (await visit.get(f"/approvals/{held.id}")).text
    assert "key_39" in page
    assert "more values" not in page


async def test_the_earlier_call_with_the_same_target_is_the_one_compared_with(
    scene: Scene, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    await approved(scene, {"customer": "cus_1", "amount": 500})
    await approved(scene, {"customer": "cus_2", "amount": 7})
    held = scene.held("send", {"customer": "cus_1", "amount": 501})
    view = await scene.approvals.view(held.id)
    assert view is not None
    assert view.since_approved is not None
    assert view.since_approved.about == "customer"
    assert [one.path for one in view.since_approved.changes] == ["args.amount"]
    page = (await (await door.signed_in("alice")).get(f"/approvals/{held.id}")).text
    assert "<del>500</del><i> → </i><ins>501</ins>" in page
    assert "Since the last approved call with the same customer" in page
    draw(view)
    assert "changed since last approved with the same customer" in capsys.readouterr().out
    slack = json.dumps(card(view, LOOK, now=scene.clock.now()).blocks)
    assert "since the last approved call with the same customer" in slack
    other = await scene.approvals.view(scene.held("send", {"customer": "cus_3"}).id)
    assert other is not None
    assert other.since_approved is not None
    assert other.since_approved.about == ""  # the latest of all


async def test_what_is_looked_at_without_masks_is_read_by_kind_too(
    scene: Scene, door: Door
) -> None:
    held = scene.held("send", {"query": SQL, "api_key": "abc"})
    visit = await door.signed_in("alice")
    form = await visit.form(held.id)
    page = (await visit.post(f"/approvals/{held.id}/reveal", {"csrf": form["csrf"]})).text
    assert '<span class="word">UPDATE</span>' in page
    assert ">abc<" in page
