"""Arguments as people and the log may see them: secrets masked, hidden characters shown. Pure.

The masked form is canonical JSON of the same shape. It never leaves out that something was there:
a masked value keeps its length and a keyed fingerprint, so equal secrets look equal.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from approvals.differences import Path, Pattern, covers, pattern
from approvals.digest import canonical

_SECRET_KEY: Final = re.compile(
    r"pass(word|wd|phrase|code)|secret(?!ar)|token(?!iz)|api[_-]?key|private[_-]?key|"
    r"access[_-]?key|credential|authorization|cookie|card[_-]?number|"
    r"(^|[_-])(pin|otp|ssn|cvv|cvc)($|[_-])",
    re.IGNORECASE,
)
_HARMLESS_KEY: Final = re.compile(
    r"((max|min|num|n|total|prompt|completion|input|output|new)[_-]?)*tokens?|"
    r"tokens?[_-]?(count|limit|budget|usage)|(next[_-]?)?page[_-]?token",
    re.IGNORECASE,
)
"""Counts of language models and cursors: hiding them would hide what the call does."""

_SECRET_TEXT: Final = re.compile(
    r"""(?x)
    \b(?: sk-[A-Za-z0-9_-]{16,} | sk_(?:live|test)_[A-Za-z0-9]{10,} | rk_live_[A-Za-z0-9]{10,}
      | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{16,}
      | xox[abeprs]-[A-Za-z0-9-]{10,} | xapp-[A-Za-z0-9-]{10,}
      | AKIA[0-9A-Z]{16} | ASIA[0-9A-Z]{16} | AIza[0-9A-Za-z_-]{30,} | npm_[A-Za-z0-9]{30,} )
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----
    | \b[Bb]earer[ ]+(?: (?: [A-Za-z0-9+] | /(?!/) ){16,}+ ={0,2} (?![A-Za-z0-9._~+/=-])
                     | (?: [A-Za-z0-9_~+-] | \.(?!\.) ){16,}+ )
    | ://[A-Za-z0-9._~%+-]+:[A-Za-z0-9._~%+-]+@
    """
)
"""Each is one run of a token's own alphabet: what has other characters in it may be a command, and
is shown. No two starts of a branch share what they read: searching is linear in the text. A JSON
web token begins again at each `eyJ` behind a hyphen, so it is found in two steps.
"""

_SECRET_VALUE: Final = re.compile(r"[A-Za-z0-9._~+/=@%^:,-]+")
_PASS_PHRASE: Final = re.compile(r"[A-Za-z0-9]+(?: [A-Za-z0-9]+)+")
_PASS_KEY: Final = re.compile(r"pass(?:word|wd|phrase|code)$", re.IGNORECASE)
"""Under a name that says secret only one word is masked that a shell would not take apart or fill
in: no `& * ? # !`, quotes, brackets or `$`. What is named a pass phrase may be several plain words.
"""

_THREE_PARTS: Final = re.compile(
    r"(?<![A-Za-z0-9_-])(?=([A-Za-z0-9_-]{11,}+)\.[A-Za-z0-9_-]{8,}+\.([A-Za-z0-9_-]{8,}+))"
)
_WEB_TOKEN: Final = re.compile(r"\beyJ")
_AFTER_IT: Final = 8  # characters of the first part behind its `eyJ`, at least


def masked(arguments: bytes, paths: Iterable[str], *, key: bytes, scan: bool = True) -> str:
    """The canonical JSON of the arguments with secrets replaced.

    `paths` are the policy's (`args.card.number`, `args.items[*].secret`); with `scan` also what
    looks like a secret by its name and form, and text that looks like a well-known token.
    """
    mask = _Mask(tuple(pattern(path) for path in paths), key, scan=scan)
    return canonical(_masked(json.loads(arguments), (), mask, secret=False)).decode()


def plain(value: Any) -> bool:
    """Whether a decoded value holds nothing that `masked` would hide where no path asks for it."""
    if isinstance(value, str):
        return not _holds_token(value)
    if isinstance(value, dict):
        for name, member in value.items():
            if _SECRET_KEY.search(name) or _holds_token(name) or not plain(member):
                return False
        return True
    return all(map(plain, value)) if isinstance(value, list) else True


def scanned(shown: Any, paths: Iterable[str]) -> tuple[Path, ...]:
    """Where a masked form holds a mask that no path of the policy asked for: the scanner's, or a
    text that passes itself off for one.
    """
    return tuple(_found(shown, (), tuple(pattern(path) for path in paths), named=False))


def _found(value: Any, at: Path, asked: tuple[Pattern, ...], *, named: bool) -> Iterator[Path]:
    """`named`: the name of something around it holds a mask."""
    if _asked(value, at, asked):
        return
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from _found(member, (*at, name), asked, named=named or holds_mark(name))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _found(item, (*at, index), asked, named=named)
    elif named or holds_mark(value):
        yield at


def _asked(value: Any, at: Path, patterns: tuple[Pattern, ...]) -> bool:
    """Whether a path of the policy names this value or what it stands in; or something inside it,
    and the value is of another shape than the path's: who sends an object as text hides nothing.
    """
    for wanted in patterns:
        if covers(wanted, at):
            return True
        if len(wanted) > len(at) and value is not None and covers(wanted[: len(at)], at):
            shape = dict if isinstance(wanted[len(at)], str) else list
            if not isinstance(value, shape):
                return True
    return False


def holds_mark(value: Any) -> bool:
    """Whether a mask stands in it, or a text that passes itself off for one."""
    return isinstance(value, str) and _MARK.search(value) is not None


@dataclass(frozen=True, slots=True)
class _Mask:
    """What is masked, and under which key."""

    patterns: tuple[Pattern, ...]
    key: bytes
    scan: bool


def _masked(value: Any, at: Path, mask: _Mask, *, secret: bool) -> Any:
    """`secret`: some name above says that what is below it is one."""
    if at and _asked(value, at, mask.patterns):
        return mark(value, key=mask.key)
    if isinstance(value, dict):
        return {
            (_without_tokens(name, mask.key) if mask.scan else name): _masked(
                member, (*at, name), mask, secret=secret or _names_secret(name, member)
            )
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [
            _masked(item, (*at, index), mask, secret=secret) for index, item in enumerate(value)
        ]
    if not mask.scan:
        return value
    if secret and _may_be_secret(value, at):
        return mark(value, key=mask.key)
    return _without_tokens(value, mask.key) if isinstance(value, str) else value


def _may_be_secret(value: Any, at: Path) -> bool:
    """Whether a value under a secret's name has the form of one, in all its characters."""
    if not isinstance(value, str):
        return value is not None and not isinstance(value, bool)
    if _SECRET_VALUE.fullmatch(value):
        return True
    name = next((step for step in reversed(at) if isinstance(step, str)), "")
    return bool(_PASS_KEY.search(name) and _PASS_PHRASE.fullmatch(value))


