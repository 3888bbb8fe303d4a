"""Buttons look like what they do: Cancel is quiet, one thing has one name, what cannot be pressed
looks so, and nothing hangs out of the account menu of a phone.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from approvals.model import Terms
from tests.browser.conftest import Site, Visitors
from tests.browser.test_accessible import LOOKS, faults
from tests.browser.test_page_key import FORGET
from tests.browser.test_reviewing import settled

pytestmark = pytest.mark.browser

PAINT = "(button) => getComputedStyle(button).backgroundColor"
SHOW = """() => document.querySelectorAll(".menu-body [hidden]")
  .forEach((one) => { one.hidden = false; })"""
OVER = """() => [...document.querySelectorAll(".menu-body, .menu-body *")]
  .filter((one) => one.checkVisibility() && !one.closest(".sr"))
  .filter((one) => {
    const menu = document.querySelector(".menu-body").getBoundingClientRect();
    const box = one.getBoundingClientRect();
    return box.left < menu.left || box.right > menu.right || box.left < 0
      || box.right > innerWidth || one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0;
  }).map((one) => one.textContent)"""


def card(page: Page, approval_id: str) -> Locator:
    return page.locator(f"#a-{approval_id}")


@pytest.mark.parametrize("look", LOOKS)
def test_cancel_is_quiet_and_not_where_approve_was(
    site: Site, visitors: Visitors, look: str
) -> None:
    held = site.scene.held("drop_table", {"name": "users"}, terms=Terms(risk="critical"))
    page = visitors.new(**LOOKS[look]).sign_in("alice")
    settled(page)
    opens = card(page, held.id).locator("summary", has_text="Approve…")
    loud = opens.evaluate(PAINT)
    where = opens.bounding_box()
    opens.click()  # the mouse stays over it
    cancel = card(page, held.id).locator("summary", has_text="Cancel").locator("visible=true")
    approve = card(page, held.id).get_by_role("button", name="Approve once")
    assert approve.evaluate(PAINT) == loud
    cancel.hover()
    assert cancel.evaluate(PAINT) != loud
    now = cancel.bounding_box()
    assert where is not None
    assert now is not None
    middle = where["x"] + where["width"] / 2
    assert not now["x"] <= middle <= now["x"] + now["width"]
    cancel.click()
    expect(approve).to_be_hidden()


def test_changing_arguments_has_one_name(full: Site, visitors: Visitors) -> None:
    terms = Terms(editable=("args.amount",))
    held = full.scene.held("pay", {"amount": 5}, terms=terms)
    visitor = visitors.new()
    page = visitor.sign_in("alice")
    settled(page)
    expect(card(page, held.id).locator("[data-key=edit]")).to_contain_text("Change arguments…")
    page = visitor.page(f"/approvals/{held.id}")
    expect(page.locator("[data-key=edit]")).to_contain_text("Change arguments…")
    expect(page.get_by_text("Approve with changes")).to_have_count(0)


def test_without_the_key_nothing_looks_as_if_it_could_be_pressed(
    full: Site, visitors: Visitors
) -> None:
    terms = Terms(editable=("args.amount",))
    held = full.scene.held("pay", {"amount": 5}, terms=terms)
    visitor = visitors.new(bypass_csp=True)
    page = visitor.sign_in("alice")
    settled(page)
    page.evaluate(FORGET)
    for path in ("/", f"/approvals/{held.id}"):
        page.goto(full.url + path)
        expect(page.locator("#keyless")).to_be_visible()
        for name in ("Deny…", "More time…", "Change arguments…"):
            button = page.locator(".acts .btn", has_text=name)
            expect(button).to_have_attribute("aria-disabled", "true")
            assert button.evaluate("(one) => Number(getComputedStyle(one).opacity)") < 1
        page.locator(".acts summary", has_text="Deny…").click(force=True)
        assert page.locator(".acts details[open]").count() == 0
        assert faults(page, "key gone") == []


@pytest.mark.parametrize("look", LOOKS)
def test_the_account_menu_fits_a_phone(site: Site, visitors: Visitors, look: str) -> None:
    more = {**LOOKS[look], "viewport": {"width": 360, "height": 740}}
    page = visitors.new(**more).sign_in("alice")
    settled(page)
    page.evaluate(SHOW)
    page.locator(".menu > summary").click()
    assert page.evaluate(OVER) == []
