"""Whatever an agent sends, its card is one that Slack takes, and its words stay words."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approvals.digest import canonical
from approvals.model import Approval, Choice, Client, Execution, Metadata, Terms
from approvals.record.database import Database
from approvals.slack import home, modals, notes
from approvals.slack.action_values import APPROVE, parse_value
from approvals.slack.blocks import MessageBody
from approvals.slack.card import bare, card, shows_all
from approvals.slack.card_context import CardContext
from approvals.slack.limits import check
from approvals.slack.modals import Origin
from approvals.slack.text import harmless, lines
from approvals.view import View, view_of
from tests.support.fake_slack.rules import wrong_blocks
from tests.support.record import ALICE, BOB, KEYS, HandClock, Record

MARK = "zqx"
LOOK = CardContext("https://gate.example", team="T1")
SECRET = "[redacted, 7 chars, fp 0a1b2c3d]"
HOSTILE = [
    "<!channel>", "<!here|x>", "<@U1>", "<https://evil.example|Approve>", "*Approved by security*",
    "`code`", "```\nfence\n```", ":white_check_mark:", "\n:white_check_mark: ok", "> quote", "&lt;",
    "\u202egnp.exe", "\u200b", "\U000e0041", "\x00", "\x1b[31m", "\r\n", "\u2028", " ", "{", '"}]',
    "a" * 5_000, "\n" * 200, "\t" * 50, "</script>", "~gone~", "_it_", "'; DROP TABLE",
    "\u00a0" * 40,
]  # fmt: skip

texts = st.one_of(
    st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
).map(lambda text: f"{MARK}{text}{MARK}")
floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.one_of(texts, st.integers(), st.booleans(), st.none(), floats),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(texts, inner, max_size=5)),
    max_leaves=30,
)
labels = texts.map(lambda text: f"{text}<")  # an operator's, and never a plain name
arguments = st.dictionaries(texts, values, max_size=8)
some = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
grants = itertools.count()


@pytest.fixture(scope="module")
def shared() -> Iterator[Record]:
    """One record for all examples; each has a grant of its own."""
    clock = HandClock()
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(f"sqlite:///{folder}/r.db", key=KEYS, clock=clock)
        yield Record(database, clock, "")
        database.close_now()


def seen(record: Record, approval: Approval) -> View:
    now = record.clock.now()
    found = record.read(lambda connection: view_of(connection, approval.id, now=now))
    assert found is not None
    return found


def drawn(record: Record, approval: Approval, look: CardContext = LOOK) -> MessageBody:
    return card(seen(record, approval), look, now=record.clock.now())


def markdown(value: Any) -> Iterator[str]:
    """Every text that Slack would parse."""
    if isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            yield value["text"]
        for member in value.values():
            yield from markdown(member)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from markdown(item)


def buttons(face: MessageBody) -> list[dict[str, Any]]:
    return [one for block in face.blocks if block["type"] == "actions" for one in block["elements"]]


def sound(face: MessageBody) -> None:
    """Slack takes it, by both checkers, and nothing of the agent's is parsed."""
    assert check(face.text, face.blocks) == []
    assert wrong_blocks(list(face.blocks)) == []
    for text in markdown(face.blocks):
        assert MARK not in text
    for word in face.text.split():  # what notifications are read from: plain words alone
        assert MARK not in word or harmless(word.strip("“”.,:()")), face.text


def test_a_rule_for_the_page_alone_leaves_no_approve_button(shared: Record) -> None:
    terms = Terms(web_only=True, editable=("args.n",), risk="high")
    held = shared.hold({"n": 5}, grant=f"grt_{next(grants)}", terms=terms)
    face = drawn(shared, held)
    sound(face)
    assert not face.approvable
    assert [one["action_id"] for one in buttons(face)] == [
        "approval.open",
        "approval.deny",
        "approval.ask",
    ]
    assert buttons(face)[0]["text"]["text"] == "Review in full"
    assert "approved on the page, not in Slack" in str(face.blocks)