def _without_tokens(text: str, key: bytes) -> str:
    """The text with well-known tokens masked. Only they: what surrounds one may be the danger."""
    pieces: list[str] = []
    at = 0
    for start, end in _tokens(text):
        pieces += text[at:start], mark(text[start:end], key=key)
        at = end
    return "".join((*pieces, text[at:])) if pieces else text


def _holds_token(text: str) -> bool:
    if _SECRET_TEXT.search(text) is not None:
        return True
    return "eyJ" in text and next(_tokens(text), None) is not None


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    """Where well-known tokens stand, from left to right: of two that overlap the one that begins
    first. In linear time, whatever the text.
    """
    at = 0
    found = _SECRET_TEXT.search(text)
    for parts in _THREE_PARTS.finditer(text) if "eyJ" in text else ():
        last = parts.end(1) - _AFTER_IT  # where its `eyJ` ends at the latest
        begin = _WEB_TOKEN.search(text, max(at, parts.start(1)), last)
        while begin is not None:
            while found is not None and found.start() < max(at, begin.start()):
                if found.start() >= at:
                    yield found.span()
                    at = found.end()
                found = _SECRET_TEXT.search(text, at)
            if begin.start() >= at:
                yield begin.start(), parts.end(2)
                at = parts.end(2)
            begin = _WEB_TOKEN.search(text, at, last)
    while found is not None:
        if found.start() >= at:
            yield found.span()
            at = found.end()
        found = _SECRET_TEXT.search(text, at)


