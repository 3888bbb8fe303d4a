"""An administrator changes the rules in a real browser, sees what it means, and it is in force."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, Visitors
from tests.support.admin_place import RULES, past_calls

pytestmark = pytest.mark.browser


def preview(page: Page) -> None:
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_role("button", name="Show what changes").last.click()


def test_a_rule_is_built_corrected_tried_and_saved(full: Site, visitors: Visitors) -> None:
    past_calls(full.scene)
    page = visitors.new().sign_in("alice", "admin")
    page.goto(full.url + "/policy")
    page.get_by_role("link", name="Change list_invoices").click()
    expect(page.get_by_label("Allow")).to_be_checked()
    page.get_by_label("Custom").check()
    part = page.locator("section", has=page.get_by_role("heading", name="Ask a person if"))
    part.get_by_label("What", exact=True).fill("args.customer")
    part.get_by_label("Compared").select_option("regex")
    part.get_by_label("With", exact=True).fill("^(vip")
    part.get_by_label("How many people").fill("two")
    preview(page)
    expect(page.get_by_role("alert")).to_contain_text("Not ready to save")
    expect(part.get_by_label("With", exact=True).first).to_have_attribute("aria-invalid", "true")
    expect(part).to_contain_text("does not compile")
    expect(part).to_contain_text("must be a whole number")
    part.get_by_label("With", exact=True).first.fill("^vip")
    part.get_by_label("How many people").first.fill("2")
    preview(page)
    expect(page.locator("main")).to_contain_text("Of 120 calls in 7 days: 0 newly held")
    expect(page.get_by_role("region", name="Changed lines")).to_contain_text('"value": "^vip"')
    assert full.place.file.read_text() == RULES
    page.get_by_role("button", name="Save this to policy.json").click()
    expect(page.get_by_text("Saved, and in force.")).to_be_visible()
    rules = full.place.json()["tools"]["list_invoices"]
    assert rules["approve_if"] == [
        {
            "conditions": [{"path": "args.customer", "op": "regex", "value": "^vip"}],
            "quorum": 2,
        }
    ]
    assert rules["limits"] == [
        {"counter": "lists", "window": "minute", "max": 60, "scope": "grant"}
    ]
    row = page.locator("tr", has_text="list_invoices")
    expect(row).to_contain_text("Waits on a condition")


def test_a_file_changed_meanwhile_is_never_overwritten(full: Site, visitors: Visitors) -> None:
    page = visitors.new().sign_in("alice", "admin")
    page.goto(full.url + "/policy/tool?server=git&tool=git_status")
    page.get_by_label("Hide").check()
    preview(page)
    full.place.file.write_text(RULES.replace("30m", "10m"))
    page.get_by_role("button", name="Save this to policy.json").click()
    expect(page.get_by_role("alert")).to_contain_text("someone changed the file meanwhile")
    assert "10m" in full.place.file.read_text()
    page.get_by_role("button", name="Save this to policy.json").click()
    expect(page.get_by_text("Saved, and in force.")).to_be_visible()
    saved = full.place.json()
    assert (saved["approval"]["expires"], saved["hide"]) == ("10m", ["debug_*", "git_status"])


def test_at_an_https_host_the_rules_are_changed_without_scripts(
    secure_full: Site, visitors: Visitors
) -> None:
    full = secure_full
    page = visitors.new(java_script_enabled=False).page("/signin?next=/policy/text")
    page.get_by_label("Sign-in code").fill(full.link("alice", "admin").partition("#")[2])
    page.get_by_role("button", name="Sign in").click()
    text = page.get_by_label("policy.json")
    assert text.input_value() == RULES
    text.fill(RULES.replace('"default": "deny"', '"default": "allow"'))
    preview(page)
    expect(page.locator("main")).to_contain_text("tools listed nowhere: deny -> allow")
    page.get_by_role("button", name="Save this").click()
    assert full.place.json()["default"] == "allow"
    page.goto(full.url + "/policy/tool?server=crm&tool=delete_customer")
    page.get_by_label("Require approval").check()
    preview(page)
    page.get_by_role("button", name="Save this to policy.json").click()
    assert full.place.json()["tools"]["delete_customer"] == {"require_approval": True}


@pytest.mark.parametrize("path", ["/policy", "/policy/tool?server=billing&tool=create_charge",
                                  "/policy/text", "/agents"])  # fmt: skip
def test_on_a_phone_nothing_scrolls_sideways_and_every_target_is_large(
    full: Site, visitors: Visitors, path: str
) -> None:
    page = visitors.new(viewport={"width": 360, "height": 740}, has_touch=True).sign_in(
        "alice", "admin"
    )
    page.goto(full.url + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        """[...document.querySelectorAll('button, summary, select, textarea, .btn, .nav a, input')]
        .filter((e) => e.offsetParent && !e.matches('.sr, [type=radio], [type=checkbox]')
          && e.getBoundingClientRect().height < 43.5).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert small == []