@some
@given(given_=arguments, before=arguments, program=texts)
def test_no_arguments_make_a_card_that_slack_refuses_or_whose_words_do_anything(
    shared: Record, given_: dict[str, Any], before: dict[str, Any], program: str
) -> None:
    fields = {"grant": f"grt_{next(grants)}", "client": Client(program, program)}
    shared.decide(shared.hold(before, **fields), BOB, Choice.DENY, reason=program)
    held = shared.hold(given_, **fields)
    view = seen(shared, held)
    face = card(view, LOOK, now=shared.clock.now())
    sound(face)
    kinds = [block["type"] for block in face.blocks]
    assert kinds == ["header", "section", "section", "rich_text", "rich_text", "actions", "context"]
    asked = [one["action_id"].removeprefix("approval.") for one in buttons(face)]
    whole = ["approve", "deny", "ask", "open"]
    assert asked == (whole if face.approvable else ["open", "deny", "ask"])
    assert face.approvable is shows_all(view, LOOK)
    if face.approvable:
        (shown,) = [
            one["elements"][0]["text"]
            for block in face.blocks
            if block["type"] == "rich_text"
            for one in block["elements"]
            if one["type"] == "rich_text_preformatted"
        ]
        assert shown == "\n".join(lines(json.loads(held.masked)))
    sound(bare(view, LOOK, now=shared.clock.now()))


@some
@given(given_=arguments, reason=texts, reviewer=labels)
def test_no_decision_makes_a_card_that_slack_refuses(
    shared: Record, given_: dict[str, Any], reason: str, reviewer: str
) -> None:
    held = shared.hold(given_, grant=f"grt_{next(grants)}", grant_label=reviewer)
    shared.decide(held, BOB, Choice.DENY, reason=reason)
    face = drawn(shared, held)
    sound(face)
    assert buttons(face) == []
    shown = json.dumps(face.blocks)
    assert "Denied by bob" in shown


@some
@given(one=values, other=values)
def test_what_is_shown_says_which_call_it_is(one: Any, other: Any) -> None:
    if lines(one) == lines(other):
        assert canonical(one) == canonical(other)


@given(text=st.text(max_size=60))
def test_a_harmless_name_is_no_markup(text: str) -> None:
    if harmless(text):
        assert not set(text) & set("*~`<>&:\n|!#")
        assert not text.startswith("_")
        assert not text.endswith("_")
        assert " _" not in text
        assert "_ " not in text


@pytest.mark.parametrize(
    "given_",
    [
        {"a": "x" * 2_600},
        {"a": [1] * 70},
        {"a": "line\n" * 70},
        {"k" * 3_000: 1},
        {"note": SECRET},
        {"token": "abc"},
        {"a": " " * 2_500 + "rm -rf /"},
    ],
    ids=["long", "many", "lines", "key", "says masked", "masked", "padded"],
)
def test_what_is_not_shown_in_full_cannot_be_approved_on_the_card(
    shared: Record, given_: dict[str, Any]
) -> None:
    face = drawn(shared, shared.hold(given_, grant=f"grt_{next(grants)}"))
    sound(face)
    assert not face.approvable
    first, *others = buttons(face)
    assert (first["text"]["text"], first["style"]) == ("Review in full", "primary")
    assert first["url"].startswith("https://gate.example/approvals/apr_")
    assert APPROVE not in [one["action_id"] for one in others]
    notes_ = json.dumps(face.blocks)
    assert "not complete" in notes_ or "secrets masked" in notes_


