"""A real browser fed with everything an agent may write: nothing runs, nothing is sent, nothing is
framed, and the page's own policy is never violated (the fixture listens).
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Route, expect

from approvals.model import Client, Terms
from tests.browser.conftest import Site, Visitors
from tests.browser.test_reviewing import settled
from tests.support.admin_place import past_calls
from tests.web.test_inert import ATTACKS

pytestmark = pytest.mark.browser

DEEP: object = "bottom"
for _ in range(60):
    DEEP = {"<i>": [DEEP]}
CORPUS: dict[str, dict[str, Any]] = {
    "markup": {f"{number} {attack}": attack for number, attack in enumerate(ATTACKS)},
    "scripts": {
        "a": "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
        "b": "<math><mtext></table><img src=x onerror=alert(1)>",
        "c": "<template><script>alert(1)</script></template><iframe srcdoc='<script>1</script>'>",
        "d": '"><input autofocus onfocus=alert(1)><form action=//evil.example><button>Approve',
        "e": "<style>*{display:none}</style><link rel=stylesheet href=//evil.example/x.css>",
        "f": "<details open ontoggle=alert(1)><summary data-do=dismiss>x</summary></details>",
        "g": "<article class=card data-open data-id=x data-version=y><button data-act>",
    },
    "unseen": {
        "bidi": "approve \u202e\u2066ton\u2069 \u061c\u200f",
        "zero": "a\u200b\u200c\u200d\u2060\ufeffb\u00ad",
        "tags": "".join(chr(0xE0000 + ord(letter)) for letter in "approve me"),
        "variation": "x\ufe0f\U000e0100",
        "zalgo": "Z" + "\u0335\u0341\u0306\u0329" * 200,
        "controls": "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029",
    },
    "huge": {"one": "x" * 200_000, "words": "lorem ipsum " * 5000, "wide": "\ufdfd" * 400},
    "many": {f"key {number}": number for number in range(800)},
    "deep": {"d": DEEP},
}


@pytest.mark.parametrize("kind", CORPUS)
def test_whatever_an_agent_writes_is_inert_text(full: Site, visitors: Visitors, kind: str) -> None:
    name = ATTACKS[0] if kind == "markup" else "pay"
    held = full.scene.held(
        name, CORPUS[kind], server=name, label=name, client=Client(name, name), reason=name,
        matched=name, rule=name, terms=Terms(risk="low", editable=("args",)),
    )  # fmt: skip
    visitor = visitors.new()
    page = visitor.sign_in("alice", "admin")
    away: list[str] = []
    page.on("dialog", lambda dialog: away.append(dialog.message))
    page.on("popup", lambda other: away.append(other.url))
    page.on(
        "request",
        lambda asked: (
            away.append(f"{asked.method} {asked.url}")
            if asked.method != "GET" or not asked.url.startswith(full.url)
            else None
        ),
    )
    for path in ("/", f"/approvals/{held.id}", "/history"):
        page.goto(full.url + path)
        settled(page)
        strange = "main :is(script, iframe, img, math, template, link, style, object, embed, base)"
        assert page.locator(strange).count() == 0
        assert (
            page.locator("main [onerror], main [onbegin], main [ontoggle], [hx-post]").count() == 0
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    shown = page.goto(f"{full.url}/approvals/{held.id}")
    assert shown is not None
    text = page.locator("main").inner_text()
    assert not set(text) & set("\u202e\u2066\u200b\u200d\ufeff\u00ad\U000e0061\x07\x1b\u061c")
    expect(page.locator(f'[data-id="{held.id}"]').first).to_be_visible()
    assert away == []


def test_nobody_frames_the_page(full: Site, visitors: Visitors) -> None:
    visitor = visitors.new()
    page = visitor.sign_in("alice")

    def evil(route: Route) -> None:
        html = f"<title>Win</title><iframe src='{full.url}/' width=900 height=600></iframe>"
        route.fulfill(content_type="text/html", body=html)

    page.route("http://evil.test/**", evil)
    page.goto("http://evil.test/")
    frame = page.frame_locator("iframe")
    expect(frame.locator("#main")).to_have_count(0)
    assert [one.url for one in page.frames[1:] if "/static" in one.url] == []
    assert any("frame" in said.lower() or "refused" in said for said in visitor.complaints) or (
        page.frames[1].url.startswith("chrome-error")
    )
    visitor.complaints.clear()  # that refusal was the claim


def test_no_page_violates_its_own_policy(full: Site, visitors: Visitors) -> None:
    past_calls(full.scene)
    held = full.scene.held("git_commit", {"message": "m"}, terms=Terms(editable=("args.message",)))
    visitor = visitors.new()
    page = visitor.sign_in("root", "admin")
    for path in (
        *("/", f"/approvals/{held.id}", "/history", "/history?tool=x", "/tools", "/policy"),
        *("/policy/tool?server=git&tool=git_commit", "/policy/text", "/agents", "/insights"),
        *("/signin", "/nothing", "/approvals/nothing"),
    ):
        page.goto(full.url + path)
        page.keyboard.press("?")
        page.keyboard.press("Escape")
    assert visitor.complaints == []
