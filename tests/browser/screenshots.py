"""Takes the README's pictures: python tests/browser/screenshots.py [FOLDER]. `make screenshots`.

The record behind them is the example the page's own tests fill; the pictures are of the real page.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


BUILDER = "/policy/tool?server=billing&tool=create_charge"


@dataclass(frozen=True)
class Picture:
    """One page, one look."""

    name: str
    path: str
    width: int = 1280
    height: int = 860
    dark: bool = False
    before: str = ""  # what is done on the page first


PICTURES = (
    Picture("queue", "/"),
    Picture("queue-dark", "/", dark=True),
    Picture("queue-phone", "/", width=360, height=740),
    Picture("queue-phone-dark", "/", width=360, height=740, dark=True),
    Picture("selected", "/", before="select"),
    Picture("approval", "/approvals/", height=1100),
    Picture("history", "/history"),
    Picture("tools", "/tools"),
    Picture("policy", "/policy"),
    Picture("policy-builder", BUILDER, height=1000, before="preview"),
    Picture("policy-builder-fault", BUILDER, height=1000, before="fault"),
    Picture("policy-builder-dark", BUILDER, height=1000, dark=True, before="preview"),
    Picture("policy-builder-phone", BUILDER, width=360, height=740),
    Picture("agents", "/agents"),
    Picture("insights", "/insights"),
)


def prepare(page: Page, step: str) -> None:
    """What a reviewer did before the picture was taken."""
    if step == "select":
        for box in page.locator("[data-pick*=list_invoices]").all()[:3]:
            box.check()
        page.locator("[data-pick]:checked").first.scroll_into_view_if_needed()
    if step in ("preview", "fault"):
        page.locator('[id="/approve_if/0/conditions/0/value"]').fill("20000")
        people = page.locator('[id="/approve_if/0/quorum"]')
        people.fill("two" if step == "fault" else "2")
        with page.expect_response(lambda answer: answer.request.method == "POST"):
            page.get_by_role("button", name="Show what changes").last.click()
        shown = "[aria-invalid=true]" if step == "fault" else "section:has-text('What changes')"
        page.locator(shown).first.wait_for()
    if step == "fault":
        page.locator("[aria-invalid=true]").first.scroll_into_view_if_needed()


def take(browser: Browser, link: str, folder: Path) -> None:
    """Sign in once and take every picture."""
    url = link.split("/signin", 1)[0]
    context = browser.new_context(reduced_motion="reduce")  # one: its key signs for all of them
    page = context.new_page()
    page.goto(link)
    page.wait_for_url(f"{url}/")
    first = page.locator(".card").nth(1).get_attribute("data-id")
    for picture in PICTURES:
        page = context.new_page()
        page.set_viewport_size({"width": picture.width, "height": picture.height})
        page.emulate_media(color_scheme="dark" if picture.dark else "light")
        page.goto(f"{url}{picture.path}{first if picture.path == '/approvals/' else ''}")
        page.wait_for_selector("[data-live=live], .list, main")
        page.wait_for_selector("[data-live=live]")  # the stream is there and says so
        prepare(page, picture.before)
        page.screenshot(path=folder / f"{picture.name}.png")
        page.close()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".github" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    serving = subprocess.Popen(
        [sys.executable, "-m", "tests.web.serve", "--port", "8791"],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        link = serving.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            take(browser, link, folder)
            browser.close()
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.wait(PATIENCE)
    print(f"{len(PICTURES)} pictures in {folder}")


if __name__ == "__main__":
    main()
