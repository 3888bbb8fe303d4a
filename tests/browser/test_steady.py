"""A long day at the queue: nothing is taken from under a reviewer's hand by what others and agents
do, and what the reviewer does costs no second step.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from approvals.model import Approval, Choice, State, Terms, Vote
from gateway.operations.status import Alert
from tests.browser.conftest import Site, Visitors
from tests.browser.test_reviewing import settled, state_of
from tests.support.live_gateway import eventually

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
PRESS_ONCE_GONE = """
([gone, next]) => new MutationObserver((_, observer) => {
  const card = document.getElementById(gone);
  if (!card || card.hasAttribute("data-open")) return;
  observer.disconnect();
  setTimeout(() => {
    const press = new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1 });
    window.pressed = document.querySelector(`#${next} button[value=approve]`).dispatchEvent(press);
  }, 100);
}).observe(document.getElementById("cards"), { childList: true, subtree: true })
"""
"""A finger that comes down on the next card's Approve just after the list has moved."""
LOW, HIGH = Terms(risk="low"), Terms(risk="critical")


def commits(site: Site, count: int) -> list[Approval]:
    return [site.scene.held("git_commit", {"message": f"m{n}"}) for n in range(count)]


def card_of(page: Page, held: Approval) -> Locator:
    return page.locator(f"#a-{held.id}")


def elsewhere(site: Site, held: Approval, choice: Choice = Choice.DENY) -> None:
    """Someone else decides it."""
    bob = site.do(site.scene.people.add("bob", role="approver"))
    site.do(
        site.scene.approvals.decide(
            held.id, Vote(revision=1, reviewer=bob, choice=choice, reason="mine", via="slack")
        )
    )


def top(card: Locator) -> float:
    box = card.bounding_box()
    assert box is not None
    return box["y"]


def test_a_second_tap_does_not_decide_the_call_that_has_moved_there(
    site: Site, visitors: Visitors
) -> None:
    first, second = commits(site, 2)
    page = visitors.new(**PHONE).sign_in("alice")
    settled(page)
    box = card_of(page, first).get_by_role("button", name="Approve").bounding_box()
    assert box is not None
    spot = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.evaluate(PRESS_ONCE_GONE, [f"a-{first.id}", f"a-{second.id}"])
    page.touchscreen.tap(*spot)
    expect(card_of(page, first)).to_contain_text("by alice")
    expect(card_of(page, second)).to_be_focused()
    # The next call's Approve is where the first one's was.
    assert (
        page.evaluate("([x, y]) => document.elementFromPoint(x, y).closest('.card').id", list(spot))
        == f"a-{second.id}"
    )
    eventually(lambda: page.evaluate("'pressed' in window"))
    assert page.evaluate("window.pressed") is False
    assert state_of(site, second.id) is State.PENDING

    def decided() -> bool:
        page.touchscreen.tap(*spot)
        return state_of(site, second.id) is State.APPROVED

    eventually(decided)  # a moment later, when a person has read it
    expect(card_of(page, second)).to_contain_text("by alice")


def test_the_keyboard_need_not_wait(site: Site, visitors: Visitors) -> None:
    held = commits(site, 3)
    page = visitors.new().sign_in("alice")
    settled(page)
    page.keyboard.press("j")
    for one in held:
        expect(card_of(page, one)).to_be_focused()
        page.keyboard.press("a")
        page.keyboard.press("Enter")
    expect(page.locator(".card.gone")).to_have_count(3)


def test_a_card_decided_elsewhere_in_sight_keeps_its_room(site: Site, visitors: Visitors) -> None:
    first, second, third = commits(site, 3)
    page = visitors.new(viewport={"width": 1280, "height": 1000}).sign_in("alice")
    settled(page)
    button = card_of(page, second).get_by_role("button", name="Approve")
    button.hover()
    before = button.bounding_box()
    elsewhere(site, first)
    expect(card_of(page, first)).to_contain_text("Denied")
    assert button.bounding_box() == before
    # One's own decision closes the rows up.
    height = page.evaluate("document.documentElement.scrollHeight")
    button.click()
    expect(card_of(page, second)).to_contain_text("by alice")
    expect(card_of(page, third)).to_be_focused()
    assert page.evaluate("document.documentElement.scrollHeight") < height - 300


