"""axe-core finds nothing to object to: every page, the states people meet, light, dark, phone."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from approvals.model import Choice, Terms, Vote
from tests.browser.conftest import Site, Visitors
from tests.browser.test_reviewing import settled
from tests.support.admin_place import DEFINITIONS, past_calls
from tests.support.review_scene import fill

pytestmark = pytest.mark.browser

VENDORED = Path(__file__).parent / "vendored"
AXE = (VENDORED / "axe.min.js").read_text()
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True},
}


def faults(page: Page, where: str) -> list[str]:
    """Everything axe objects to on the page as it is now."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{where}: {violation['id']}: {node['html'][:160]} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def test_the_vendored_file_is_the_one_that_was_looked_at() -> None:
    digest = sha256((VENDORED / "axe.min.js").read_bytes()).hexdigest()
    assert f"`{digest}`" in (VENDORED / "VENDORED.md").read_text()


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_accessible(full: Site, visitors: Visitors, look: str) -> None:
    # Around the page's own policy, which lets no foreign script in.
    visitor = visitors.new(bypass_csp=True, reduced_motion="reduce", **LOOKS[look])
    found: list[str] = []
    page = visitor.page("/signin")
    found += faults(page, "sign in")
    page = visitor.sign_in("root", "admin")
    found += faults(page, "empty queue")
    full.do(fill(full.scene))
    changeable = full.scene.held(
        "pay", {"amount": 5, "urgent": True}, terms=Terms(risk="low", editable=("args",))
    )
    decided = full.scene.held("git_commit", {"message": "x"})
    root = full.do(full.scene.people.find("root"))
    full.do(
        full.scene.approvals.decide(
            decided.id, Vote(revision=1, reviewer=root, choice=Choice.DENY, reason="no", via="page")
        )
    )
    past_calls(full.scene)
    change_definition(full)
    paths = (
        *("/", f"/approvals/{changeable.id}", f"/approvals/{decided.id}", "/history"),
        *("/history?tool=nothing", "/tools", "/tools/changed?server=crm&tool=delete_customer"),
        *("/policy", "/policy/text", "/policy/tool?server=billing&tool=create_charge"),
        *("/agents", "/insights", "/approvals/apr_nothing", "/nothing", "/history?since=x"),
    )
    for path in paths:
        page.goto(full.url + path)
        found += faults(page, path)
    assert "\n".join(found) == ""


def change_definition(full: Site) -> None:
    """One tool's server describes it otherwise from now on."""
    changed = [{**one, "description": "Deletes more."} for one in DEFINITIONS["crm"]]
    full.do(full.place.catalogue.observe("crm", changed, complete=True))


@pytest.mark.parametrize("look", LOOKS)
def test_states_of_building_selecting_and_standing_still_are_accessible(
    full: Site, visitors: Visitors, look: str
) -> None:
    past_calls(full.scene)
    for number in range(2):
        full.scene.held("git_commit", {"message": f"m{number}"})
    page = visitors.new(bypass_csp=True, reduced_motion="reduce", **LOOKS[look]).sign_in(
        "root", "admin"
    )
    found: list[str] = []
    page.goto(full.url + "/policy/tool?server=billing&tool=create_charge")
    for choice in ("allow", "deny", "hold"):
        page.locator(f"#k-{choice}").check()
        found += faults(page, f"rules: {choice}")
    preview = page.get_by_role("button", name="Show what changes").last
    page.get_by_label("How many people").last.fill("x")
    preview.click()
    page.locator("[aria-invalid=true]").first.wait_for()
    found += faults(page, "rules with a fault")
    page.get_by_label("How many people").last.fill("1")
    preview.click()
    page.get_by_role("button", name="Save this to policy.json").wait_for()
    found += faults(page, "rules previewed")
    page.goto(full.url)
    settled(page)
    for box in page.locator("[data-pick]").all():
        box.check()
    found += faults(page, "selected")
    bar = page.get_by_role("form", name="Selected calls")
    bar.get_by_text("Deny…").click()
    found += faults(page, "denying several")
    bar.get_by_label("Too risky").check()
    bar.get_by_role("button", name="Deny all of them").click()
    page.locator("#results").wait_for()
    found += faults(page, "results")
    full.stop()
    page.locator("#live[data-state=stale]").wait_for()
    found += faults(page, "stale")
    assert "\n".join(found) == ""


def test_what_opens_on_a_page_is_accessible(full: Site, visitors: Visitors) -> None:
    full.do(fill(full.scene))
    changeable = full.scene.held(
        "pay", {"amount": 5, "urgent": True, "note": "a\nb"}, terms=Terms(editable=("args",))
    )
    page = visitors.new(bypass_csp=True, reduced_motion="reduce").sign_in("root", "admin")
    found: list[str] = []
    for part in ("approve", "deny", "extend"):
        fold = page.locator(f"details[data-part={part}] > summary").first
        fold.click()
        found += faults(page, part)
        fold.click()
    page.goto(f"{full.url}/approvals/{changeable.id}#edit")
    page.locator("details[data-part=edit][open]").wait_for()
    found += faults(page, "edit")
    page.get_by_label("amount").fill("4")
    page.get_by_role("button", name="Show the difference").click()
    page.get_by_role("button", name="Save this change").wait_for()
    found += faults(page, "difference")
    page.goto(full.url + "/agents")
    page.get_by_label("Name").first.fill("builder")
    page.get_by_role("button", name="Make a grant").click()
    page.get_by_text("shown this once").wait_for()
    found += faults(page, "a new token")
    page.goto(full.url)
    page.keyboard.press("?")
    found += faults(page, "help")
    assert "\n".join(found) == ""
