"""A hostile server on a neighbouring port, with the reviewer's cookie in its hands: it decides
nothing, exports nothing and unmasks nothing. In a real Chromium, under both names of the page.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from approvals.model import State
from tests.browser.conftest import Site, Visitors
from tests.browser.test_reviewing import settled, state_of
from tests.support.admin_place import RULES
from tests.support.page_key import PageKey
from web.border import csrf_token

pytestmark = pytest.mark.browser
NAMES = ("127.0.0.1", "signoff.localhost")
BAIT = """<!doctype html><title>Your app</title><p>Have a look.</p>
<form method=post action="{url}{path}"><input name=csrf value="{csrf}"><input name=choice
value=approve><input name=revision value=1><input name=view value=x></form>
<script>
const done = [];
const tried = [
  fetch("{url}{path}", {{method: "POST", credentials: "include", mode: "no-cors",
    headers: {{"Content-Type": "application/x-www-form-urlencoded"}},
    body: new URLSearchParams({{csrf: "{csrf}", choice: "approve", revision: 1, view: "x"}})}}),
  fetch("{url}/history/export.jsonl", {{credentials: "include"}})
    .then((answer) => answer.text()).then((text) => done.push(text)),
  new Promise((done, fail) => {{
    const frame = document.createElement("iframe");
    frame.src = "{url}/"; frame.onload = () => done(); document.body.append(frame);
  }}),
  new Promise((done) => {{ // the key's store is that of its own origin: here there is none
    const opening = indexedDB.open("signoff");
    opening.onsuccess = () => {{
      document.body.dataset.stores = opening.result.objectStoreNames.length; done();
    }};
  }}),
];
Promise.allSettled(tried).then(() => {{
  document.body.dataset.told = done.join(""); document.title = "done";
}});
</script>"""


class Neighbour(ThreadingHTTPServer):
    """A dev server of the agent's: keeps every cookie it is sent and answers with its bait."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cookies: list[str] = []
        self.plants = ""  # a cookie it sets in the browser of anyone who looks
        self.bait = ""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def stolen(self) -> str:
        """The newest session that was sent to it."""
        found = re.findall(r"signoff=(ses_[\w-]+)", " ".join(self.cookies))
        return str(found[-1])