@pytest.mark.parametrize("how", [{"viewport": {"width": 1280, "height": 800}}, PHONE])
def test_what_is_decided_above_the_screen_moves_nothing_on_it(
    site: Site, visitors: Visitors, how: dict[str, object]
) -> None:
    held = commits(site, 5)
    page = visitors.new(**how).sign_in("alice")
    settled(page)
    seen = card_of(page, held[3])
    seen.evaluate("(card) => scrollTo(0, scrollY + card.getBoundingClientRect().top - 120)")
    before = top(seen)
    elsewhere(site, held[0], Choice.APPROVE)
    expect(card_of(page, held[0])).to_contain_text("by bob")
    assert abs(top(seen) - before) <= 1
    # The calls above tell now what differs from the approved one: they grow.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    for number in range(3):
        site.scene.held("create_charge", {"amount": number}, terms=LOW)
    expect(page.locator(".card")).to_have_count(8)
    assert abs(top(seen) - before) <= 1


def test_the_button_that_has_the_focus_keeps_it_while_its_card_is_drawn_anew(
    site: Site, visitors: Visitors
) -> None:
    held = site.scene.held("git_commit", {"message": "x"}, terms=Terms(risk="low", quorum=3))
    page = visitors.new().sign_in("alice")
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("a")
    elsewhere(site, held, Choice.APPROVE)
    expect(card_of(page, held)).to_contain_text("1 of 3")
    expect(card_of(page, held).locator("[data-key=approve]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(card_of(page, held)).to_contain_text("2 of 3")


def test_more_time_is_given_once_and_its_fold_closes(site: Site, visitors: Visitors) -> None:
    held = commits(site, 1)[0]
    page = visitors.new().sign_in("alice")
    settled(page)
    card = card_of(page, held)
    card.get_by_text("More time…").click()
    card.get_by_role("button", name="2 hours").click()
    expect(card.locator("details[open]")).to_have_count(0)
    expect(page.locator("#say")).to_contain_text("It ends")


def test_what_is_wrong_with_a_press_leaves_its_fold_open(site: Site, visitors: Visitors) -> None:
    held = commits(site, 1)[0]
    page = visitors.new().sign_in("alice")
    settled(page)
    card = card_of(page, held)
    card.locator("[data-key=deny]").click()
    card.get_by_role("button", name="Deny", exact=True).click()
    expect(card).to_contain_text("Say why")
    expect(card.locator("details[data-part=deny]")).to_have_attribute("open", "")


def test_keys_go_on_after_a_box_was_ticked_by_mouse(site: Site, visitors: Visitors) -> None:
    held = commits(site, 3)
    page = visitors.new().sign_in("alice")
    settled(page)
    card_of(page, held[0]).locator("[data-pick]").click()
    page.keyboard.press("j")
    expect(card_of(page, held[1])).to_be_focused()
    page.keyboard.press("x")
    expect(page.get_by_role("form", name="Selected calls")).to_contain_text("2 calls of git_commit")


def test_a_key_held_down_opens_nothing(site: Site, visitors: Visitors) -> None:
    first, second = commits(site, 2)
    page = visitors.new().sign_in("alice")
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.down("Enter")
    expect(card_of(page, second)).to_be_focused()
    page.keyboard.down("Enter")  # the same press, repeating itself
    page.keyboard.up("Enter")
    expect(card_of(page, first)).to_contain_text("by alice")
    assert page.url == site.url + "/"


def test_all_of_a_tool_are_selected_at_once_and_the_place_is_kept(
    site: Site, visitors: Visitors
) -> None:
    held = commits(site, 6)
    site.scene.held("git_commit", {"message": "high"}, terms=Terms(risk="high"))
    other = site.scene.held("git_push", {"x": 1})
    page = visitors.new(viewport={"width": 1280, "height": 800}).sign_in("alice")
    settled(page)
    card_of(page, held[5]).locator("[data-pick]").check()
    bar = page.get_by_role("form", name="Selected calls")
    bar.get_by_role("button", name="Select all 6").click()
    expect(bar).to_contain_text("6 calls of git_commit")
    expect(bar.get_by_role("button", name="Select all")).to_be_hidden()
    expect(card_of(page, other).locator("[data-pick]")).not_to_be_checked()
    bar.get_by_role("button", name="Clear").click()
    for one in held[4:]:
        card_of(page, one).locator("[data-pick]").check()
    before = page.evaluate("scrollY")
    assert before > 500
    seen = top(card_of(page, held[4]))
    bar.get_by_role("button", name="Approve 2").click()
    results = page.locator("#results")
    expect(results).to_contain_text("2 approved")
    expect(results).to_be_in_viewport()
    expect(card_of(page, held[5])).to_contain_text("by alice")
    assert abs(top(card_of(page, held[4])) - seen) <= 1 or page.evaluate("scrollY") > 500


def test_what_is_new_above_is_told_below_the_head_of_a_phone(
    site: Site, visitors: Visitors
) -> None:
    held = commits(site, 2)
    page = visitors.new(**PHONE).sign_in("alice")
    settled(page)
    card_of(page, held[1]).evaluate("(card) => card.scrollIntoView()")
    site.scene.held("delete_customer", {"id": 1}, terms=HIGH)
    pill = page.get_by_role("button", name="1 new above. Show")
    pill.wait_for()
    head = page.locator("header.top").bounding_box()
    assert head is not None
    assert top(pill) >= head["y"] + head["height"]
    expect(page.locator("#summary")).to_contain_text("3 calls, 1 of high risk")


def test_only_the_last_decided_ones_stay_on_the_page(site: Site, visitors: Visitors) -> None:
    held = commits(site, 26)
    waits = site.scene.held("git_push", {"x": 1}, terms=LOW)
    page = visitors.new().sign_in("alice")
    settled(page)
    card_of(page, waits).scroll_into_view_if_needed()
    before = top(card_of(page, waits))
    for one in held:
        elsewhere(site, one)
    expect(card_of(page, held[25])).to_contain_text("by bob")
    expect(page.locator(".card.gone")).to_have_count(20)
    expect(card_of(page, held[0])).to_have_count(0)
    assert abs(top(card_of(page, waits)) - before) <= 1


def test_back_from_one_call_the_keys_go_on_where_they_were(site: Site, visitors: Visitors) -> None:
    held = commits(site, 5)
    page = visitors.new().sign_in("alice")
    settled(page)
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/approvals/{held[2].id}")
    settled(page)
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_contain_text("by alice")
    page.keyboard.press("q")
    page.wait_for_url(site.url + "/")
    settled(page)
    expect(card_of(page, held[3])).to_have_class("card medium here")
    expect(card_of(page, held[3])).to_be_in_viewport()
    page.reload()  # and only once: the next look begins at the top
    settled(page)
    expect(page.locator(".card.here")).to_have_count(0)


def test_what_is_typed_on_arriving_at_a_change_is_no_key(full: Site, visitors: Visitors) -> None:
    held = full.scene.held("pay", {"note": "x"}, terms=Terms(editable=("args.note",)))
    fixed = full.scene.held("git_push", {"x": 1}, terms=LOW)
    page = visitors.new().sign_in("alice")
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/approvals/{held.id}#edit")
    field = page.get_by_label("note")
    expect(field).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("added by me")
    expect(field).to_have_value("added by me")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Save this change")).to_be_focused()
    page.keyboard.press("q")
    page.wait_for_url(full.url + "/")
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("e")
    expect(card_of(page, fixed)).to_contain_text("Its rule lets no one change it first.")


def test_times_are_typed_in_the_viewers_zone_and_sent_in_utc(
    site: Site, visitors: Visitors
) -> None:
    site.scene.held("git_commit", {"message": "x"})
    page = visitors.new(timezone_id="Asia/Kolkata").sign_in("alice")
    page.goto(site.url + "/history")
    settled(page)
    page.get_by_text("More filters").click()
    expect(page.get_by_text("Times here are yours (Asia/")).to_be_visible()
    page.get_by_label("From").fill("2026-01-02T05:30")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/history?since=2026-01-02T00%3A00")
    settled(page)
    expect(page.get_by_label("From")).to_have_value("2026-01-02T05:30")
    page.get_by_role("link", name="Last hour").click()
    page.wait_for_url("**/history?since=**")
    expect(page.get_by_role("table")).to_contain_text("git_commit")


def test_a_freeze_is_told_on_every_open_page_and_so_is_its_end(
    full: Site, visitors: Visitors
) -> None:
    held = commits(full, 2)
    full.more = {**full.more, "status": lambda: tuple(
        Alert(subject="calls", text=f"Frozen: {name}.") for name in full.place.freezes.frozen()
    )}  # fmt: skip
    full.stop()
    full.start()
    root = visitors.new().sign_in("root", "admin")
    phone = visitors.new(**PHONE)
    queue = phone.sign_in("alice")
    history = phone.page("/history")
    for page in (queue, history):
        settled(page)
    seen = card_of(queue, held[1])
    seen.evaluate("(card) => card.scrollIntoView()")
    before = top(seen)
    root.goto(full.url + "/agents")
    row = root.locator("#servers tr", has_text="crm")
    row.get_by_role("button", name="Freeze").click()
    expect(row.get_by_role("button", name="Thaw")).to_be_in_viewport()
    for page in (queue, history):
        expect(page.locator("#banners")).to_contain_text("Frozen: server crm.")
    assert abs(top(seen) - before) <= 1
    row.get_by_role("button", name="Thaw").click()
    for page in (queue, history):
        expect(page.locator("#banners")).not_to_contain_text("Frozen")


def test_what_ends_behind_the_shown_ones_is_counted_off(site: Site, visitors: Visitors) -> None:
    held = commits(site, 43)
    page = visitors.new().sign_in("alice")
    settled(page)
    summary = page.locator("#summary")
    expect(summary).to_have_text("43 calls")
    expect(page.locator("#more")).to_contain_text("3 more wait behind these")
    elsewhere(site, held[42])
    expect(summary).to_have_text("42 calls")
    expect(page.locator("#more")).to_contain_text("2 more wait behind these")


def test_a_link_opened_on_the_sign_in_page_itself_signs_in(site: Site, visitors: Visitors) -> None:
    page = visitors.new().page("/signin")
    page.goto(site.link("alice"))  # the same document: only the part behind '#' is new
    page.wait_for_url(site.url + "/")
    settled(page)


def test_the_only_card_in_sight_makes_room_for_the_next_when_it_is_decided_elsewhere(
    site: Site, visitors: Visitors
) -> None:
    first, second = (
        site.scene.held("pay", {f"line_{n}": n for n in range(count)}) for count in (30, 2)
    )
    page = visitors.new(**PHONE).sign_in("alice")
    settled(page)
    page.evaluate(PRESS_ONCE_GONE, [f"a-{first.id}", f"a-{second.id}"])
    elsewhere(site, first)
    expect(card_of(page, first)).to_contain_text("Denied")
    expect(card_of(page, second)).to_be_in_viewport()
    # And a thumb that was already on its way does not press what has come up there.
    eventually(lambda: page.evaluate("'pressed' in window"))
    assert page.evaluate("window.pressed") is False
    assert state_of(site, second.id) is State.PENDING


def test_what_has_come_in_since_is_not_counted_twice(site: Site, visitors: Visitors) -> None:
    held = commits(site, 43)
    page = visitors.new().sign_in("alice")
    settled(page)
    later = [site.scene.held("git_push", {"n": number}, terms=LOW) for number in range(4)]
    card_of(page, later[-1]).wait_for(state="attached")
    summary = page.locator("#summary")
    expect(summary).to_have_text("47 calls")
    with page.expect_response(site.url + "/"):  # those behind move up: the queue is read again
        elsewhere(site, held[0])
    expect(page.locator("#more")).to_contain_text("2 more wait behind these")
    expect(summary).to_have_text("46 calls")
