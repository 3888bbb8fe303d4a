# ruff: noqa: RUF001 - this file is about such letters
"""Text that reads like another text: letters of one script in the dress of another, coded host
names, decomposed letters, both writing directions at once. It tells; it changes nothing. Pure.

Each scan is linear in the text, and quiet about ordinary writing in any one script.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice, starmap
from typing import Any, Final

from approvals.differences import Path
from approvals.redact import visible

_LATIN: Final[dict[str, str]] = {
    # Cyrillic
    **dict(zip("аеорсухіјѕһԁԛԝӏ", "aeopcyxijshdqwl", strict=True)),
    **dict(zip("АВЕКМНОРСТУХІЈЅԌ", "ABEKMHOPCTYXIJSG", strict=True)),
    # Greek
    **dict(zip("ορανικυχϲϳ", "opavikuxcj", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
    # Armenian, Cherokee, Lisu and single letters of Latin's own extensions
    **dict(zip("օոսհցյ", "onuhgj", strict=True)),
    **dict(zip("ᎪᏴᏟᎠᎬᏀᎻᎥᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᏃ", "ABCDEGHiJKLMPRSTVWZ", strict=True)),
    **dict(zip("ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ", "ABCDEFGHIJKLMNOPRSTUVWXYZ", strict=True)),
    **dict(zip("ɑɡɩ", "agi", strict=True)),
}
"""Letters that look like a Latin one, and the one they look like (after Unicode's TR39)."""

_JOINTS: Final = frozenset("⁄∕╱⧸／．。｡：＠﹒﹨＼․‚")
"""What looks like a slash, dot, colon or at sign."""

_CODED: Final = re.compile(r"(?<![A-Za-z0-9])xn--(?=[A-Za-z0-9])", re.IGNORECASE)
_CODED_LABEL: Final = re.compile(r"(?<![A-Za-z0-9])xn--([A-Za-z0-9-]{1,59})", re.IGNORECASE)
_LONGEST_LABEL: Final = 63
_MOST_PLAIN: Final = 4  # words of one text that are spelled plainly
_LONGEST_NAME: Final = 256
_MOST_MARKS: Final = 30  # combining marks in a row; normalizing more would cost their square

MIXED = "look-alike letters"
CODED = "punycode"
DECOMPOSED = "decomposed letters"
TURNED = "mixed direction"
NAMED = "non-ASCII name"
TWINS = "names alike"
SIGNS: Final = (MIXED, CODED, DECOMPOSED, TURNED, NAMED, TWINS)
"""Everything `signs` and `notes` may say of a call, in the order it is shown."""

_MOST_LETTERS: Final = 6  # of one text that are spelled
_MOST_QUOTED: Final = 80  # characters of the other name
_MOST_POINTS: Final = 4  # code points of one letter with its marks that are spelled


def signs(texts: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """What a reader should be told of a call with these texts and argument names."""
    found: set[str] = set()
    for text in texts:
        found.update(_signs(text))
    for name in names:
        found.update(_signs(name))
        if not name.isascii():
            found.add(NAMED)
    return tuple(sign for sign in SIGNS if sign in found)


def fold(name: str) -> str:
    """The name as a lenient reader may take it: case, width, form and look-alikes made equal, what
    no one sees left out. For names of at most a few hundred characters.
    """
    if name.isascii():
        return name.lower()
    seen = "".join(_LATIN.get(letter, letter) for letter in name if not _unseen(letter))
    plain = unicodedata.normalize("NFKC", seen).casefold()
    return "".join(_LATIN.get(letter, letter) for letter in plain).casefold()


def alike(name: str, other: str) -> bool:
    """Whether two different names may be taken for one another."""
    if name == other:
        return False
    if name.isascii() and other.isascii():
        return len(name) == len(other) and name.lower() == other.lower()
    if len(name) > _LONGEST_NAME:
        return True  # not worth the work; nothing that long and not ASCII names an argument
    return fold(name) == fold(other[:_LONGEST_NAME])


def doubled(members: dict[str, Any], name: str) -> bool:
    """Whether some other name in there may be taken for this one: by a person, or by a server that
    reads names without regard to case or form.
    """
    size = len(name)
    for other in members:
        # Most names of a call are ASCII and of another length, or the very one.
        if (len(other) != size and other.isascii() and name.isascii()) or other == name:
            continue
        if alike(other, name):
            return True
    return False


def notes(value: Any) -> dict[Path, tuple[str, ...]]:
    """What is odd about single values of decoded arguments, and their names: which letters, by code
    point, and which name reads like another beside it. Only of what there is something to say.
    """
    return dict(_notes(value, (), ()))


def plainly(text: str) -> tuple[str, ...]:
    """Of words that pass for others, and of coded host names: what they read like, and what they
    are. The first few.
    """
    if text.isascii() and not _CODED.search(text):
        return ()
    return tuple(dict.fromkeys(islice(_plainly(text), _MOST_PLAIN)))


def _plainly(text: str) -> Iterator[str]:
    for found in _CODED_LABEL.finditer(text):
        try:
            name = found.group(1).lower().encode().decode("punycode")
        except (UnicodeError, ValueError, OverflowError):
            continue
        seen = fold(name)
        like = f", which only looks like {seen}" if seen.isascii() and seen != name else ""
        yield f"{found.group()} stands for {visible(name)}{like}"
    if text.isascii():
        return
    for word, before, after in _words(text):
        if len(word) <= _LONGEST_LABEL and _deceives(word, before, after):
            yield f"“{visible(word)}” only looks like “{visible(fold(word))}”"


def twins(value: Any) -> bool:
    """Whether two names beside each other read alike, at any depth."""
    if isinstance(value, dict):
        return bool(_twins_among(value)) or any(map(twins, value.values()))
    return isinstance(value, list) and any(map(twins, value))


def _notes(value: Any, at: Path, above: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """`above`: what there is to say of the names around it. Said once, of the first value inside: a
    name above many would be told with each of them.
    """
    if isinstance(value, dict) and value:
        pairs = _twins_among(value)
        for name, member in value.items():
            said = [f"name has {one}" for one in _odd(name, named=True)]
            if name in pairs:
                said.append(f'name reads like "{visible(pairs[name][:_MOST_QUOTED])}"')
            yield from _notes(member, (*at, name), (*above, *said))
            above = ()
        return
    if isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _notes(item, (*at, index), above)
            above = ()
        return
    said = [f"text has {one}" for one in _odd(value, named=False)] if isinstance(value, str) else []
    if above or said:
        yield at, (*above, *said)


def _twins_among(names: Iterable[str]) -> dict[str, str]:
    """Of names beside each other those that read like an earlier or later one, and which."""
    seen: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(fold(name[:_LONGEST_NAME]), name)
        if first is not name and alike(first, name):
            found[name] = first
            found.setdefault(first, name)
    return found


def _odd(text: str, *, named: bool) -> Iterator[str]:
    """The letters of a text that may be taken for others, spelled. Of a name all but ASCII."""
    if text.isascii():
        return
    suspects = frozenset() if named else frozenset(_suspects(text))
    spelled: dict[str, None] = {}
    for letter in _with_marks(text):
        odd = not letter.isascii() if named else letter in suspects or _decomposed(letter)
        if odd:
            spelled.setdefault(_by_points(letter))
        if len(spelled) > _MOST_LETTERS:
            break
    yield from list(spelled)[:_MOST_LETTERS]
    if len(spelled) > _MOST_LETTERS:
        yield "more such letters"


def _suspects(text: str) -> Iterator[str]:
    for found in _words(text):
        if _deceives(*found):
            yield from (one for one in found[0] if _script(one) in ("alike", "form"))
    for before, letter, after in zip(text, text[1:], text[2:], strict=False):
        if _between_ascii(before, letter, after):
            yield letter


def _with_marks(text: str) -> Iterator[str]:
    """Each letter with the marks that stand on it."""
    start = 0
    for at in range(1, len(text)):
        if not unicodedata.combining(text[at]):
            yield text[start:at]
            start = at
    yield text[start:]


def _by_points(letter: str) -> str:
    points = " ".join(f"U+{ord(one):04X}" for one in letter[:_MOST_POINTS])
    more = " …" if len(letter) > _MOST_POINTS else ""
    return f"{visible(letter[:_MOST_POINTS])} ({points}{more})"


def _unseen(letter: str) -> bool:
    return (
        unicodedata.category(letter) in ("Cf", "Cc", "Cn", "Co") or letter in "\u034f\u115f\u3164"
    )


def _signs(text: str) -> Iterator[str]:
    if _CODED.search(text):
        yield CODED
    if text.isascii():
        return
    if any(starmap(_deceives, _words(text))) or any(map(_between_ascii, text, text[1:], text[2:])):
        yield MIXED
    if _decomposed(text):
        yield DECOMPOSED
    kinds = {_direction(letter) for letter in text}
    if {"left", "right"} <= kinds:
        yield TURNED


def _between_ascii(before: str, letter: str, after: str) -> bool:
    """Whether it passes for a joint of an address: between two ASCII letters or digits."""
    return letter in _JOINTS and f"{before}{after}".isascii() and f"{before}{after}".isalnum()


def _words(text: str) -> Iterator[tuple[str, str, str]]:
    """Each run of letters, digits and marks, with the two characters before and behind it."""
    start = None
    for at, letter in enumerate(text):
        inside = letter.isalnum() or unicodedata.category(letter) in ("Mn", "Cf")
        if inside and start is None:
            start = at
        elif not inside and start is not None:
            yield text[start:at], text[max(0, start - 2) : start], text[at : at + 2]
            start = None
    if start is not None:
        yield text[start:], text[max(0, start - 2) : start], ""


def _deceives(word: str, before: str, after: str) -> bool:
    """Whether the word mixes Latin letters with look-alikes of another script, writes ASCII
    letters in another form, or is a part of an address and made of look-alikes alone.
    """
    if word.isascii():
        return False
    scripts = set(map(_script, word))
    if "form" in scripts:
        return "latin" in scripts or _in_address(before, after)
    if "alike" not in scripts:
        return False
    if "latin" in scripts:
        return True
    return len(word) > 1 and "other" not in scripts and _in_address(before, after)


def _in_address(before: str, after: str) -> bool:
    """Whether a joint and an ASCII letter stand beside it: `x.`, `/x`, `.com`."""
    return (
        any(
            len(pair) == 2 and pair.isascii() and joint in ".-_/@:" and letter.isalnum()  # noqa: PLR2004
            for pair, joint, letter in (
                (before, before[1:], before[:1]),
                (after, after[:1], after[1:]),
            )
        )
        or before == "//"
    )


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """latin, alike (it looks like a Latin letter), form (a Latin letter in another form), other
    (a letter of another script), or "" for what belongs to none.
    """
    if letter in _LATIN:
        return "alike"
    if not letter.isalpha():
        return ""
    if letter.isascii():
        return "latin"
    if unicodedata.category(letter) in ("Lu", "Ll"):
        plain = unicodedata.normalize("NFKC", letter)
        if len(plain) == 1 and plain.isascii():
            return "form"
    return "latin" if unicodedata.name(letter, "").startswith("LATIN") else "other"


def _decomposed(text: str) -> bool:
    marks = 0
    for letter in text:
        marks = marks + 1 if unicodedata.combining(letter) else 0
        if marks > _MOST_MARKS:
            return True
    return not unicodedata.is_normalized("NFC", text)


@lru_cache(maxsize=4096)
def _direction(letter: str) -> str:
    if not letter.isalpha():
        return ""  # marks of direction among them: they are shown, or stand where they must
    kind = unicodedata.bidirectional(letter)
    return "left" if kind == "L" else "right" if kind in ("R", "AL") else ""