def _names_secret(name: str, value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return False
    counted = isinstance(value, (int, float)) or name.lower().endswith("page_token")
    harmless = counted and _HARMLESS_KEY.fullmatch(name)
    return bool(_SECRET_KEY.search(name)) and not harmless


def mark(value: Any, *, key: bytes) -> str:
    """What stands in place of a secret: `[redacted, 40 chars, fp 1a2b3c4d]`."""
    if isinstance(value, str):
        size, content = f"{len(value)} chars", value.encode("utf-8", "surrogatepass")
    else:
        content = canonical(value)
        size = {dict: "object", list: "list", bool: "true or false"}.get(type(value), "number")
    return f"[redacted, {size}, fp {fingerprint(content, key=key)}]"


_MARK: Final = re.compile(r"\[redacted, (?:[0-9]{1,12} chars|[a-z ]{4,13}), fp [0-9a-f]{8}\]")


def fingerprint(content: bytes, *, key: bytes) -> str:
    """Eight hex digits: equal for equal secrets, and nothing to anyone who lacks the key."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()[:8]


_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})
_HIDDEN_OTHERS: Final = frozenset(
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
    "\u3000\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5\u2800"
)

_SELECTORS: Final = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0), range(0x180B, 0x1810))
"""Variation selectors: they carry text that no one sees."""

_BASIC_PLANE: Final = range(0x10000)


_JOINERS: Final = frozenset("\u200c\u200d")
_EMOJI_JOINER: Final = "\u200d"
_EMOJI_STYLE: Final = "\ufe0f"
_SKINS: Final = range(0x1F3FB, 0x1F400)
_DIRECTIONS: Final = frozenset("\u200e\u200f\u061c")


def _hides(character: str) -> bool:
    return (
        unicodedata.category(character) in _HIDDEN_CATEGORIES
        or character in _HIDDEN_OTHERS
        or any(ord(character) in selectors for selectors in _SELECTORS)
    )


def _ordinary(text: str, at: int) -> bool:
    """Whether a character no one sees stands where writing needs it: it joins emoji or letters
    that are joined, styles an emoji, or is a direction mark beside a right-to-left letter.
    """
    character = text[at]
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if character in _DIRECTIONS:
        return _is_rtl(before) or _is_rtl(after)
    if character == _EMOJI_STYLE:
        return _is_emoji(before)
    if character not in _JOINERS:
        return False
    if _is_rtl(before) and _is_rtl(after):
        return True
    if before == _EMOJI_STYLE:
        before = text[at - 2 : at - 1]
    return character == _EMOJI_JOINER and _is_emoji(before) and _is_emoji(after)


def _is_rtl(character: str) -> bool:
    if not character or character in _DIRECTIONS:  # a mark beside a mark vouches for neither
        return False
    return unicodedata.bidirectional(character) in ("R", "AL")


def _is_emoji(character: str) -> bool:
    return bool(character) and (unicodedata.category(character) == "So" or ord(character) in _SKINS)


def runs(text: str) -> Iterator[tuple[str, bool]]:
    """The text in runs: what a reader sees, and single characters that no one would see (True)."""
    start = 0
    for at, character in enumerate(text):
        if not character.isprintable() or not character.isascii():
            if not _hides(character) or _ordinary(text, at):
                continue
            if start < at:
                yield text[start:at], False
            yield character, True
            start = at + 1
    if start < len(text):
        yield text[start:], False


def visible(text: str) -> str:
    r"""The text with every character a reader would not see written as \uXXXX or \UXXXXXXXX.

    Line feed and tab are hidden too: anyone who lays out text decides on those before asking.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelled(run) if unseen else run for run, unseen in runs(text))


def hidden(text: str) -> int:
    """How many characters of it a reader would not see; line feed, tab and plain text count 0."""
    if text.isascii() and text.isprintable():
        return 0
    return sum(unseen and run not in "\n\t\r" for run, unseen in runs(text))


def _spelled(character: str) -> str:
    point = ord(character)
    return f"\\u{point:04x}" if point in _BASIC_PLANE else f"\\U{point:08x}"
