"""The sentence of a held call on the page and in the API: one everywhere, and its values inert."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from approvals.model import ArgumentEdit, Choice, Terms, Vote
from approvals.view import view_of
from tests.support.review_scene import Scene
from tests.web.conftest import Door

CHARGE = Terms(
    summary="Charge {args.amount|money:minor} to {args.customer}", editable=("args.amount",)
)
GIVEN = {"amount": 120_000, "currency": "eur", "customer": "cus_4471"}
DRAWN = 'Charge <bdi class="v">€1,200.00</bdi> to <bdi class="v">cus_4471</bdi>'


def sentences(page: str) -> list[str]:
    return re.findall(r'<span class="sentence">(.*?)</span>(?=</a>|\s|</b>)', page, re.DOTALL)


async def test_it_is_the_title_in_queue_call_and_history(scene: Scene, door: Door) -> None:
    held = scene.held("create_charge", GIVEN, terms=CHARGE)
    visit = await door.signed_in("alice")
    for path in ("/", f"/approvals/{held.id}", "/history"):
        page = (await visit.get(path)).text
        assert DRAWN in sentences(page), path
        assert "<bdi>create_charge</bdi> on <bdi>billing</bdi>" in page, path
    said = re.findall(r'data-said="([^"]*)"', (await visit.get("/")).text)
    assert said == ["Charge €1,200.00 to cus_4471, medium risk"]


async def test_the_api_tells_it_in_lists_and_in_full(scene: Scene, door: Door) -> None:
    held = scene.held("create_charge", GIVEN, terms=CHARGE)
    await door.signed_in("alice")
    token = await scene.people.token("alice")
    headers = {"Authorization": f"Bearer {token}"}
    http = door.stranger().http
    (listed,) = (await http.get("/api/v1/pending", headers=headers)).json()["items"]
    full = (await http.get(f"/api/v1/approvals/{held.id}", headers=headers)).json()
    assert listed["headline"] == full["headline"]
    assert listed["headline"]["text"] == "Charge €1,200.00 to cus_4471"
    assert [one["kind"] for one in listed["headline"]["parts"]] == ["literal", "value"] * 2


async def test_without_a_rules_own_it_names_tool_and_arguments(scene: Scene, door: Door) -> None:
    scene.held("deploy", {"env": "prod", "request_id": "a-1", "version": "1.2.3"})
    page = (await (await door.signed_in("alice")).get("/")).text
    assert sentences(page) == ['Deploy <bdi class="v">prod</bdi>, <bdi class="v">1.2.3</bdi>']


async def test_an_edit_makes_a_new_sentence_and_another_view(scene: Scene, door: Door) -> None:
    held = scene.held("create_charge", GIVEN, terms=CHARGE)
    bob = await scene.people.add("bob", role="approver")
    visit = await door.signed_in("alice")
    edited = b'{"amount":90000,"currency":"eur","customer":"cus_4471"}'
    edit = ArgumentEdit(revision=1, reviewer=bob, arguments=edited, via="page")
    await scene.approvals.edit(held.id, edit, judge_again=lambda _tx, _call: None)
    page = (await visit.get(f"/approvals/{held.id}")).text
    assert sentences(page)[0].startswith('Charge <bdi class="v">€900.00</bdi>')


async def test_the_digest_of_what_was_shown_covers_the_sentence(scene: Scene) -> None:
    def digest(terms: Terms) -> str:
        held = scene.held("create_charge", GIVEN, terms=terms)
        now = scene.clock.now()
        view = scene.database.read_now(lambda connection: view_of(connection, held.id, now=now))
        assert view is not None
        assert view.headline.text in ("Charge €1,200.00 to cus_4471", "Charge 120000 to cus_4471")
        return view.digest

    other = Terms(summary="Charge {args.amount} to {args.customer}", editable=("args.amount",))
    assert digest(CHARGE) != digest(other)


async def test_what_was_decided_keeps_the_sentence_it_was_shown_under(
    scene: Scene, door: Door
) -> None:
    """The template is kept with the call: another policy does not rewrite what people read."""
    held = scene.held("create_charge", GIVEN, terms=CHARGE)
    bob = await scene.people.add("bob", role="approver")
    vote = Vote(revision=1, reviewer=bob, choice=Choice.DENY, reason="no", via="cli")
    await scene.approvals.decide(held.id, vote)
    page = (await (await door.signed_in("alice")).get(f"/approvals/{held.id}")).text
    assert DRAWN in sentences(page)


@pytest.mark.parametrize(
    "value",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "cus_1\nApproved by security",
        "\u202egnp.exe\u200b",
        "{{ 7 * 7 }}",
        "</bdi></span>",
    ],
)
async def test_a_value_stays_one(scene: Scene, door: Door, value: Any) -> None:
    held = scene.held("create_charge", {**GIVEN, "customer": value}, terms=CHARGE)
    page = (await (await door.signed_in("alice")).get(f"/approvals/{held.id}")).text
    title = page.partition('class="sentence">')[2].partition("</h1>")[0]
    assert re.findall(r"<(?!/?(?:bdi|span|a)\b)[a-z]+", title) == []
    words = html.unescape(re.sub(r"<[^>]+>", "", title))
    assert "\n" not in words.partition("create_charge")[0].rstrip()
    assert not {"\u202e", "\u200b"} & set(title)
    if "\u202e" in value:
        assert 'class="ctl"' in title, "hidden characters are named as they are elsewhere"


async def test_a_masked_value_is_masked_here_too(scene: Scene, door: Door) -> None:
    secret = "sk_live_ABCDEFGHIJKL1234"
    scene.held("create_charge", {**GIVEN, "customer": secret}, terms=CHARGE)
    page = (await (await door.signed_in("alice")).get("/")).text
    assert secret not in page
    assert "[redacted, " in sentences(page)[0]
