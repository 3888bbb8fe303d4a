"""More time, a change asked for, a call changed first: pressed in a real browser."""

from __future__ import annotations

from statistics import median

import pytest
from playwright.sync_api import expect

from approvals.model import Approval, Call, Choice, State, Terms, Vote
from approvals.record.database import Transaction
from tests.browser.conftest import Site, Visitors
from tests.browser.test_reviewing import settled, state_of
from tests.support.review_scene import charge, hold

pytestmark = pytest.mark.browser

EDITABLE = Terms(risk="low", quorum=2, editable=("args.amount", "args.note"))


def agree(_tx: Transaction, _call: Call, *, held: Approval) -> None:
    return None


@pytest.fixture
def editable(site: Site) -> Site:
    site.stop()
    site.more = {"judge_again": agree}
    site.start()
    return site


def test_a_call_is_changed_by_keyboard_and_then_approved(
    editable: Site, visitors: Visitors
) -> None:
    held = editable.scene.held("pay", {"amount": 900, "to": "acme"}, terms=EDITABLE)
    page = visitors.new().sign_in("alice")
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.keyboard.press("Enter")
    field = page.get_by_label("amount")
    field.fill("450")
    page.keyboard.press("Enter")
    expect(page.locator(".diff")).to_contain_text("900 → 450")
    assert editable.do(editable.scene.approvals.get(held.id)).revision == 1
    page.get_by_role("button", name="Save this change").click()
    expect(page.get_by_text("edited").first).to_be_visible()
    changed = editable.do(editable.scene.approvals.get(held.id))
    assert (changed.revision, changed.call.arguments) == (2, b'{"amount":450,"to":"acme"}')
    page.get_by_role("button", name="Approve", exact=False).first.click()
    expect(page.get_by_text("You have approved this")).to_be_visible()
    assert state_of(editable, held.id) is State.PENDING  # one of two


def test_a_half_filled_change_stays_when_the_call_moves_on(
    editable: Site, visitors: Visitors
) -> None:
    held = editable.scene.held("pay", {"amount": 900, "note": "a\nb"}, terms=EDITABLE)
    page = visitors.new().sign_in("alice")
    page.goto(f"{editable.url}/approvals/{held.id}#edit")
    settled(page)
    page.get_by_label("amount").fill("12")
    page.get_by_label("note").fill("half a sent")
    bob = editable.do(editable.scene.people.add("bob", role="approver"))
    editable.do(
        editable.scene.approvals.decide(
            held.id, Vote(revision=1, reviewer=bob, choice=Choice.APPROVE, via="slack")
        )
    )
    expect(page.get_by_text("1 of 2")).to_be_visible()
    expect(page.get_by_label("amount")).to_have_value("12")
    expect(page.get_by_label("note")).to_have_value("half a sent")


def test_more_time_is_given_in_place(site: Site, visitors: Visitors) -> None:
    held = site.scene.held("pay", {"amount": 900}, terms=Terms(risk="low", expires=600))
    page = visitors.new().sign_in("alice")
    settled(page)
    card = page.locator(f"#a-{held.id}")
    card.locator("[data-key=extend]").click()
    card.get_by_role("button", name="2 hours").click()
    expect(card.locator(".clock b")).to_have_text("2 h")
    assert state_of(site, held.id) is State.PENDING


def test_a_change_is_asked_for_and_the_agent_is_told_what(site: Site, visitors: Visitors) -> None:
    held = site.scene.held("pay", {"amount": 900})
    page = visitors.new().sign_in("alice")
    settled(page)
    card = page.locator(f"#a-{held.id}")
    card.locator("[data-key=deny]").click()
    card.get_by_label("Reason in your own words").fill("half of it")
    card.get_by_role("button", name="Ask for a change").click()
    expect(card).to_contain_text("Not as it is. Change this and call again: half of it")
    assert state_of(site, held.id) is State.DENIED


@pytest.mark.figure
def test_the_first_paint_of_a_queue_with_200_pending(site: Site, visitors: Visitors) -> None:
    bob = site.do(site.scene.people.add("bob", role="approver"))
    for number in range(60):
        past = site.scene.held("create_charge", charge(number))
        site.do(
            site.scene.approvals.decide(
                past.id, Vote(revision=1, reviewer=bob, choice=Choice.APPROVE, via="page")
            )
        )
    site.scene.database.journal.write_now(
        lambda tx: [hold(tx, "create_charge", charge(500 + number)) for number in range(200)]
    )
    page = visitors.new().sign_in("alice")
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    took = []
    for _ in range(11):
        page.reload()
        settled(page)
        took.append(float(page.evaluate(paint)))
    print(f"first paint with 200 pending: median {median(took):.0f} ms")
