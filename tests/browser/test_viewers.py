"""Arguments by kind in a real browser: everything is read and decided without scrolling for the
buttons, on a desktop and a phone, and the page's policy is never violated (the fixture listens).
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from approvals.model import Terms
from tests.browser.conftest import Site, Visitors
from tests.browser.test_accessible import faults
from tests.browser.test_reviewing import settled
from tests.web.test_viewers import CONFIG, MAIL, PATCH, ROWS, SQL, encoded, png

pytestmark = pytest.mark.browser

CALLS: dict[str, dict[str, Any]] = {
    "sql of 900 lines": {"db": "orders", "query": SQL * 225},
    "json of 20 kB": {"config": CONFIG, "more": CONFIG},
    "many values": {f"key_{n}": n for n in range(400)},
    "kinds": {
        "file": encoded(png(320, 200)), "patch": PATCH, "body": MAIL, "items": ROWS,
        "wide": "x" * 5_000, "pdf": encoded(b"%PDF-1.7" + bytes(range(256)) * 9),
    },
}  # fmt: skip
LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone, dark": {
        "viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark",
    },
}  # fmt: skip
BAR = "document.querySelector('.card .acts').getBoundingClientRect().bottom"


@pytest.mark.parametrize("look", LOOKS)
def test_the_buttons_stay_in_view_whatever_is_sent(
    site: Site, visitors: Visitors, look: str
) -> None:
    visitor = visitors.new(bypass_csp=True, **LOOKS[look])
    page = visitor.sign_in("alice")
    for name, arguments in CALLS.items():
        held = site.scene.held(name, arguments, terms=Terms(risk="low"))
        page.goto(f"{site.url}/approvals/{held.id}")
        settled(page)
        expect(page.get_by_role("button", name="Approve")).to_be_in_viewport()
        assert page.evaluate(BAR) <= LOOKS[look]["viewport"]["height"]
        assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")
        assert faults(page, name) == []


def test_one_press_shows_what_is_sent_and_a_picture_is_drawn(
    site: Site, visitors: Visitors
) -> None:
    page = visitors.new().sign_in("alice")
    held = site.scene.held("upload", CALLS["kinds"], terms=Terms(risk="low"))
    page.goto(f"{site.url}/approvals/{held.id}")
    settled(page)
    drawn = page.get_by_alt_text("The picture that is sent")
    assert drawn.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    expect(page.get_by_role("region", name="The arguments as sent")).to_be_hidden()
    page.get_by_text("As sent", exact=True).click()
    expect(page.get_by_role("region", name="The arguments as sent")).to_contain_text('"wide": "xxx')
    expect(drawn).to_be_hidden()
    page.keyboard.press("a")  # the keys go on working from there
    expect(page.get_by_role("button", name="Approve")).to_be_focused()


def test_a_tree_folds_without_a_script(secure: Site, visitors: Visitors) -> None:
    page = visitors.new(java_script_enabled=False).page("/signin")
    page.get_by_label("Sign-in code").fill(secure.link("alice").partition("#")[2])
    page.get_by_role("button", name="Sign in").click()
    held = secure.scene.held("put", {"config": CONFIG}, terms=Terms(risk="low"))
    page.goto(f"{secure.url}/approvals/{held.id}")
    flag = page.locator("summary", has_text="flag_42")
    expect(flag).to_be_hidden()
    page.locator("summary", has_text="180 members").click()
    flag.click()
    expect(page.locator(".tree")).to_contain_text("share 42")