@pytest.mark.parametrize(
    ("value", "approvable"), [("staging", True), ("x" * 3_000, False), (SECRET, False)]
)
def test_what_is_sent_beside_the_arguments_is_shown_or_not_approved_here(
    shared: Record,
    value: str,
    approvable: bool,  # noqa: FBT001 - a case of this test
) -> None:
    metadata = Metadata(canonical({"_meta": {f"{MARK}vendor/mode": f"{MARK}{value}"}}))
    face = drawn(shared, shared.hold({"n": 5}, grant=f"grt_{next(grants)}", metadata=metadata))
    sound(face)
    shown = json.dumps(face.blocks, ensure_ascii=False)
    assert "sent beside the arguments" in shown
    assert "vendor/mode" in shown
    assert face.approvable is approvable


def test_a_cut_card_shows_both_ends(shared: Record) -> None:
    held = shared.hold({"a": "head " + "x" * 9_000 + " tail"}, grant=f"grt_{next(grants)}")
    shown = json.dumps(drawn(shared, held).blocks)
    assert "head" in shown
    assert "tail" in shown
    assert "characters are not shown here" in shown


def test_arguments_that_stay_off_slack_are_nowhere_on_the_card(shared: Record) -> None:
    kept = CardContext("https://gate.example", show_arguments=False)
    grant = f"grt_{next(grants)}"
    shared.decide(shared.hold({"payment_id": "pay_secret_1"}, grant=grant))
    held = shared.hold({"payment_id": "pay_secret_2", "amount": 987_654}, grant=grant)
    face = drawn(shared, held, kept)
    everything = face.text + json.dumps(face.blocks)
    assert "pay_secret" not in everything
    assert "987654" not in everything
    assert "1200 > 500" not in everything
    assert not face.approvable
    assert APPROVE not in [one["action_id"] for one in buttons(face)]
    shared.decide(held)
    told = drawn(shared, held, kept)
    assert "pay_secret" not in told.text + json.dumps(told.blocks)


@pytest.mark.parametrize(
    ("risk", "asked"), [("low", False), ("medium", False), ("high", True), ("critical", True)]
)
def test_high_risk_asks_twice(shared: Record, risk: Any, asked: bool) -> None:  # noqa: FBT001
    held = shared.hold(terms=Terms(risk=risk), grant=f"grt_{next(grants)}")
    (approve,) = [one for one in buttons(drawn(shared, held)) if one["action_id"] == APPROVE]
    assert ("confirm" in approve) is asked
    assert parse_value(approve["value"]) is not None


def test_a_call_that_may_have_run_already_warns_and_asks_twice(shared: Record) -> None:
    grant = f"grt_{next(grants)}"
    first = shared.approved({"n": 77}, grant=grant)
    shared.claim(first)
    shared.finish(first, Execution.OUTCOME_UNKNOWN, result=None)
    face = drawn(shared, shared.hold({"n": 77}, grant=grant, terms=Terms(allow_duplicates=True)))
    assert "may already have run" in json.dumps(face.blocks)
    (approve,) = [one for one in buttons(face) if one["action_id"] == APPROVE]
    assert "confirm" in approve


def test_the_card_says_what_changed_and_how_many_approved(shared: Record) -> None:
    grant = f"grt_{next(grants)}"
    shared.approved({"amount": 100, "payment_id": "pay_1"}, grant=grant)
    held = shared.hold({"amount": 900, "payment_id": "pay_1"}, grant=grant, terms=Terms(quorum=2))
    shared.decide(held, BOB)
    shown = json.dumps(drawn(shared, held).blocks, ensure_ascii=False)
    assert "since the last approved call" in shown
    assert '"100", "style": {"strike": true}' in shown
    assert '"900", "style": {"bold": true}' in shown
    assert "1 of 2: bob" in shown
    assert "<!date^" in shown
    assert " UTC" in shown
    assert "amount 1200 > 500" in shown


def test_the_card_shows_a_change_far_into_a_long_text(shared: Record) -> None:
    grant = f"grt_{next(grants)}"
    start, end = "a" * 1_500, "b" * 1_500
    shared.approved({"body": f"{start}old{end}"}, grant=grant)
    held = shared.hold({"body": f"{start}new{end}"}, grant=grant)
    shown = json.dumps(drawn(shared, held).blocks, ensure_ascii=False)
    changed = shown.partition("since the last approved call")[2].partition("preformatted")[0]
    assert "a" * 24 + "old" in changed
    assert "a" * 24 + "new" in changed


