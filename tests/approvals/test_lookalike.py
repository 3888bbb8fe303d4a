# ruff: noqa: RUF001, RUF003 - this file is about such letters
"""Text that reads like another is told of, ordinary writing is not, and names fold together."""

from __future__ import annotations

import pytest

from approvals.lookalike import CODED, DECOMPOSED, MIXED, NAMED, TURNED, alike, plainly, signs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://www.аpple.com/login", (MIXED,)),  # Cyrillic а
        ("pаypal", (MIXED,)),
        ("аррӏе.com", (MIXED,)),  # all of it Cyrillic
        ("https://аррӏе.com", (MIXED,)),
        ("admin@gοοgle.com", (MIXED,)),  # Greek ο
        ("ｇoogle.com", (MIXED,)),
        ("\u212aelvin", (MIXED, DECOMPOSED)),
        ("mail\u017fend", (MIXED,)),
        ("example.com／evil", (MIXED,)),  # a full-width slash between ASCII letters
        ("xn--pple-43d.com", (CODED,)),
        ("https://XN--80ak6aa92e.com/", (CODED,)),
        ("cafe\u0301", (DECOMPOSED,)),
        ("a" + "\u0301" * 40, (DECOMPOSED,)),
        ("/home/שלום/etc", (TURNED,)),
    ],
    ids=ascii,
)
def test_what_may_deceive_is_told(text: str, said: tuple[str, ...]) -> None:
    assert signs([text], []) == said


@pytest.mark.parametrize(
    "text",
    [
        *("plain", "naïve café", "Straße", "bücher.de", "Привет, мир. The end.", "пример.рф"),
        *("Tシャツ", "価格：100円", "ＡＢＣ東京", "Δt = 3 µs, m², CO₂", "usb-кабель", "iPhone-у"),
        *("שלום", "مرحبا 123", "می\u200cخواهم", "👨\u200d👩\u200d👧", "İstanbul", "Tiếng Việt"),
    ],
    ids=ascii,
)
def test_ordinary_writing_is_quiet(text: str) -> None:
    assert signs([text], []) == ()


@pytest.mark.parametrize("name", ["tо", "café", "cafe\u0301", "ｔｏ", "שם"], ids=ascii)
def test_a_name_that_is_not_ascii_is_told(name: str) -> None:
    assert NAMED in signs([], ["to", name])


SPELLINGS = {
    "another case": "Amount",
    "upper case": "AMOUNT",
    "Cyrillic": "аmount",
    "Greek": "amοunt",
    "zero width": "am\u200bount",
    "a joiner": "amount\u200d",
    "full width": "ａｍｏｕｎｔ",
    "mathematical": "𝐚𝐦𝐨𝐮𝐧𝐭",
    "padded": "amount" + "\u200b" * 2_000,
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_a_name_a_lenient_reader_takes_for_another_folds_onto_it(case: str) -> None:
    assert alike(SPELLINGS[case], "amount")


@pytest.mark.parametrize(
    ("one", "other"),
    [("to\u212aen", "token"), ("te\u017ft", "test"), ("cafe\u0301", "café"), ("tо", "to")],
    ids=ascii,
)
def test_letters_of_other_forms_fold_too(one: str, other: str) -> None:
    assert alike(one, other)
    assert alike(other, one)


@pytest.mark.parametrize("name", ["amount", "amounts", "amoun", "сумма", "金額", ""])
def test_another_name_does_not(name: str) -> None:
    assert not alike(name, "amount")


def test_what_only_looks_like_a_word_is_spelled_plainly() -> None:
    assert plainly("see p\u0430ypal.com") == ("“p\u0430ypal” only looks like “paypal”",)
    coded = "https://xn--80ak6aa92e.com/login"
    assert plainly(coded) == (
        "xn--80ak6aa92e stands for \u0430\u0440\u0440\u04cf\u0435, which only looks like apple",
    )
    assert plainly("xn--mnchen-3ya.de") == ("xn--mnchen-3ya stands for m\xfcnchen",)
    for quiet in (
        "plain",
        "xn--",
        "xn--!",
        "caf\xe9",
        "\u043f\u0440\u0438\u0432\u0435\u0442",
        "xn--" + "9" * 50,
    ):
        assert plainly(quiet) == ()
    assert len(plainly("p\u0430ypal1 " * 9 + " ".join(f"p\u0430y{n}" for n in range(9)))) <= 4
