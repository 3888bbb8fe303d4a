"""The page's key in a real browser: two tabs share it, and where it is missing the page says so."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, expect

from approvals.model import State
from tests.browser.conftest import Site, Visitors
from tests.browser.test_accessible import LOOKS, faults
from tests.browser.test_reviewing import settled, state_of

pytestmark = pytest.mark.browser
FORGET = "() => new Promise((done) => { indexedDB.deleteDatabase('signoff').onsuccess = done; })"
OPENED = """async () => {
  const opening = indexedDB.open("signoff");
  await new Promise((done) => { opening.onsuccess = done; });
  const store = opening.result.transaction("keys").objectStore("keys");
  const all = (request) => new Promise((done) => {
    request.onsuccess = () => done(request.result);
  });
  const [names, keys] = [await all(store.getAllKeys()), await all(store.getAll())];
  let out = "closed";
  try { await crypto.subtle.exportKey("jwk", keys[0]); out = "open"; } catch { /* right */ }
  return [names, keys.map((key) => key.extractable), keys[0].usages, out];
}"""


def approve(page: Page, approval_id: str) -> None:
    page.locator(f"#a-{approval_id}").get_by_role("button", name="Approve").click()


def test_the_key_cannot_leave_the_browser_and_is_found_by_its_session(
    site: Site, visitors: Visitors
) -> None:
    page = visitors.new().sign_in("alice")
    session = page.locator("body").get_attribute("data-session")
    assert page.evaluate(OPENED) == [[session], [False], ["sign"], "closed"]


def test_two_tabs_share_the_key(site: Site, visitors: Visitors) -> None:
    held = [site.scene.held("git_commit", {"message": f"m{n}"}) for n in range(2)]
    visitor = visitors.new()
    tabs = [visitor.sign_in("alice"), visitor.page("/")]
    for tab, one in zip(tabs, held, strict=True):
        settled(tab)
        approve(tab, one.id)
        expect(tab.locator(f"#a-{one.id}")).to_contain_text("by alice")
    assert [state_of(site, one.id) for one in held] == [State.APPROVED] * 2


@pytest.mark.parametrize("look", LOOKS)
def test_a_key_that_is_gone_is_said_and_nothing_can_be_pressed(
    site: Site, visitors: Visitors, look: str
) -> None:
    held = site.scene.held("git_commit", {"message": "x"})
    visitor = visitors.new(bypass_csp=True, **LOOKS[look])
    page = visitor.sign_in("alice")
    settled(page)
    page.evaluate(FORGET)
    page.reload()
    said = page.get_by_role("alert").filter(has_text="no longer has the key")
    expect(said).to_contain_text("Sign in again with a new link")
    expect(page.locator(f"#a-{held.id}").get_by_role("button", name="Approve")).to_be_disabled()
    assert faults(page, "key gone") == []
    said.get_by_role("link", name="Sign in").click()
    page.wait_for_url("**/signin?next=%2F")
    page.get_by_label("Sign-in code").fill(site.link("alice").partition("#")[2])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(site.url + "/")
    settled(page)
    expect(page.locator("#keyless")).to_be_hidden()
    approve(page, held.id)
    expect(page.locator(f"#a-{held.id}")).to_contain_text("by alice")


def test_a_key_that_goes_while_the_page_is_open_is_said_where_it_is_pressed(
    site: Site, visitors: Visitors
) -> None:
    held = site.scene.held("git_commit", {"message": "x"})
    page = visitors.new().sign_in("alice")
    settled(page)
    page.evaluate(FORGET)
    approve(page, held.id)
    card = page.locator(f"#a-{held.id}")
    expect(card).to_contain_text("Sign in again with a new link.")
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.locator("details.menu")).to_contain_text("Nothing was sent.")
    assert state_of(site, held.id) is State.PENDING


def test_a_page_of_an_older_sign_in_says_reload(site: Site, visitors: Visitors) -> None:
    visitor = visitors.new()
    older = visitor.sign_in("alice")
    # Without the stream: it would tell the page, and that would reload by itself.
    older.route("**/events*", lambda route: route.abort())
    older.goto(site.url + "/history")
    newer = visitor.page()
    newer.goto(site.link("alice"))
    newer.get_by_role("button", name="Sign in").click()
    newer.wait_for_url(site.url + "/")
    older.get_by_role("button", name="Check the chain").click()
    said = "Nothing was sent. You signed in again: reload this page"
    expect(older.locator("[data-mention]")).to_contain_text(said)
    older.evaluate("dispatchEvent(new Event('focus'))")  # someone comes back to this tab
    alert = older.get_by_role("alert").filter(has_text="signed in again")
    expect(alert).to_be_visible()
    alert.get_by_role("link", name="Reload").click()
    older.get_by_role("button", name="Check the chain").click()
    expect(older.locator(".notice.good")).to_be_visible()


def test_a_page_whose_session_was_replaced_goes_on_with_the_new_one(
    site: Site, visitors: Visitors
) -> None:
    held = site.scene.held("git_commit", {"message": "x"})
    visitor = visitors.new()
    older = visitor.sign_in("alice")
    settled(older)
    newer = visitor.page()
    newer.goto(site.link("alice"))
    newer.get_by_role("button", name="Sign in").click()
    newer.wait_for_url(site.url + "/")
    session = newer.locator("body").get_attribute("data-session")
    # The stream ends with its session: the page is told, and loaded again.
    site.scene.held("git_commit", {"message": "y"})
    expect(older.locator("body")).to_have_attribute("data-session", str(session))
    settled(older)
    approve(older, held.id)
    expect(older.locator(f"#a-{held.id}")).to_contain_text("by alice")


def test_a_browser_that_keeps_no_key_is_told_before_the_code_is_used(
    site: Site, visitors: Visitors
) -> None:
    page = visitors.new().page()
    page.add_init_script("indexedDB.open = () => { throw new DOMException('blocked'); };")
    link = site.link("alice")
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("Your code was not used.")
    code = link.partition("#")[2]
    assert site.do(site.scene.people.redeem(code, binding="host")) is not None


def test_without_scripts_this_machine_says_that_it_needs_them(
    site: Site, visitors: Visitors
) -> None:
    held = site.scene.held("git_commit", {"message": "x"})
    visitor = visitors.new(java_script_enabled=False)
    page = visitor.page("/signin")
    expect(page.locator("main noscript .notice")).to_be_visible()
    page.get_by_label("Sign-in code").fill(site.link("alice").partition("#")[2])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Your code was not used.")
    assert state_of(site, held.id) is State.PENDING


@pytest.mark.parametrize("form", ["CSV", "JSON lines"])
def test_an_export_is_signed_and_saved(
    site: Site, visitors: Visitors, tmp_path: Path, form: str
) -> None:
    site.scene.held("git_commit", {"message": "what the agent asked"})
    page = visitors.new().sign_in("alice")
    page.goto(site.url + "/history?tool=git_commit")
    settled(page)
    with page.expect_download() as begun:
        page.get_by_role("link", name=form, exact=True).click()
    file = tmp_path / begun.value.suggested_filename
    begun.value.save_as(file)
    assert file.name == {"CSV": "signoff-history.csv", "JSON lines": "signoff-history.jsonl"}[form]
    assert "what the agent asked" in file.read_text()
    expect(page.locator("#say")).to_have_text("The file is saved.")


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_answered_in_place_is_shown_whole_and_heard(
    full: Site, visitors: Visitors, look: str
) -> None:
    page = visitors.new(bypass_csp=True, **LOOKS[look]).sign_in("root", "admin")
    page.goto(full.url + "/agents")
    settled(page)
    page.get_by_label("Name").fill("my agent")
    page.get_by_role("button", name="Make a grant").click()
    token = page.locator(".once").first
    expect(token).to_contain_text("sgn_")
    expect(page.get_by_role("button", name="Copy the token")).to_be_visible()
    assert page.evaluate("document.activeElement !== document.body")
    assert faults(page, "a new grant") == []
    page.get_by_role("link", name="Queue").click()  # and what comes next is loaded as ever
    settled(page)


def test_a_chain_is_checked_in_place(site: Site, visitors: Visitors) -> None:
    page = visitors.new().sign_in("alice", "viewer")
    page.goto(site.url + "/history")
    settled(page)
    page.get_by_role("button", name="Check the chain").click()
    expect(page.locator(".notice.good")).to_contain_text("are what and where they were written")
    assert page.url == site.url + "/history"


def test_signing_out_ends_the_session_and_leads_to_the_door(site: Site, visitors: Visitors) -> None:
    visitor = visitors.new()
    page = visitor.sign_in("alice")
    settled(page)
    (cookie,) = [one for one in visitor.context.cookies() if one["name"] == "signoff"]
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in to review")).to_be_visible()
    kept = {"Cookie": f"signoff={cookie['value']}"}
    assert httpx2.get(site.url + "/", headers=kept).status_code == 303


@pytest.mark.parametrize("look", LOOKS)
def test_over_plain_http_elsewhere_the_page_says_that_it_only_shows(
    plain: Site, visitors: Visitors, look: str
) -> None:
    held = plain.scene.held("git_commit", {"message": "x"})
    visitor = visitors.new(bypass_csp=True, **LOOKS[look])
    page = visitor.page("/signin")
    expect(page.locator("main")).to_contain_text("Open it by https to decide.")
    assert faults(page, "the door over plain http") == []
    page.get_by_label("Sign-in code").fill(plain.link("root", "admin").partition("#")[2])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(plain.url + "/")
    settled(page)
    expect(page.locator("#banners")).to_contain_text("Open it by https to decide.")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    assert faults(page, "the queue over plain http") == []
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in to review")).to_be_visible()
    assert state_of(plain, held.id) is State.PENDING
