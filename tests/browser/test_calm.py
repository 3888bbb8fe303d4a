"""Nothing moves under a reviewer's hand, nothing blinks who asked for rest, no one is startled."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from approvals.model import Choice, Terms, Vote
from tests.browser.conftest import Site, Visitor, Visitors
from tests.browser.test_reviewing import settled
from tests.support.live_gateway import eventually
from tests.support.review_scene import hold

pytestmark = pytest.mark.browser

SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  const name = ({ node }) => node && (node.id || node.className || node.nodeName);
  for (const one of list.getEntries()) window.shifts.push([one.value, ...one.sources.map(name)]);
}).observe({ type: "layout-shift", buffered: true });
"""
LOW, HIGH = Terms(risk="low", expires=3600), Terms(risk="critical", expires=600)


def opened(visitor: Visitor, name: str = "alice", init: str = "") -> Page:
    visitor.context.add_init_script(init)
    page = visitor.sign_in(name)
    settled(page)
    return page


@pytest.mark.parametrize("size", [(1280, 900), (360, 740)])
def test_cards_that_arrive_move_nothing_that_is_seen(
    site: Site, visitors: Visitors, size: tuple[int, int]
) -> None:
    bob = site.do(site.scene.people.add("bob", role="approver"))
    held = [site.scene.held("git_commit", {"message": f"m{n}"}, terms=LOW) for n in range(3)]
    visitor = visitors.new(viewport={"width": size[0], "height": size[1]})
    page = opened(visitor, init=SHIFTS)
    page.evaluate("window.shifts.length = 0")
    riskier = [site.scene.held("delete_customer", {"id": n}, terms=HIGH) for n in range(3)]
    later = site.scene.held("git_commit", {"message": "later"}, terms=LOW)
    page.get_by_role("button", name="3 new above. Show").wait_for()
    page.locator(f"#a-{later.id}").wait_for(state="attached")
    site.do(
        site.scene.approvals.decide(
            held[2].id, Vote(revision=1, reviewer=bob, choice=Choice.DENY, reason="no", via="slack")
        )
    )
    expect(page.locator(f"#a-{held[2].id}")).to_contain_text("Denied")
    moved = page.evaluate("window.shifts")
    # A card decided elsewhere may shrink; what is above it and what has arrived does not move.
    assert [one for one in moved if not str(one[1:]).count("a-apr")] == []
    assert sum(one[0] for one in moved) < 0.3
    expect(page.locator(".card").first).to_have_id(f"a-{held[0].id}")
    page.get_by_role("button", name="3 new above. Show").click()
    expect(page.locator(".card").first).to_have_id(f"a-{riskier[0].id}")


def test_arrivals_alone_shift_nothing_at_all(site: Site, visitors: Visitors) -> None:
    site.scene.held("git_commit", {"message": "m"}, terms=LOW)
    page = opened(visitors.new(), init=SHIFTS)
    assert page.evaluate("window.shifts.reduce((sum, one) => sum + one[0], 0)") < 0.01
    page.evaluate("window.shifts.length = 0")
    for number in range(3):
        site.scene.held("delete_customer", {"id": number}, terms=HIGH)
        site.scene.held("git_commit", {"message": f"after {number}"}, terms=LOW)
    page.get_by_role("button", name="3 new above. Show").wait_for()
    expect(page.locator(".card")).to_have_count(4)
    assert page.evaluate("window.shifts") == []


def test_k_on_the_first_card_shows_what_came_in_above(site: Site, visitors: Visitors) -> None:
    site.scene.held("git_commit", {"message": "m"}, terms=LOW)
    page = opened(visitors.new())
    page.keyboard.press("j")
    riskier = site.scene.held("delete_customer", {"id": 1}, terms=HIGH)
    page.get_by_role("button", name="1 new above. Show").wait_for()
    page.keyboard.press("k")
    expect(page.locator(f"#a-{riskier.id}")).to_be_focused()


def test_a_button_that_has_just_appeared_cannot_be_pressed_yet(
    site: Site, visitors: Visitors
) -> None:
    page = opened(visitors.new())
    page.evaluate(
        "new MutationObserver(() => { const b = document.querySelector('[data-key=approve]');"
        " if (b && window.early === undefined) window.early = b.disabled; })"
        ".observe(document.getElementById('cards'), { childList: true })"
    )
    site.scene.held("git_commit", {"message": "m"})
    button = page.locator("[data-key=approve]")
    expect(button).to_be_enabled()
    assert page.evaluate("window.early") is True