class _Handler(BaseHTTPRequestHandler):
    server: Neighbour

    def do_GET(self) -> None:
        self.server.cookies.append(self.headers.get("Cookie", ""))
        body = self.server.bait.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.server.plants:
            self.send_header("Set-Cookie", f"signoff={self.server.plants}; Path=/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Says nothing on stderr."""


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    server = Neighbour()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join(30)
    server.server_close()


def armed(neighbour: Neighbour, site: Site, approval_id: str, cookie: str) -> None:
    """What it makes of what it was sent: a page that presses in the browser itself."""
    path = f"/approvals/{approval_id}/decide"
    neighbour.bait = BAIT.format(url=site.url, path=path, csrf=csrf_token(cookie))


def program(site: Site, cookie: str) -> httpx2.Client:
    """A program of the neighbour's with the cookie. It says of itself what it likes."""
    origin = {"Origin": site.url, "Sec-Fetch-Site": "same-origin", "X-CSRF-Token": ""}
    headers = {**origin, "X-CSRF-Token": csrf_token(cookie), "Cookie": f"signoff={cookie}"}
    base = f"http://127.0.0.1:{site.port}"
    return httpx2.Client(
        base_url=base, headers={**headers, "Host": f"{site.host}:{site.port}"}, timeout=30
    )


def attack(site: Site, cookie: str, approval_id: str, *, key: PageKey | None = None) -> set[int]:
    """Everything that an administrator can do, with the cookie and a key of its own."""
    form = {"csrf": csrf_token(cookie), "revision": "1", "view": "x", "seconds": "1800"}
    of = f"/approvals/{approval_id}"
    posts: tuple[tuple[str, dict[str, str]], ...] = (
        (f"{of}/decide", {"choice": "approve"}),
        (f"{of}/decide", {"choice": "deny", "reason": "no"}),
        (f"{of}/extend", {}),
        (f"{of}/edit", {"sure": "1", "set:%5B%22note%22%5D": "2"}),
        (f"{of}/settle", {"settlement": "done", "note": "x"}),
        ("/bulk", {"choice": "approve", "item": f"{approval_id}:1:x"}),
        ("/agents/new", {"label": "mine"}),
        ("/agents/revoke", {"id": "grt_1"}),
        ("/agents/freeze", {"kind": "everything", "on": "1"}),
        ("/tools/accept", {"server": "crm", "tool": "delete_customer", "seen": "a" * 64}),
        ("/policy/text", {"text": '{"version": "1", "default": "allow"}', "do": "save"}),
        ("/policy/tool/save", {"tool": "git_status", "rules": '"hide"'}),
        ("/history/verify", {}),
        ("/signout", {"everywhere": "1"}),
    )
    codes: set[int] = set()
    with program(site, cookie) as http:
        if key is not None:
            shown = re.search(r'data-session="(\w+)"', http.get("/").text)
            assert shown is not None  # the masked page tells which session it is of
            key.session = shown[1]
            http.auth = key
        for path, more in posts:
            codes.add(http.post(path, data={**form, **more}).status_code)
        for what in ("approve", "deny", "extend", "settle", "edit"):
            body = {"revision": 1, "reason": "x", "seconds": 60}
            codes.add(http.post(f"/api/v1{of}/{what}", json=body).status_code)
        for path in ("/history/export.csv", "/history/export.jsonl", "/api/v1/history"):
            answer = http.get(path)
            codes.add(answer.status_code)
            assert "what the agent asked" not in answer.text
    return codes


def visit(page: Page, neighbour: Neighbour, name: str) -> None:
    page.goto(f"http://{name}:{neighbour.port}/")
    if neighbour.bait:
        expect(page).to_have_title("done", timeout=30_000)


@pytest.mark.parametrize("name", NAMES)
def test_with_the_cookie_a_neighbour_decides_exports_and_unmasks_nothing(
    full: Site, visitors: Visitors, neighbour: Neighbour, name: str, tmp_path: Path
) -> None:
    full.host = name
    held = full.scene.held(
        "pay", {"note": "what the agent asked", "api_key": "sk_live_abcdefghijklmnop"}
    )
    # Before sign-in: it plants a session that is valid, and was made with a key of its own.
    own = PageKey()
    mallory = full.link("mallory").partition("#")[2]
    with httpx2.Client(base_url=f"http://127.0.0.1:{full.port}") as http:
        origin = {"Origin": f"http://127.0.0.1:{full.port}", "Signoff-Script": "1"}
        http.post("/signin", data=own.form(mallory), headers=origin)
        neighbour.plants = http.cookies["signoff"]
    visitor = visitors.new()
    page = visitor.page()
    visit(page, neighbour, name)
    neighbour.plants = ""
    page.goto(full.link("root", "admin"))
    page.get_by_role("button", name="Sign in").click()  # it asks: someone seems to be signed in
    page.wait_for_url(full.url + "/")
    settled(page)

    # After sign-in: opened under the same name, it is sent the new cookie.
    look = visitor.context.new_page()
    visit(look, neighbour, name)
    cookie = neighbour.stolen()
    armed(neighbour, full, held.id, cookie)
    look.on("console", lambda _: None)
    visit(look, neighbour, name)  # and presses from inside the browser, with the browser's cookie
    assert look.locator("body").get_attribute("data-told") == ""
    assert look.locator("body").get_attribute("data-stores") == "0"
    head = full.scene.database.read_now(newest)
    assert attack(full, cookie, held.id) <= {401, 403, 404, 422}
    assert attack(full, cookie, held.id, key=own) <= {401, 403, 404, 422}
    assert attack(full, cookie, held.id, key=PageKey()) <= {401, 403, 404, 422}
    with program(full, cookie) as http:  # it reads the masked view: SECURITY.md says so
        masked = http.get(f"/approvals/{held.id}").text
        assert "what the agent asked" in masked
        assert "sk_live_abcdefghijklmnop" not in masked
    assert full.scene.database.read_now(newest) == head
    assert state_of(full, held.id) is State.PENDING
    assert full.place.file.read_text() == RULES

    # The person goes on as if nothing had been there.
    page.locator(f"#a-{held.id}").get_by_role("button", name="Approve").click()
    expect(page.locator(f"#a-{held.id}")).to_contain_text("Approved")
    assert state_of(full, held.id) is State.APPROVED


def newest(connection: Any) -> int:
    return int(connection.exec_driver_sql("SELECT max(seq) FROM history").scalar())


def test_a_request_of_the_page_that_was_overheard_is_good_once(
    full: Site, visitors: Visitors
) -> None:
    """Not even the very bytes of a press, cookie and signature included, press again."""
    page = visitors.new().sign_in("root", "admin")
    settled(page)
    page.goto(full.url + "/agents")
    with page.expect_request(lambda asked: asked.method == "POST") as told:
        page.get_by_role("button", name="Freeze", exact=True).first.click()
    expect(page.get_by_role("button", name="Thaw", exact=True)).to_be_visible()
    sent = told.value
    headers = {
        name: value for name, value in sent.all_headers().items() if not name.startswith(":")
    }
    assert headers["signoff-signature"].count(".") == 2
    page.get_by_role("button", name="Thaw", exact=True).click()
    expect(page.get_by_role("button", name="Thaw", exact=True)).to_have_count(0)
    again = httpx2.post(sent.url, content=sent.post_data_buffer or b"", headers=headers)
    assert again.status_code == 409
    assert not any(line.frozen for line in full.do(full.place.admin.servers()))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_its_own_sign_in(full: Site, visitors: Visitors, name: str) -> None:
    full.host = name
    visitor = visitors.new()
    settled(visitor.sign_in("root", "admin"))
    other = next(one for one in NAMES if one != name)
    page = visitor.page()
    page.goto(f"http://{other}:{full.port}/")
    expect(page.get_by_role("heading", name="Sign in to review")).to_be_visible()