def test_of_two_first_calls_neither_is_said_to_be_the_first(shared: Record) -> None:
    grant = f"grt_{next(grants)}"
    for number in (1, 2):
        shown = json.dumps(drawn(shared, shared.hold({"n": number}, grant=grant)).blocks)
        assert "no call of this tool by this agent was decided before" in shown


@some
@given(given_=st.lists(arguments, min_size=1, max_size=5), label=labels)
def test_no_crowd_makes_a_digest_that_slack_refuses(
    shared: Record, given_: list[dict[str, Any]], label: str
) -> None:
    grant = f"grt_{next(grants)}"
    held = [
        shared.hold(one, grant=grant, grant_label=label, tool=f"tool{n}" + "x" * 100)
        for n, one in enumerate(given_)
    ]
    sound(notes.digest(held, LOOK, now=shared.clock.now()))
    sound(notes.digest(held, LOOK, now=held[0].expires_at))


BREAKS = [
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\u2028",
    "\u2029",
    "\x85",
    "\x0b",
    "\x0c",
    "\n \t",
    " " * 200,
    "\u00a0" * 80,
]
FORGED = "Checked by the security team: routine."


@st.composite
def forgeries(draw: st.DrawFn) -> str:
    """A word, something that may begin a line, and a line in the voice of the gateway."""
    word = draw(st.sampled_from(["cus_1", "a”", "*a*", "a:", "\u202ea", "名"]))
    breaks = draw(st.lists(st.sampled_from(BREAKS), min_size=1, max_size=3))
    return (
        word + "".join(breaks) + FORGED + draw(st.sampled_from(["", "\nAlready approved by bob."]))
    )


def said_by_us(value: Any, kind: str = "") -> Iterator[str]:
    """Every text of a message but the arguments behind their gutter, whatever it is in."""
    if isinstance(value, dict):
        kind = str(value.get("type", kind))
        if kind == "rich_text_preformatted":
            return
        if kind == "rich_text_section":  # its runs stand behind one another
            yield "".join(run["text"] for run in value["elements"])
            return
        for name, member in value.items():
            if isinstance(member, str) and name in ("text", "accessibility_label", "value"):
                yield member
            else:
                yield from said_by_us(member, kind)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from said_by_us(item, kind)


def assert_no_line_of_theirs(message: Any) -> None:
    for text in said_by_us(message):
        for line in text.splitlines():
            assert not line.strip(" \u00a0\u2800").startswith(("Checked", "Already")), text
        assert "  " * 20 not in text, text


@some
@given(theirs=st.lists(forgeries(), min_size=9, max_size=9), pending=st.booleans())
def test_no_text_of_anybodys_adds_a_line_to_a_block_of_ours(
    shared: Record,
    theirs: list[str],
    pending: bool,  # noqa: FBT001
) -> None:
    name, value, tool, server, label, program, reason, rule, matched = theirs
    fields = {
        "grant": f"grt_{next(grants)}",
        "grant_label": label,
        "tool": tool,
        "server": server,
        "client": Client(program, program),
    }
    given_ = {name: value, "customer": value, "n": 1}
    first = shared.hold({**given_, "n": 2}, **fields)
    shared.decide(first, BOB, Choice.DENY, reason=reason)
    terms = Terms(editable=("args.n", "args.customer"), quorum=2, reviewers=(label, "bob", "alice"))
    held = shared.hold(given_, **fields, terms=terms)
    shared.edit(held, BOB, canonical({**given_, "customer": f"{value} {value}"}))
    if not pending:
        shared.decide(shared.now_is(held.id), ALICE, Choice.DENY, reason=reason)
    now = shared.clock.now()
    view = seen(shared, held)
    ruling = replace(view.approval.ruling, reason=rule, matched=matched, rule=rule)
    view = replace(view, approval=replace(view.approval, ruling=ruling))
    approval, origin = view.approval, Origin("C1", "1.0")
    faces = [
        card(view, LOOK, now=now),
        card(view, LOOK, now=now, called=["<@U1>"]),
        bare(view, LOOK, now=now),
        notes.digest([approval], LOOK, now=now),
        notes.digest([approval], LOOK, now=approval.expires_at),
        *(notes.note(kind, view, LOOK, at=now) for kind in ("voted", "edited", "succeeded")),
        notes.reminder(approval, 2, ["<@U1>"]),
    ]
    for face in faces:
        assert face is not None
        assert_no_line_of_theirs(face.blocks)
        assert_no_line_of_theirs({"text": face.text})
    for shown in (
        home.home(BOB, [approval], LOOK),
        home.listing([approval], LOOK),
        home.sentence(f"Nothing was done: it was denied by {label}: {reason}"),
        modals.deny(approval, origin),
        modals.ask(approval, origin),
    ):
        assert_no_line_of_theirs(shown)


