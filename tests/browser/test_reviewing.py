"""A reviewer's day in a real browser. Every test also claims: no script error, no CSP violation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from approvals.model import Choice, State, Terms, Vote
from tests.browser.conftest import Site, Visitors
from tests.support.review_scene import HOSTILE, charge, fill

pytestmark = pytest.mark.browser


def settled(page: Page) -> None:
    expect(page.locator("#live")).to_have_attribute("data-state", "live")


def state_of(site: Site, approval_id: str) -> State:
    found = site.do(site.scene.approvals.get(approval_id))
    return State(found.state)


def test_a_link_signs_in_and_leaves_no_secret_in_the_address(
    site: Site, visitors: Visitors
) -> None:
    visitor = visitors.new()
    link = site.link("alice")
    page = visitor.page()
    page.goto(link)
    page.wait_for_url(site.url + "/")
    expect(page.get_by_text("No agent has called yet")).to_be_visible()
    assert "lnk_" not in page.url
    other = visitors.new().page()
    other.goto(link)
    expect(other.get_by_role("alert")).to_contain_text("used before")


def test_a_held_call_appears_by_itself_and_a_press_approves_it(
    site: Site, visitors: Visitors
) -> None:
    page = visitors.new().sign_in("alice")
    settled(page)
    held = site.scene.held("git_commit", {"message": "Fix rounding"}, server="git")
    card = page.locator(f"#a-{held.id}")
    card.wait_for()
    expect(page).to_have_title("(1) Queue · Signoff")
    button = card.get_by_role("button", name="Approve")
    expect(button).to_be_enabled()
    button.click()
    expect(card).to_contain_text("Approved")
    expect(card).to_contain_text("by alice")
    assert state_of(site, held.id) is State.APPROVED
    expect(page).to_have_title("Queue · Signoff")


def test_the_keyboard_alone_denies_with_a_reason(site: Site, visitors: Visitors) -> None:
    held = site.scene.held("git_commit", {"message": "x"})
    page = visitors.new().sign_in("alice")
    settled(page)
    page.keyboard.press("j")
    expect(page.locator(f"#a-{held.id}")).to_be_focused()
    page.keyboard.press("d")
    page.keyboard.type("Not on a Friday")
    page.keyboard.press("Enter")
    expect(page.locator(f"#a-{held.id}")).to_contain_text("Denied")
    found = site.do(site.scene.approvals.get(held.id))
    assert (found.state, found.reason) == (State.DENIED, "Not on a Friday")


def test_one_key_moves_to_approve_and_only_enter_presses_it(site: Site, visitors: Visitors) -> None:
    held = site.scene.held("git_commit", {"message": "x"})
    page = visitors.new().sign_in("alice")
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator(f"#a-{held.id} [data-key=approve]")).to_be_focused()
    assert state_of(site, held.id) is State.PENDING
    page.keyboard.press("Enter")
    expect(page.locator(f"#a-{held.id}")).to_contain_text("Approved")


def test_keys_typed_into_a_field_press_nothing(site: Site, visitors: Visitors) -> None:
    held = site.scene.held("delete_customer", {"id": 1}, terms=Terms(risk="high"))
    page = visitors.new().sign_in("alice")
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.type("adjk?")
    page.keyboard.press("Enter")
    expect(page.locator(f"#a-{held.id} .alarm").first).to_contain_text("Type the tool's name")
    assert state_of(site, held.id) is State.PENDING
    field = page.locator(f"#a-{held.id} input[name=confirm]")
    field.fill("delete_customer")
    field.press("Enter")
    expect(page.locator(f"#a-{held.id}")).to_contain_text("Approved")


def test_two_reviewers_press_and_the_second_is_told_who_won(site: Site, visitors: Visitors) -> None:
    held = site.scene.held("git_commit", {"message": "x"})
    alice, bob = visitors.new().sign_in("alice"), visitors.new().sign_in("bob")
    settled(alice)
    settled(bob)
    bob.route("**/events*", lambda route: route.abort())
    bob.route("**/card", lambda route: route.abort())  # bob's page learns of nothing
    alice.locator(f"#a-{held.id}").get_by_role("button", name="Approve").click()
    expect(alice.locator(f"#a-{held.id}")).to_contain_text("by alice")
    bob.locator(f"#a-{held.id} [data-key=deny]").click(force=True)
    bob.locator(f"#a-{held.id} input[name=reason]").fill("no")
    bob.evaluate(
        "document.querySelector('form.ask[data-decide]').requestSubmit("
        "document.querySelector('button[value=deny]'))"
    )
    expect(bob.locator(f"#a-{held.id}")).to_contain_text("approved by alice")


def test_a_card_decided_elsewhere_stays_greyed_until_dismissed(
    site: Site, visitors: Visitors
) -> None:
    held = site.scene.held("git_commit", {"message": "x"})
    page = visitors.new().sign_in("alice")
    settled(page)
    bob = site.do(site.scene.people.add("bob", role="approver"))
    site.do(
        site.scene.approvals.decide(
            held.id, Vote(revision=1, reviewer=bob, choice=Choice.DENY, reason="mine", via="slack")
        )
    )
    card = page.locator(f"#a-{held.id}")
    expect(card).to_contain_text("by bob")
    expect(card).to_contain_text("mine")
    expect(card.get_by_role("button", name="Approve")).to_have_count(0)
    card.get_by_role("button", name="Dismiss").click()
    expect(card).to_have_count(0)
    expect(page.get_by_text("Nothing is waiting")).to_be_visible()


def test_what_is_typed_stays_when_the_card_changes(site: Site, visitors: Visitors) -> None:
    held = site.scene.held("git_commit", {"message": "x"}, terms=Terms(risk="low", quorum=2))
    page = visitors.new().sign_in("alice")
    settled(page)
    card = page.locator(f"#a-{held.id}")
    card.locator("[data-key=deny]").click()
    field = card.locator("input[name=reason]")
    field.fill("half a sent")
    bob = site.do(site.scene.people.add("bob", role="approver"))
    site.do(
        site.scene.approvals.decide(
            held.id, Vote(revision=1, reviewer=bob, choice=Choice.APPROVE, via="slack")
        )
    )
    expect(card).to_contain_text("1 of 2")
    expect(field).to_have_value("half a sent")
    expect(field).to_be_focused()


def test_a_new_card_never_moves_the_one_under_the_pointer(site: Site, visitors: Visitors) -> None:
    first = site.scene.held("git_commit", {"message": "x"}, terms=Terms(risk="low"))
    page = visitors.new().sign_in("alice")
    settled(page)
    card = page.locator(f"#a-{first.id}")
    card.hover()
    before = card.bounding_box()
    riskier = site.scene.held("delete_customer", {"id": 1}, terms=Terms(risk="critical"))
    page.get_by_role("button", name="1 new above. Show").wait_for()
    assert card.bounding_box() == before
    page.get_by_role("button", name="1 new above. Show").click()
    expect(page.locator(".card").first).to_have_id(f"a-{riskier.id}")


def test_a_restart_loses_nothing_and_buttons_are_off_meanwhile(
    site: Site, visitors: Visitors
) -> None:
    site.scene.held("git_commit", {"message": "one"})
    page = visitors.new().sign_in("alice")
    settled(page)
    site.stop()
    expect(page.locator("#live")).to_contain_text("Stale since")
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    missed = site.scene.held("git_commit", {"message": "two"})
    site.start()
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.locator(f"#a-{missed.id}")).to_be_visible()
    expect(page.get_by_role("button", name="Approve").first).to_be_enabled()


def test_nine_tabs_share_one_stream(site: Site, visitors: Visitors) -> None:
    visitor = visitors.new()
    streams: list[str] = []
    visitor.context.on(
        "request", lambda asked: streams.append(asked.url) if "/events" in asked.url else None
    )
    pages = [visitor.sign_in("alice")]
    pages += [visitor.page("/") for _ in range(8)]
    for page in pages:
        settled(page)
    held = site.scene.held("git_commit", {"message": "x"})
    for page in pages:
        expect(page.locator(f"#a-{held.id}")).to_be_visible()
    assert len(streams) == 1
    pages[0].close()
    second = site.scene.held("git_commit", {"message": "y"})
    for page in pages[1:]:
        expect(page.locator(f"#a-{second.id}")).to_be_visible()


def test_at_an_https_host_the_page_decides_without_scripts(
    secure: Site, visitors: Visitors
) -> None:
    site = secure
    held = site.scene.held("git_commit", {"message": "x"})
    page = visitors.new(java_script_enabled=False).page("/signin")
    page.get_by_label("Sign-in code").fill(site.link("alice").partition("#")[2])
    page.get_by_role("button", name="Sign in").click()
    page.locator(f"#a-{held.id}").get_by_text("Deny…").click()
    page.locator(f"#a-{held.id}").get_by_label("Too risky").check()
    page.get_by_role("button", name="Deny", exact=True).click()
    assert state_of(site, held.id) is State.DENIED


def test_hostile_arguments_send_nothing(site: Site, visitors: Visitors) -> None:
    held = site.scene.held("delete_customer", HOSTILE, server="crm")
    page = visitors.new().sign_in("alice")
    posts: list[str] = []
    page.on("request", lambda asked: posts.append(asked.url) if asked.method == "POST" else None)
    page.on("dialog", lambda dialog: posts.append(dialog.message))
    for path in ("/", f"/approvals/{held.id}", "/history"):
        page.goto(site.url + path)
        settled(page)
        assert page.locator("img, main script, [hx-post], b:text-is('key')").count() == 0
    assert posts == []


def test_an_injected_element_can_neither_run_nor_fetch(site: Site, visitors: Visitors) -> None:
    visitor = visitors.new()
    page = visitor.sign_in("alice")
    settled(page)
    with page.expect_console_message(lambda said: "require-trusted-types-for" in said.text):
        refused = page.evaluate(
            "() => { try { document.body.innerHTML = '<img src=x>'; return 'made' } "
            "catch (error) { return error.name } }"
        )
    assert refused == "TypeError"
    visitor.complaints.clear()  # that violation was ours


@pytest.mark.parametrize("path", ["/", "/approvals/", "/history", "/tools", "/insights", "/policy"])
def test_nothing_scrolls_sideways_on_a_phone(site: Site, visitors: Visitors, path: str) -> None:
    site.do(fill(site.scene))
    page = visitors.new(viewport={"width": 360, "height": 740}).sign_in("alice")
    if path == "/approvals/":
        path += str(page.locator(".card").first.get_attribute("data-id"))
    page.goto(site.url + path)
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_on_a_phone_the_buttons_are_under_the_thumb_and_large(
    site: Site, visitors: Visitors
) -> None:
    site.scene.held("create_charge", {**charge(1), **{f"line_{n}": n for n in range(6)}})
    page = visitors.new(viewport={"width": 360, "height": 740}, has_touch=True).sign_in("alice")
    settled(page)
    box = page.get_by_role("button", name="Approve").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    assert 600 < box["y"] + box["height"] <= 740


def test_pictures_of_every_page_in_both_lights(
    site: Site, visitors: Visitors, tmp_path: Path
) -> None:
    site.do(fill(site.scene))
    for scheme in ("light", "dark"):
        for width in (1280, 360):
            visitor = visitors.new(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page = visitor.sign_in("alice")
            settled(page)
            picture = tmp_path / f"queue-{scheme}-{width}.png"
            page.screenshot(path=picture)
            assert picture.stat().st_size > 10_000
            back = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert back == ("rgb(244, 245, 247)" if scheme == "light" else "rgb(14, 19, 25)")


@pytest.mark.parametrize("phone", [False, True])
def test_an_approval_is_taken_back_where_it_was_given(
    site: Site, visitors: Visitors, *, phone: bool
) -> None:
    page = visitors.new().sign_in("alice")
    if phone:
        page.set_viewport_size({"width": 390, "height": 844})
    settled(page)
    held = site.scene.held("git_commit", {"message": "Fix rounding"}, server="git")
    card = page.locator(f"#a-{held.id}")
    card.get_by_role("button", name="Approve").click()
    expect(card).to_contain_text("by alice")
    back = card.get_by_role("button", name="Take back")
    expect(back).to_be_in_viewport()
    # A tap on it that was meant for the button before is not taken: the queue has just moved.
    expect(back).to_be_enabled()
    back.focus()
    page.keyboard.press("Enter")
    expect(card).to_contain_text("Taken back")
    expect(card).to_contain_text("by alice")
    expect(back).to_have_count(0)
    assert state_of(site, held.id) is State.WITHDRAWN


def test_taking_back_on_the_page_of_the_call(site: Site, visitors: Visitors) -> None:
    page = visitors.new().sign_in("alice")
    held = site.scene.held("git_commit", {"message": "Fix rounding"}, server="git")
    page.goto(f"{site.url}/approvals/{held.id}")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Take back").click()
    expect(page.locator(".verdict")).to_contain_text("Taken back")
    expect(page.locator(".timeline")).to_contain_text("Taken back by alice")
    assert state_of(site, held.id) is State.WITHDRAWN


def test_the_card_counts_down_until_the_call_may_start(site: Site, visitors: Visitors) -> None:
    page = visitors.new().sign_in("alice")
    settled(page)
    held = site.scene.held("git_commit", {"message": "x"}, terms=Terms(risk="low", undo=600))
    card = page.locator(f"#a-{held.id}")
    card.get_by_role("button", name="Approve").click()
    wait = card.locator("[data-runs]")
    expect(wait).to_have_text(
        re.compile(r"It starts in (10:00|9:\d\d) at the soonest, unless it is taken back\.")
    )
    expect(wait).not_to_contain_text(wait.locator("b").inner_text())
    back = card.get_by_role("button", name="Take back")
    expect(back).to_be_enabled()
    back.focus()
    page.keyboard.press("Enter")
    expect(card).to_contain_text("Taken back")
    expect(wait).to_have_count(0)
