"""Hostile text into words: names split in every common form, descriptions cut and cleaned. Pure."""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 200
MAX_DESCRIPTION = 4_000

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[A-Za-z]+|\d+")
_SENTENCE = re.compile(r"[.!?](?:\s|$)|\n\s*\n")
_IRREGULAR = {
    "sent": "send",
    "made": "make",
    "ran": "run",
    "written": "write",
    "paid": "pay",
    "does": "do",
    "goes": "go",
    "children": "child",
    "people": "person",
    "indices": "index",
}


def words_of_name(name: str) -> tuple[str, ...]:
    """`kubectl_get`, `getRefund`, `notes.delete`, `API-delete-a-block` in lower-case words."""
    return tuple(word.lower() for word in _WORD.findall(_CAMEL.sub(" ", name[:MAX_NAME])))


def words(text: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in re.findall(r"[A-Za-z][A-Za-z'-]*", text))


def first_sentences(text: str) -> tuple[str, ...]:
    """The first three, each at most 240 characters, without leading marks of lists or headings."""
    clean = text.strip().lstrip("#*- \t\n`>")
    found = (part.strip() for part in _SENTENCE.split(clean[:1_000]))
    return tuple(part[:240] for part in found if part)[:3]


def hidden_characters(text: str) -> bool:
    """Control, format (zero-width, bidi, tag) or private-use characters; tab and line ends pass."""
    if text.isascii():
        return any((c < " " and c not in "\t\n\r") or c == "\x7f" for c in text)
    return any(
        unicodedata.category(c) in {"Cc", "Cf", "Co", "Cs"} and c not in "\t\n\r\ufe0f\u200d"
        for c in text
    )


def bases(word: str) -> tuple[str, ...]:
    """The dictionary forms a word may stand for: deletes, deleting, deleted -> delete."""
    found = [word]
    if word in _IRREGULAR:
        found.append(_IRREGULAR[word])
    for ending, puts in (
        ("ies", ("y",)),
        ("sses", ("ss",)),
        ("es", ("e", "")),
        ("s", ("",)),
        ("ying", ("y",)),
        ("ing", ("", "e")),
    ):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            stem = word[: -len(ending)]
            found += [stem + put for put in puts]
            if ending == "ing" and len(stem) > 2 and stem[-1] == stem[-2]:  # noqa: PLR2004
                found.append(stem[:-1])
    return tuple(found)
