"""Arguments by kind: each is read for what it is, whole, and no kind loses a character of it."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.digest import canonical
from tests.web.test_inert import ATTACKS
from web.views.viewers.code import LANGUAGES, lines_in
from web.views.viewers.patch import patch_of
from web.views.viewers.sent import SentCall, sent_of
from web.views.viewers.spans import Effort, Line, MarkedText
from web.views.viewers.texts import ShownText
from web.views.viewers.tree import Node, laid_out
from web.views.viewers.words import changed, numbered, steps


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x40\x80\xc0" * min(width, 64)) * min(height, 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def read(name: str, value: Any, before: Any = None, **beside: Any) -> ShownText:
    """The one value that is shown by itself."""
    was = None if before is None else {name: before, **beside}
    (found,) = sent_of({name: value, **beside}, was, full=True).values
    return found


def now(spans: tuple[MarkedText, ...]) -> str:
    return "".join(span.text for span in spans if span.mark != "went")


def was(spans: tuple[MarkedText, ...]) -> str:
    return "".join(span.text for span in spans if span.mark != "came")


def marked(spans: tuple[MarkedText, ...], mark: str) -> list[str]:
    return [span.text for span in spans if span.mark == mark]


MAIL = "Dear all,\n\nyour plan renews on 1 December at 125 a month. Nothing else changes.\n\nMira\n"


def test_only_the_words_that_differ_are_marked() -> None:
    new = MAIL.replace("1 December", "1 January").replace("a month", "a year")
    found = read("body", new, MAIL)
    assert (found.form, found.against) == ("flow", True)
    assert marked(found.spans, "came") == ["January", "year"]
    assert marked(found.spans, "went") == ["December", "month"]
    assert now(found.spans) == new
    assert was(found.spans) == MAIL


def test_short_values_come_first_and_say_what_they_were() -> None:
    sent = sent_of(
        {"a": MAIL, "amount": 9, "n": "12", "to": "ann", "same": 1},
        {"amount": 5, "n": 12, "cc": "bob", "same": 1},
        full=True,
    )
    assert [row.path for row in sent.rows] == ["amount", "n", "to", "same", "cc"]
    assert [one.name for one in sent.values] == ["a"]
    rows = {row.path: row for row in sent.rows}
    assert [span.text for span in rows["amount"].spans] == ["5", " → ", "9"]
    assert rows["n"].note == "text, was number"
    assert rows["to"].spans == (MarkedText("ann", "came"),)
    assert (rows["cc"].note, rows["cc"].gone) == ("not sent now", True)
    assert not rows["same"].touched


SQL = "-- clean up\nUPDATE plans\n   SET state = 'closed'\n WHERE ends_at < now();\n"


def test_sql_has_numbered_lines_in_colours() -> None:
    found = read("query", SQL)
    assert (found.form, found.note) == ("code", f"SQL, 4 lines, {len(SQL)} characters, complete")
    assert [line.new for line in found.lines] == ["1", "2", "3", "4"]
    assert MarkedText("'closed'", "quote") in found.lines[2].spans
    assert ("-- clean up", "remark") in [(one.text, one.mark) for one in found.lines[0].spans]


def test_code_against_the_earlier_call_is_a_difference_by_line() -> None:
    found = read("query", SQL.replace("now()", "now() + '1 d'") + "COMMIT;\n", SQL)
    assert (found.form, found.plus, found.minus) == ("patch", 2, 1)
    assert [(line.sort, line.old, line.new) for line in found.lines[3:]] == [
        ("went", "4", ""), ("came", "", "4"), ("came", "", "5"),
    ]  # fmt: skip
    assert marked(found.lines[4].spans, "came") == [" + '1 d'"]


@pytest.mark.parametrize(
    ("beside", "text", "language"),
    [
        ({"path": "src/a.py"}, "def f():\n    return 1\n", "Python"),
        ({"filename": "x.ts"}, "const a = 1;\nlet b = 2;\n", "TypeScript"),
        ({"language": "bash"}, "ls\nrm x\n", "shell"),
        ({}, "#!/usr/bin/env python3\nprint(1)\n", "Python"),
        ({"path": "README.md"}, "# Title\n\nselect from\n", "Markdown, as text"),
        ({"path": "notes.txt"}, "SELECT 1\nFROM x\n", "text"),
        ({}, "Update the\ndocuments please\n", "text"),
        ({}, '{"a": [1, 2.50, 1e400], "a": null}\n' + " " * 200, "JSON"),
        ({}, "{" * 5_000, "text"),
    ],
)
def test_a_language_is_known_by_what_stands_beside(
    beside: dict[str, str], text: str, language: str
) -> None:
    assert read("content", text, **beside).note.startswith(f"{language}, ")


PATCH = (
    "--- a/x.py\n+++ b/x.py\n@@ -41,3 +41,3 @@ def f():\n a\n"
    "-    return round(n, 2)\n+    return even(n)\n b\n"
)


def test_a_patch_has_the_numbers_of_both_sides() -> None:
    found = read("patch", PATCH)
    assert (found.form, found.plus, found.minus) == ("patch", 1, 1)
    assert found.note.startswith("unified diff, 7 lines")
    assert [(line.sort, line.old, line.new) for line in found.lines] == [
        ("at", "", ""), ("at", "", ""), ("at", "", ""), ("", "41", "41"),
        ("went", "42", ""), ("came", "", "42"), ("", "43", "43"),
    ]  # fmt: skip


def test_lines_that_no_hunk_has_room_for_are_shown_and_counted() -> None:
    lying = PATCH + "+    os.remove('/')\n-kept\n"
    found = read("patch", lying)
    assert (found.plus, found.minus) == (1, 1)
    assert "2 lines stand in no hunk" in found.note
    assert [now(line.spans) for line in found.lines[-2:]] == ["+    os.remove('/')", "-kept"]


ROWS = [{"sku": f"A{n}", "count": n, "price": 100 * n} for n in range(4)]


def test_equal_objects_are_a_table_and_its_changed_cells_say_so() -> None:
    found = read("items", ROWS, [*ROWS[:2], {**ROWS[2], "price": 7}, *ROWS[3:], ROWS[0]])
    assert found.table is not None
    assert found.table.columns == ("sku", "count", "price")
    assert [span.text for span in found.table.rows[2][2].spans] == ["7", " → ", "200"]
    assert found.table.gone == 1
    assert "1 more before, not sent now" in found.note


CONFIG = {"features": {f"flag_{n}": {"on": bool(n % 2), "share": n} for n in range(180)}, "v": 1}


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for below in node.nodes:
        yield from nodes(below)


def test_a_large_object_is_a_tree_that_stands_open_where_it_changed() -> None:
    new = json.loads(json.dumps(CONFIG))
    new["features"]["flag_7"]["share"] = 99
    del new["features"]["flag_9"]
    found = read("config", new, CONFIG)
    assert found.node is not None
    opened = {one.key for one in nodes(found.node) if one.open}
    assert opened == {"config", "features", "flag_7"}
    changed_ = {one.key: now(one.spans) for one in nodes(found.node) if one.sort and one.spans}
    assert changed_ == {"share": " → 99", "flag_9": ""}
    assert "complete" in found.note
    assert any(one.note == "171 not changed" for one in nodes(found.node))


def test_a_tree_says_how_much_of_it_is_missing() -> None:
    found = read("rows", [[n] for n in range(9_000)])
    assert found.node is not None
    assert "of its values only under As sent" in found.note
    assert any("more, see As sent" in now(one.spans) for one in nodes(found.node))


def test_a_long_text_inside_an_object_is_read_for_what_it_is() -> None:
    sent = sent_of({"files": [{"path": "a.py", "content": "import os\nos.abort()\n"}]}, full=True)
    assert [(one.name, one.form) for one in sent.values] == [
        ("files", "tree"), ("files[0].content", "code"),
    ]  # fmt: skip
    assert sent.values[1].note.startswith("Python")


def test_the_list_shows_twelve_values_and_says_how_many_more() -> None:
    sent = sent_of({"config": CONFIG, "to": "ann"}, full=False)
    assert len(sent.rows) == 12
    assert sent.missing == 361 + 1 - 12
    assert sent.cut
    assert not sent_of({"config": CONFIG, "to": "ann"}, full=True).cut


def test_text_far_out_of_sight_is_told() -> None:
    found = read("command", "ls" + " " * 300 + "; rm -rf /", path="x.txt")
    assert "a gap of 300 spaces in it" in found.note
    found = read("command", "ls\n" + "\n" * 40 + "rm -rf /", path="x.txt")
    assert "40 empty lines in a row" in found.note


def test_line_ends_are_told_only_where_they_are_unusual() -> None:
    assert "CR LF" not in read("query", SQL).note
    found = read("query", SQL.replace("\n", "\r\n"))
    assert "lines end in CR LF" in found.note
    assert now(found.lines[0].spans) == "-- clean up"
    mixed = read("query", SQL.replace("\n", "\r\n", 1))
    assert now(mixed.lines[0].spans) == "-- clean up\r"


def test_letters_that_pass_for_others_have_the_plain_spelling_beside() -> None:
    text = "p\u0430ypal.com"
    sent = sent_of({"host": text, "site": "https://xn--80ak6aa92e.com", "o": CONFIG}, full=True)
    told = {row.path: " ".join(row.odd) for row in sent.rows}
    assert "only looks like “paypal”" in told["host"]
    assert "which only looks like apple" in told["site"]
    quiet = sent_of(
        {"a": "\u05e9\u05dc\u05d5\u05dd \u200f\u05e2", "b": "\U0001f468\u200d\U0001f469"}, full=True
    )
    assert [row.odd for row in quiet.rows] == [(), ()]


def test_what_is_odd_inside_a_folded_tree_is_told_above_it() -> None:
    deep = {**CONFIG, "z": {"y": {"x": {"w": {"host": "p\u0430ypal.com"}}}}}
    found = read("config", deep)
    assert any(one.startswith("config.z.y.x.w.host: ") for one in found.odd)


MASK = "[redacted, 40 chars, fp 1a2b3c4d]"


@pytest.mark.parametrize(
    "arguments",
    [
        {"token": MASK}, {"body": f"line\n{MASK}\nline\n"}, {"sql": f"SELECT '{MASK}'\nFROM x"},
        {"o": {"a": [MASK] * 9}}, {"rows": [{"a": MASK}, {"a": MASK}]},
        {"d": f"data:x/y;base64,{MASK}"},
    ],
)  # fmt: skip
def test_masks_stay_masks_in_every_kind(arguments: dict[str, Any]) -> None:
    before = json.loads(json.dumps(arguments).replace("1a2b3c4d", "ffffffff"))
    for earlier in (None, before):
        assert MASK in "".join(everything(sent_of(arguments, earlier, full=True)))


def everything(sent: SentCall) -> Iterator[str]:
    """All the text of the call that a reviewer can read without *As sent*."""
    for row in sent.rows:
        yield row.path
        yield now(row.spans) if row.spans else row.value
    for one in sent.values:
        yield one.name
        yield now(one.spans) or one.text
        yield from (
            (now(line.spans) if one.against else whole(line)) + "\n"
            for line in one.lines
            if not one.against or line.sort != "went"
        )
        if one.node is not None:
            yield from (f"{node.key} {now(node.spans)}" for node in nodes(one.node))
        if one.table is not None:
            yield from (now(cell.spans) for row in one.table.rows for cell in row)


texts = st.text(max_size=60) | st.sampled_from(
    [*ATTACKS, SQL, PATCH, MAIL, MASK, encoded(png(4, 4))]
)
values = st.recursive(
    texts | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, max_size=5), st.dictionaries(texts, values, max_size=5))
@settings(max_examples=150, deadline=None)
def test_no_kind_loses_a_text_of_any_call(given_: dict[str, Any], before: dict[str, Any]) -> None:
    given_ = json.loads(canonical(given_))
    for earlier in (None, before, given_):
        sent = sent_of(given_, earlier, full=True)
        shown = "".join(everything(sent)).replace("\n", "").replace("\r", "")
        for text in strings(given_):
            bare = text.replace("\n", "").replace("\r", "")
            assert bare in shown or patched(text) in shown
        assert sent.raw.replace("\n", "").replace("  ", "").replace(" ", "") == (
            canonical(given_).decode().replace("\n", "").replace(" ", "")
        )


def patched(text: str) -> str:
    """A patch as its lines are shown: without the sign, which stands in front."""
    found = patch_of(text, Effort())
    return "".join(map(whole, found.lines)).replace("\r", "") if found else "\x00!"


def whole(line: Line) -> str:
    return "".join(span.text for span in line.spans)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from strings(member)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


@given(st.text(alphabet="ab \n\r,", max_size=80), st.text(alphabet="ab \n\r,", max_size=80))
@settings(max_examples=300, deadline=None)
def test_a_difference_holds_both_sides_whole(old: str, new: str) -> None:
    spans = changed(old, new, Effort())
    assert spans is None or (was(spans), now(spans)) == (old, new)
    lines: list[Line] = numbered(old, new, Effort()) or []
    if lines:
        kept = [now(line.spans) for line in lines if line.sort != "went"]
        assert "\n".join(kept).rstrip("\n") == new.replace("\r\n", "\n").rstrip("\n") or "\r" in new


def test_what_is_too_dear_to_compare_is_one_replacement() -> None:
    old, new = ["a", "b"] * 4_000, ["b", "a"] * 3_000
    effort = Effort()
    assert steps(old, new, effort)[0][0] == "replace"
    assert effort.left == Effort().left


@pytest.mark.parametrize("language", LANGUAGES)
@given(st.text(max_size=300))
@settings(max_examples=25, deadline=None)
def test_colours_lose_no_character(language: str, text: str) -> None:
    for whole in (text, *ATTACKS, "\r\n\t\x0b\x00"):
        lines = whole.split("\n")
        found, _ = lines_in(lines, language, Effort())
        assert [now(line) for line in found] == lines


def test_code_that_no_time_is_left_for_is_plain_and_whole() -> None:
    effort = Effort(seconds=0)
    assert lines_in(SQL.split("\n"), "sql", effort) == (
        [(MarkedText(one),) for one in SQL.split("\n")],
        False,
    )
    found = read("query", SQL * 1_700)  # longer than what is coloured at all
    assert "SQL, not all of it in colours" in found.note
    assert "\n".join(now(line.spans) for line in found.lines) + "\n" == SQL * 1_700


def test_json_is_laid_out_without_a_change_to_any_token() -> None:
    value = {
        "b": [1, 1.0, "x\ny"],
        "a": {"c": {"d": [{}, [], {"e": None}]}},
        "long": ["w" * 60] * 3,
    }
    assert json.loads(laid_out(value)) == value
    assert canonical(json.loads(laid_out(value))) == canonical(value)
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert len(laid_out(deep)) < 20_000
