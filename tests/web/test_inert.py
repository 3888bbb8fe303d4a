"""What agents write is shown and never runs (T-52, T-54)."""

from __future__ import annotations

import csv
import html
import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.model import Client, Reviewer
from tests.support.review_scene import HOSTILE, Scene
from tests.web.conftest import Door
from web.pages.history import cell
from web.views.frame import Frame
from web.views.render import Pages, pieces

ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</title><script>alert(1)</script>",
    "</script><!--",
    "{{ 7*7 }}{% raw %}",
    '<div hx-post="/approvals/x/decide" hx-trigger="load">',
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "\u202egnp.exe\u200b\u0007\u2066x\u2069\ufeff\U000e0041",
    "&lt;b&gt;",
    "\x00\x1b[31m\r\nSet-Cookie: a=b",
    "\u2028\u2029\x85",
)
PAGES = Pages()
# Elements the page itself makes; whatever else appears came from an agent.
OWN_NAMES = (
    "datalist "
    "a article aside b bdi body br button code dd del details dialog div dl dt fieldset form h1 h2 "
    "h3 head header html i img input ins kbd label legend li link main meta nav noscript ol option "
    "p path "
    "circle rect line title progress script section select span summary svg table caption tbody td "
    "th textarea thead time tr ul pre"
)
OWN = frozenset(OWN_NAMES.split())
POINTS = frozenset(("href", "src", "action", "formaction"))
# A picture is drawn from bytes that the page itself has written again; nothing else is.
DRAWN = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")


class Tags(HTMLParser):
    """Reads a page as a browser would and keeps the first thing no template of ours writes."""

    def __init__(self) -> None:
        super().__init__()
        self.stray = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            inline = name.startswith(("on", "hx-")) or name == "style" or not name.isascii()
            drawn = tag == "img" and name == "src" and DRAWN.fullmatch(value or "")
            away = name in POINTS and not drawn and not re.match(r"/(?!/)|#", value or "")
            if inline or away or (name == "http-equiv"):
                self.stray = self.stray or f"{tag} {name}={value}"
        if tag not in OWN or (tag == "script" and not dict(attrs).get("nonce")):
            self.stray = self.stray or tag


def stray(page: str) -> str:
    tags = Tags()
    tags.feed(page)
    return tags.stray


@pytest.mark.parametrize("attack", ATTACKS)
async def test_every_field_an_agent_fills_is_text(scene: Scene, door: Door, attack: str) -> None:
    held = scene.held(
        attack,
        {attack: attack, "deep": [{attack: [attack]}]},
        server=attack,
        label=attack,
        client=Client(attack, attack),
        matched=attack,
        reason=attack,
        rule=attack,
        effect=attack,
    )
    visit = await door.signed_in("alice")
    for path in ("/", f"/approvals/{held.id}", f"/approvals/{held.id}/card", "/history"):
        page = (await visit.get(path)).text
        assert stray(page) == ""
        for hidden in "\u202e\u200b\u0007\u2066\ufeff\U000e0041\x00\x1b\u2028":
            assert hidden not in page


async def test_the_reviewer_still_reads_the_exact_text(scene: Scene, door: Door) -> None:
    held = scene.held("delete_customer", HOSTILE)
    page = (await (await door.signed_in("alice")).get(f"/approvals/{held.id}")).text
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert str(HOSTILE["reason"]) in text
    assert "refund\\u202egnp.exe then\\u200b delete\\u0007" in text
    assert '<span class="ctl" title="a character that would not be seen">\\u202e</span>' in page


async def test_a_filter_of_the_address_is_text_too(door: Door) -> None:
    visit = await door.signed_in("alice")
    for attack in ATTACKS:
        answer = await visit.http.get("/history", params={"text": attack, "tool": attack})
        assert stray(answer.text) == ""
        wrong = await visit.http.get("/history", params={"since": f"x{attack}"})
        assert wrong.status_code == (400 if "\x00" in attack else 422)  # NUL at the border
        assert stray(wrong.text) == ""


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back_from_its_pieces(text: str) -> None:
    shown = "".join(piece.text for piece in pieces(text) if not piece.hidden)
    assert all(character in text for character in shown)
    assert [c for c in text if c.isascii() and c.isprintable()] == [
        c for c in shown if c.isascii() and c.isprintable()
    ]


@given(st.text(max_size=120))
@settings(max_examples=150, deadline=None)
def test_any_text_makes_no_tag(text: str) -> None:
    viewer = Reviewer(id="alice", role="viewer")
    frame = Frame(nonce="n", viewer=viewer)
    page = PAGES.render("message.html", frame=frame, heading=text, sentence=text)
    assert stray(page) == ""


async def test_spreadsheets_get_no_formulas(scene: Scene, door: Door) -> None:
    scene.held("=cmd|'/c calc'!A1", {"x": "+1"}, server="@sum", reason="-2+3")
    visit = await door.signed_in("alice")
    visit.key.reads = True
    sheet = (await visit.get("/history/export.csv")).text
    for row in csv.reader(io.StringIO(sheet)):
        assert not [value for value in row if value[:1] in ("=", "+", "-", "@")]
    assert cell("=1") == "'=1"
    assert cell(-5) == "'-5"
    assert cell(None) == ""