CHARGE = Terms(summary="Charge {args.amount|money:minor} to {args.customer}")


def test_who_wants_what_is_the_title_and_the_notification(shared: Record) -> None:
    given_ = {"amount": 120_000, "currency": "eur", "customer": "cus_4471"}
    held = shared.hold(given_, terms=CHARGE, grant=f"grt_{next(grants)}")
    face = drawn(shared, held)
    sound(face)
    title = face.blocks[0]["text"]["text"]
    assert title == "claude-code wants to charge €1,200.00 to cus_4471"
    begins = "Approve? Charge €1,200.00 to cus_4471 (claude-code, medium risk), until "
    assert face.text.startswith(begins)
    assert "refund on payments" in json.dumps(face.blocks), "the tool's own name"
    (shown,) = home.listing([held], LOOK)["blocks"][1:2]
    assert shown["text"]["text"].startswith("Charge €1,200.00 to cus_4471\nrefund on payments, ")
    shared.decide(held, BOB, Choice.DENY, reason="no")
    told = drawn(shared, held)
    assert told.blocks[0]["text"]["text"] == "Denied: Charge €1,200.00 to cus_4471"
    assert told.text == "Denied: Charge €1,200.00 to cus_4471, by bob."


def test_a_sentence_without_a_rule_names_tool_and_arguments(shared: Record) -> None:
    held = shared.hold({"amount": 12, "to": "two words"}, grant=f"grt_{next(grants)}")
    face = drawn(shared, held)
    assert face.blocks[0]["text"]["text"] == "claude-code: Refund “two words”, amount 12"
    assert face.text.startswith("Approve? Refund “two words”, amount 12 (claude-code, ")


def test_where_arguments_stay_off_slack_the_sentence_has_no_values(shared: Record) -> None:
    kept = CardContext("https://gate.example", show_arguments=False)
    given_ = {"amount": 120_000, "currency": "eur", "customer": "cus_4471"}
    for terms, said in ((CHARGE, "wants to charge … to …"), (Terms(), ": Refund")):
        held = shared.hold(given_, terms=terms, grant=f"grt_{next(grants)}")
        face = drawn(shared, held, kept)
        assert face.blocks[0]["text"]["text"].endswith(said)
        everything = face.text + json.dumps(face.blocks) + json.dumps(home.listing([held], kept))
        for value in ("cus_4471", "1,200", "120000", "eur"):
            assert value not in everything


@pytest.mark.parametrize("text", [one for one in HOSTILE if one.strip()])
def test_no_value_makes_anything_in_a_notification(shared: Record, text: str) -> None:
    held = shared.hold({"customer": text}, terms=CHARGE, grant=f"grt_{next(grants)}")
    said = drawn(shared, held).text.partition("Charge — to ")[2].partition(" (claude-code,")[0]
    assert said == "…" or harmless(said.strip("“”")), said


