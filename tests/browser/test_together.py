"""Several calls decided at once in a real browser: by mouse, by keyboard, without scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from approvals.model import State, Terms
from tests.browser.conftest import Site, Visitors
from tests.browser.test_reviewing import settled, state_of

pytestmark = pytest.mark.browser


def test_calls_of_one_tool_are_selected_and_approved_with_a_result_each(
    site: Site, visitors: Visitors
) -> None:
    held = [site.scene.held("git_commit", {"message": f"m{n}"}) for n in range(3)]
    other = site.scene.held("git_push", {"x": 1}, terms=Terms(risk="low"))
    page = visitors.new().sign_in("alice")
    settled(page)
    bar = page.get_by_role("form", name="Selected calls")
    expect(bar).to_be_hidden()
    page.locator(f"#a-{held[0].id} [data-pick]").check()
    page.locator(f"#a-{held[1].id} [data-pick]").check()
    expect(bar).to_contain_text("2 calls of git_commit")
    page.locator(f"#a-{other.id} [data-pick]").click()
    expect(bar).to_contain_text("Only calls of one tool at a time")
    expect(page.locator(f"#a-{other.id} [data-pick]")).not_to_be_checked()
    bar.get_by_role("button", name="Approve 2").click()
    expect(page.locator("#results")).to_contain_text("2 approved")
    for one in held[:2]:
        expect(page.locator(f"#a-{one.id}")).to_contain_text("by alice")
    expect(bar).to_be_hidden()
    assert [state_of(site, one.id) for one in held] == [
        State.APPROVED, State.APPROVED, State.PENDING,
    ]  # fmt: skip


def test_the_keyboard_selects_and_says_why_not(site: Site, visitors: Visitors) -> None:
    risky = site.scene.held("delete_customer", {"id": 1}, terms=Terms(risk="high"))
    plain = [site.scene.held("git_commit", {"message": f"m{n}"}) for n in range(2)]
    page = visitors.new().sign_in("alice")
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#say")).to_have_text("High risk is decided one by one.")
    for one in plain:
        page.keyboard.press("j")
        expect(page.locator(f"#a-{one.id}")).to_be_focused()
        page.keyboard.press("x")
    bar = page.get_by_role("form", name="Selected calls")
    bar.get_by_text("Deny…").click()
    bar.get_by_label("Too risky").check()
    bar.get_by_role("button", name="Deny all of them").click()
    expect(page.locator("#results")).to_contain_text("2 denied")
    assert [state_of(site, one.id) for one in (risky, *plain)] == [
        State.PENDING, State.DENIED, State.DENIED,
    ]  # fmt: skip


def test_one_of_them_decided_elsewhere_is_left_out_and_the_rest_decided(
    site: Site, visitors: Visitors
) -> None:
    held = [site.scene.held("git_commit", {"message": f"m{n}"}) for n in range(2)]
    page = visitors.new().sign_in("alice")
    settled(page)
    page.route("**/events*", lambda route: route.abort())
    page.route("**/card", lambda route: route.abort())  # the page learns of nothing
    for one in held:
        page.locator(f"#a-{one.id} [data-pick]").check()
    bob = visitors.new().sign_in("bob")
    settled(bob)
    bob.locator(f"#a-{held[0].id}").get_by_role("button", name="Approve").click()
    expect(bob.locator(f"#a-{held[0].id}")).to_contain_text("by bob")
    page.get_by_role("button", name="Approve 2").click()
    expect(page.locator("#results")).to_contain_text("1 approved, 1 left out")
    expect(page.locator("#results")).to_contain_text("it is approved by bob")


def test_at_an_https_host_several_are_decided_without_scripts(
    secure: Site, visitors: Visitors
) -> None:
    site = secure
    held = [site.scene.held("git_commit", {"message": f"m{n}"}) for n in range(2)]
    page = visitors.new(java_script_enabled=False).page("/signin")
    page.get_by_label("Sign-in code").fill(site.link("alice").partition("#")[2])
    page.get_by_role("button", name="Sign in").click()
    for one in held:
        page.locator(f"#a-{one.id} [data-pick]").check()
    page.get_by_role("form", name="Selected calls").get_by_role("button", name="Approve").click()
    expect(page.locator("#results")).to_contain_text("2 approved")
    assert [state_of(site, one.id) for one in held] == [State.APPROVED] * 2