def test_the_focus_goes_on_to_the_next_call_and_to_what_is_left(
    site: Site, visitors: Visitors
) -> None:
    held = [site.scene.held("git_commit", {"message": f"m{n}"}) for n in range(3)]
    quorum = site.scene.held("pay", {"a": 1}, terms=Terms(risk="low", quorum=2))
    page = opened(visitors.new())
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    expect(page.locator(f"#a-{held[2].id}")).to_be_focused()
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    expect(page.locator(f"#a-{quorum.id}")).to_be_focused()
    page.keyboard.press("a")
    page.keyboard.press("Enter")  # counted, one of two: the card stays, and so does the focus
    expect(page.locator(f"#a-{quorum.id}")).to_contain_text("1 of 2")
    expect(page.locator(f"#a-{quorum.id}")).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator(f"#a-{held[0].id}")).to_be_focused()  # decided ones are passed over


def test_whoever_asked_for_rest_sees_no_movement(site: Site, visitors: Visitors) -> None:
    page = opened(visitors.new(reduced_motion="reduce"))
    site.scene.held("git_commit", {"message": "m"})
    page.locator(".card").wait_for()
    assert page.evaluate("document.getAnimations().length") == 0
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.card')).animationName") == "none"
    )


NOTED = """
window.notes = [];
window.Notification = class {
  static permission = "default";
  static async requestPermission() { return (Notification.permission = "granted"); }
  constructor(title, options) { window.notes.push([title, JSON.stringify(options)]); }
};
"""


def hide(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        "(h) => { Object.defineProperty(document, 'hidden', { value: h, configurable: true }); }",
        hidden,
    )


def test_a_notification_is_asked_for_by_a_button_and_names_no_argument(
    site: Site, visitors: Visitors
) -> None:
    visitor = visitors.new()
    page = opened(visitor, init=NOTED)
    hide(page, hidden=True)
    site.scene.held("git_commit", {"message": "before anyone asked"})
    page.locator(".card").first.wait_for(state="attached")
    page.locator(".menu > summary").click()
    page.get_by_role("button", name="Notify me on this computer").click()
    expect(page.get_by_role("button", name="You will be notified")).to_be_visible()
    assert page.evaluate("window.notes") == []
    # The leader speaks, whatever page it shows.
    page.goto(site.url + "/history")
    settled(page)
    page.evaluate("Notification.permission = 'granted'")
    hide(page, hidden=True)
    terms = Terms(summary="Transfer {args.amount} to {args.to}", risk="high")
    given = {"amount": 12_000, "to": "no one's lock screen"}
    site.scene.held("transfer", given, terms=terms)
    eventually(lambda: page.evaluate("window.notes.length"))
    asker = "claude-code on maria's laptop, high risk"
    assert page.evaluate("window.notes") == [
        ["Transfer … to …", f'{{"tag":"signoff","body":"{asker}"}}']
    ]
    # Several at once are counted; where a setting says so, values are named.
    site.scene.database.journal.write_now(
        lambda tx: [hold(tx, "transfer", given, terms=terms) for _ in range(2)]
    )
    eventually(lambda: page.evaluate("window.notes.length") == 2)
    assert page.evaluate("window.notes[1][0]") == "2 calls wait for your decision"
    page.evaluate("document.body.dataset.values = ''")
    site.scene.held("transfer", given, terms=terms)
    eventually(lambda: page.evaluate("window.notes.length") == 3)
    assert page.evaluate("window.notes[2][0]") == "Transfer 12000 to “no one's lock screen”"


def test_nobody_is_notified_of_what_they_look_at(site: Site, visitors: Visitors) -> None:
    visitor = visitors.new()
    hidden = opened(visitor, init=NOTED)
    seen = visitor.page("/")
    settled(seen)
    hidden.evaluate("Notification.permission = 'granted'")
    hide(hidden, hidden=True)
    site.scene.held("git_commit", {"message": "m"})
    seen.locator(".card").wait_for()
    hidden.locator(".card").wait_for(state="attached")
    hidden.wait_for_timeout(500)  # longer than the leader waits before it speaks
    assert hidden.evaluate("window.notes") == []


def test_the_tab_tells_how_many_wait(site: Site, visitors: Visitors) -> None:
    page = opened(visitors.new())
    icon = page.locator("#icon")
    assert "icon.svg" in str(icon.get_attribute("href"))
    site.scene.held("git_commit", {"message": "m"})
    expect(page).to_have_title("(1) Queue · Signoff")
    assert "icon-dot.svg" in str(icon.get_attribute("href"))
    page.get_by_role("button", name="Approve").click()
    expect(page).to_have_title("Queue · Signoff")
    assert "icon.svg" in str(icon.get_attribute("href"))
