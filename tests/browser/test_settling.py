"""An administrator settles what a tool is, on the real page before a real catalogue."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Site, Visitors

pytestmark = pytest.mark.browser


def test_a_class_is_settled_and_taken_back_on_the_tools_page(
    full: Site, visitors: Visitors
) -> None:
    page = visitors.new().sign_in("alice", "admin")
    page.goto(full.url + "/tools")
    row = page.locator("tr", has=page.get_by_text("create_charge", exact=True))
    expect(row).to_contain_text("Critical risk")
    row.get_by_text("Settle the class of create_charge").click()
    row.get_by_label("Class of create_charge").select_option("write")
    row.get_by_role("button", name="Settle").click()
    expect(row).to_contain_text("settled by alice")
    expect(row).not_to_contain_text("Critical risk")
    row.get_by_text("Settle the class of create_charge").click()
    row.get_by_label("Class of create_charge").select_option("As guessed")
    row.get_by_role("button", name="Settle").click()
    expect(row).to_contain_text("Critical risk")
    expect(row).not_to_contain_text("settled by")


def test_who_only_approves_settles_nothing(full: Site, visitors: Visitors) -> None:
    page = visitors.new().sign_in("bob")
    page.goto(full.url + "/tools")
    expect(page.get_by_text("create_charge", exact=True)).to_be_visible()
    assert page.get_by_role("button", name="Settle").count() == 0
