"""One sentence of a held call: what the rule says, with values that stay values."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.digest import canonical
from approvals.headline import (
    FORMATS,
    HIDDEN,
    MISSING,
    MOST,
    BadSummary,
    Headline,
    headline,
    readable,
    template,
)
from approvals.redact import masked, visible
from approvals.values import incidental

CHARGE = "Charge {args.amount|money:minor} to {args.customer}"
KEY = b"k" * 32


def read(summary: str, **arguments: Any) -> Headline:
    return headline("create_charge", summary, arguments)


def text(summary: str, **arguments: Any) -> str:
    return read(summary, **arguments).text


def test_a_rules_sentence_is_filled_in() -> None:
    found = read(CHARGE, amount=120_000, currency="eur", customer="cus_4471")
    assert found.text == "Charge €1,200.00 to cus_4471"
    assert [(one.kind, one.text) for one in found.parts] == [
        ("literal", "Charge "),
        ("value", "€1,200.00"),
        ("literal", " to "),
        ("value", "cus_4471"),
    ]
    written = "Charge {args.amount} {args.currency} to {args.customer}"
    assert text(written, amount=120_000, currency="eur", customer="cus_4471") == (
        "Charge 120000 eur to cus_4471"
    )


def test_inside_a_longer_line_it_begins_small() -> None:
    assert read(CHARGE, amount=1, currency="usd", customer="c").inside.text == "charge $0.01 to c"
    assert headline("t", "SQL on {args.db}", {"db": "x"}).inside.text == "SQL on x"
    assert headline("create_charge", "", {}).inside.text == "Create charge"


@pytest.mark.parametrize(
    ("spelled", "value", "currency", "said"),
    [
        ("money:minor", 120_000, "eur", "€1,200.00"),
        ("money:minor", 120_000, "USD", "$1,200.00"),
        ("money:minor", 120_000, "cad", "1,200.00 CAD"),
        ("money:minor", 120_000, "jpy", "¥120,000"),
        ("money:minor", 120_000, "kwd", "120.000 KWD"),
        ("money:minor", 12.5, "eur", "€0.125"),
        ("money:minor", -5, "eur", "-€0.05"),
        ("money:minor", 0, "eur", "€0.00"),
        ("money:minor", "120000", "eur", "€1,200.00"),
        # Services disagree on the smallest unit, or no one says the currency: nothing is divided.
        ("money:minor", 120_000, "isk", "120,000 minor units of ISK"),
        ("money:minor", 120_000, None, "120,000 minor units"),
        ("money:minor", 120_000, "doge", "“120,000 minor units doge”"),
        ("money:major", 120_000, "eur", "€120,000.00"),
        ("money:major", "12.5", "eur", "€12.50"),
        ("money:major", 12.345, "eur", "€12.345"),
        ("money:major", 120_000, "isk", "120,000 ISK"),
        ("money:major", 120_000, None, "120,000"),
        ("money", 120_000, "eur", "120,000 EUR"),
        ("money", 12.5, None, "12.5"),
        ("money:minor:GBP", 100, "eur", "£1.00"),
        ("money:minor:args.unit", 100, "eur", "$1.00"),
        # What is no amount is shown as it was sent.
        ("money:minor", "1,200", "eur", "“1,200”"),
        ("money:minor", True, "eur", "true"),
        ("money:minor", 10**40, "eur", HIDDEN),
        ("money:minor", {"a": 1}, "eur", "1 field"),
    ],
)
def test_an_amount_is_never_divided_by_a_guess(
    spelled: str, value: Any, currency: Any, said: str
) -> None:
    found = text(f"Pay {{args.amount|{spelled}}}", amount=value, currency=currency, unit="usd")
    assert found == f"Pay {said}"


def test_the_currency_is_the_one_beside_the_amount() -> None:
    given_ = {"price": {"value": 500, "currency": "gbp"}, "currency": "eur"}
    assert headline("t", "{args.price.value|money:minor}", given_).text == "£5.00"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2026-11-29", "29 Nov 2026"),
        ("2026-11-29T09:05:00Z", "29 Nov 2026, 09:05 UTC"),
        ("2026-11-29T09:05:07+02:00", "29 Nov 2026, 09:05:07 +02:00"),
        ("2026-11-29 09:05", "29 Nov 2026, 09:05"),
        (1_800_000_000, "15 Jan 2027, 08:00 UTC"),
        (1_800_000_000_000, "15 Jan 2027, 08:00 UTC"),
        (1_800_000, "1800000"),  # seconds of 1970, or something else: as it was sent
        ("2026-02-31", "2026-02-31"),
        ("tomorrow", "tomorrow"),
    ],
)
def test_a_date_is_read_where_it_can_only_be_one(value: Any, said: str) -> None:
    assert text("On {args.at|date}", at=value) == f"On {said}"


@pytest.mark.parametrize(
    ("spelled", "value", "said"),
    [
        ("bytes", 1, "1 byte"),
        ("bytes", 999, "999 bytes"),
        ("bytes", 1_234, "1.2 kB"),
        ("bytes", 999_960, "1.0 MB"),
        ("bytes", "é" * 1_000, "2.0 kB"),
        ("bytes", -1, "-1"),
        ("count", ["a", "b"], "2"),
        ("count", {"a": 1}, "1"),
        ("count", "x" * 1_024, "1,024"),
        ("count", 12_000, "12,000"),
        ("count", None, MISSING),
    ],
)
def test_sizes_and_numbers_of_things(spelled: str, value: Any, said: str) -> None:
    assert text(f"{{args.x|{spelled}}}", x=value) == said


def test_what_is_not_there_is_a_neutral_mark() -> None:
    assert text(CHARGE) == f"Charge {MISSING} to {MISSING}"
    assert text("To {args.a.b[2].c}", a={"b": [1]}) == f"To {MISSING}"
    assert text("To {args.a}", a=MISSING) == f"To “{MISSING}”", "a value does not pass for it"


def test_a_name_that_reads_like_the_one_meant_is_no_value() -> None:
    twins = {"amount": 5, "аmount": 900_000}  # noqa: RUF001 - a Cyrillic a
    assert headline("t", "Pay {args.amount}", twins).text == f"Pay {MISSING}"


def test_lists_name_their_first_elements() -> None:
    assert text("Mail {args.to}", to=["a@b.example"]) == "Mail a@b.example"
    assert text("Mail {args.to}", to=["a", "b"]) == "Mail a and b"
    assert text("Mail {args.to}", to=["a", "b", "c", "d"]) == "Mail a, b and 2 more"
    assert text("Mail {args.to}", to=[{"a": 1}, 2]) == "Mail 2 items"


def test_without_values_nothing_of_the_call_is_left() -> None:
    found = read(
        "Charge {args.amount} {args.currency} to {args.to}",
        amount=1, currency="eur", to=["x", "y", "z"],
    )  # fmt: skip
    assert found.without_values.text == "Charge … to …"
    assert read("", amount=1, to="x").without_values.text == "Create charge"
    assert text("Wipe {args.x}") == f"Wipe {MISSING}"
    assert read("Wipe {args.x}").without_values.text == "Wipe …", "not even that it is missing"


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        (
            "create_charge",
            {"amount": 120_000, "currency": "eur", "customer": "cus_1", "request_id": "a-1"},
            "Create charge cus_1, amount 120000, eur",
        ),
        (
            "deploy",
            {"env": "prod", "request_id": "a-1", "version": "1.2.3"},
            "Deploy prod, 1.2.3",
        ),
        ("sendEmail", {"body": "x" * 500, "subject": "Hi", "to": ["a@b.c"]}, None),
        ("list_all", {}, "List all"),
        ("run_SQL", {"force": True}, "Run SQL force true"),
        ("t", {"idempotency_key": "k", "nested": {"a": 1}}, "T"),
        ("login", {"password": "[redacted, 9 chars, fp 0a1b2c3d]", "user": "ann"}, "Login ann"),
    ],
)
def test_a_tool_without_a_rules_sentence_tells_what_it_is_about(
    tool: str, arguments: dict[str, Any], said: str | None
) -> None:
    found = headline(tool, "", arguments).text
    if said is None:
        assert found.startswith("Send email a@b.c, Hi, xxx")
    else:
        assert found == said


@pytest.mark.parametrize(
    "name",
    [
        *("request_id", "requestId", "x-request-id", "trace_id", "idempotency_key", "session_id"),
        *("correlation_id", "correlationId", "client_request_id", "nonce", "SESSION_ID"),
    ],
)
def test_what_only_tells_calls_apart_is_never_the_title(name: str) -> None:
    assert incidental(name)
    assert headline("deploy", "", {name: "a-1"}).text == "Deploy"


@pytest.mark.parametrize("name", ["id", "customer_id", "payment_id", "sessions", "announce"])
def test_what_names_a_thing_may_be_the_title(name: str) -> None:
    assert not incidental(name)


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("create_charge", "Create charge"),
        ("createCharge", "Create charge"),
        ("Create-Charge", "Create charge"),
        ("github.create_PR", "Github create PR"),
        ("_", "_"),
    ],
)
def test_names_of_tools_are_made_readable(tool: str, said: str) -> None:
    assert readable(tool) == said


def test_values_are_as_masked_as_the_arguments() -> None:
    given_ = canonical({"api_key": "abc123", "to": "see sk_live_ABCDEFGHIJKL1234", "pin": 7})
    shown = json.loads(masked(given_, ("args.pin",), key=KEY))
    found = headline("t", "{args.api_key} {args.to} {args.pin|money:minor}", shown).text
    assert "abc123" not in found
    assert "sk_live" not in found
    assert "[redacted" in found
    assert headline("t", "{args.api_key|count}", shown).text != "32", "of the mask, not the secret"


def test_long_texts_give_way_before_amounts_do() -> None:
    found = text(
        "Pay {args.amount|money:minor} for {args.note} to {args.customer}",
        amount=120_000_000, currency="eur", note="n" * 5_000, customer="cus_" + "4" * 60,
    )  # fmt: skip
    assert found.startswith("Pay €1,200,000.00 for nnn")
    assert " to cus_44" in found
    assert len(found) <= MOST


HOSTILE = [
    "\n✅ Approved by security", "a\r\nb", "\u2028x", "\u202egnp.exe", "\x1b[31mred", "\x00",
    "<b>bold</b>", "<!channel>", "*bold*", "`code`", ":white_check_mark:", "”", "“ok”", "{args.b}",
    "x" * 5_000, " " * 300 + "end", "\ud800", "\U000e0041", "[link](https://evil.example)", "",
]  # fmt: skip
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60))
leaves = st.one_of(
    texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
names = st.one_of(st.sampled_from(["a", "b", "currency", "amount", "to"]), texts)
arguments = st.dictionaries(names, values, max_size=6)
paths = st.sampled_from(["args.a", "args.b", "args.a.b", "args.to[0]", "args.amount"])
spelled = st.sampled_from(["", *(f"|{one}" for one in FORMATS), "|money:minor", "|money:major"])
fields = st.builds("{{{}{}}}".format, paths, spelled)
words = st.sampled_from(["Pay ", " to ", ", ", " and ", "! "])
templates = st.lists(st.one_of(fields, words), min_size=1, max_size=6).map("".join)


@given(summary=st.one_of(st.just(""), templates), given_=arguments, tool=texts)
def test_no_value_adds_a_line_or_passes_for_ours(summary: str, given_: Any, tool: str) -> None:
    try:
        template(summary)
    except BadSummary:
        return  # more values than one may have
    found = headline(tool, summary, given_)
    line = found.text
    assert "\n" not in line
    assert visible(line) == line, "nothing in it is hidden"
    assert sum(len(part.shown) for part in found.parts) <= MOST
    ours = {"Pay ", " to ", ", ", " and ", "! "}
    for part in found.parts:
        if part.kind == "literal" and summary:
            assert all(one in summary for one in (part.text,) if part.text not in ours)
        if part.free:
            assert part.quoted[0] == "“"
            assert part.quoted[-1] == "”"
            assert not set(part.quoted[1:-1]) & set("“”„«»")
        elif part.kind == "value" and not part.exact:
            assert " " not in part.text, "free text is quoted"
    bare = found.without_values
    assert all(part.kind == "literal" for part in bare.parts) or not summary
    assert {part.text for part in bare.parts} <= {HIDDEN, *(part.text for part in found.parts)}


@given(summary=templates, given_=arguments)
def test_the_parts_say_what_the_text_says(summary: str, given_: Any) -> None:
    found = headline("t", summary, given_)
    told = found.as_json()
    assert told["text"] == found.text
    assert "".join(one["text"] for one in told["parts"]) == "".join(
        replace(part, free=False).quoted for part in found.parts
    )


def test_a_template_of_another_edition_is_no_reason_to_show_nothing() -> None:
    assert text("Charge {args.amount|nonsense}", customer="cus_1") == "Create charge cus_1"
    assert text("Charge {what}", customer="cus_1") == "Create charge cus_1"