def test_an_edit_is_the_first_line_with_both_values_and_the_name(shared: Record) -> None:
    terms = Terms(quorum=2, editable=("args.amount",), risk="critical")
    held = shared.hold({"amount": 90_000}, grant=f"grt_{next(grants)}", terms=terms)
    shared.decide(held, ALICE)
    shared.edit(held, BOB, b'{"amount":9000000}')
    view = seen(shared, held)
    face = card(view, LOOK, now=shared.clock.now())
    sound(face)
    first = face.blocks[1]["text"]["text"]
    assert first == "⚠ bob changed amount: 90000 → 9000000."
    assert "Nothing to compare with" not in json.dumps(face.blocks)
    told = notes.note("edited", view, LOOK, at=shared.clock.now())
    assert told is not None
    assert told.blocks[0]["text"]["text"].startswith("bob changed amount: 90000 → 9000000. ")
    kept = replace(LOOK, show_arguments=False)
    quiet = json.dumps(card(view, kept, now=shared.clock.now()).blocks)
    assert "bob changed the arguments." in quiet
    assert "9000000" not in quiet


@pytest.mark.parametrize(
    "kind", ["voted", "edited", "extended", "settled", "succeeded", "not_executed"]
)
def test_every_note_is_one_that_slack_takes(shared: Record, kind: str) -> None:
    held = shared.hold(grant=f"grt_{next(grants)}")
    made = notes.note(kind, seen(shared, held), LOOK, at=shared.clock.now())
    assert made is not None
    sound(made)
    for number in (1, 2):
        sound(notes.reminder(held, number, ["<@U1>"]))


def button(**more: Any) -> list[dict[str, Any]]:
    made = {"type": "button", "action_id": "a", "text": plain("x"), **more}
    return [{"type": "actions", "elements": [made]}]


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def ours(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def section(**more: Any) -> list[dict[str, Any]]:
    return [{"type": "section", **more}]


CONFIRM = {"title": plain("x"), "text": plain("x"), "confirm": plain("x"), "deny": plain("x")}
EMPTY = {"type": "rich_text_section", "elements": [{"type": "text", "text": ""}]}
BROKEN: list[list[dict[str, Any]]] = [
    [{"type": "divider"}] * 51,
    [{"type": "header", "text": plain("x" * 151)}],
    [{"type": "header", "text": ours("x")}],
    section(text=ours("x" * 3_001)),
    section(text=ours("")),
    section(),
    section(fields=[ours("x")] * 11),
    section(fields=[ours("x" * 2_001)]),
    [{"type": "context", "elements": []}],
    [{"type": "context", "elements": [ours("x")] * 11}],
    [{"type": "nonsense"}],
    [{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}],
    [{"type": "divider", "block_id": "a" * 256}],
    [{"type": "rich_text", "elements": [EMPTY]}],
    button(text=plain("x" * 76)),
    button(value="x" * 2_001),
    button(url="https://x/" + "x" * 3_000),
    button(action_id="x" * 256),
    button(style="loud"),
    button(accessibility_label="x" * 76),
    button(confirm={**CONFIRM, "title": plain("x" * 101)}),
    button(confirm={**CONFIRM, "text": plain("x" * 301)}),
    [*button(), *button()],
]


@pytest.mark.parametrize("blocks", BROKEN, ids=range(len(BROKEN)))
def test_both_checkers_find_what_slack_refuses(blocks: list[dict[str, Any]]) -> None:
    assert check("text", blocks) != []
    assert wrong_blocks(blocks) != []


def test_a_text_too_long_or_missing_is_found() -> None:
    fine = [{"type": "divider"}]
    assert check("x", fine) == []
    assert check("", fine) != []
    assert check("x" * 4_000, fine) != []
    long = [{"type": "section", "text": {"type": "plain_text", "text": "x" * 3_000}}] * 4
    assert check("x", long) != []
