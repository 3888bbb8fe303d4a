"""No scan of foreign text costs more than its length, whatever the text."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest

from approvals.digest import canonical
from approvals.lookalike import plainly, signs
from approvals.redact import hidden, masked, plain, scanned, visible
from approvals.slack.text import quoted
from tests.hostile.door import Door, call
from tests.hostile.patterns import Unread, Use, texts_against, uses
from web.views.render import flowing, pieces
from web.views.viewers.code import LANGUAGES, WINDOW, coloured
from web.views.viewers.sent import sent_of

KB = 1024
SIZES = (16 * KB, 64 * KB, 256 * KB, 1024 * KB)
"""Each four times the one before: a linear scan costs four times as much, a quadratic one 16."""

_STEEP = 9  # for four times the text; squared for sixteen: 81, where linear is 16, quadratic 256
_SLOW = 1.5  # seconds from which a text is not scanned again, nor a longer one tried in vain
_NOTICEABLE = 0.25  # seconds: below it the clock, not the text, makes the ratio
_TRIES = 5
_FAR_TOO_LONG = 20  # seconds of the processor for 1 MiB; a quadratic scan took half an hour

OUR_OWN = {
    "gateway/policy/pattern.py compile_pattern": "the policy's author's; re2, with bounded memory",
}
"""Patterns that the test does not read, each with its reason."""

FOUND = uses()
KEY = b"k" * 32
WHOLE = 6  # texts of one pattern that are tried up to 1 MiB; the others up to 256 KiB


def cost(scan: Callable[[Any], object], text: Any) -> float:
    """Seconds of this thread on the processor: what other programs do does not count, nor what the
    collector finds in the rest of this process.
    """
    gc.disable()
    try:
        before = time.thread_time()
        scan(text)
        return time.thread_time() - before
    finally:
        gc.enable()


def assert_linear(
    scan: Callable[[Any], object], unit: Any, what: str, sizes: tuple[int, ...] = SIZES
) -> None:
    """Fails where a text costs far more than one of a sixteenth of its length would let expect; or
    of a quarter, when it is too slow to go on.
    """
    costs: list[float] = []
    for at, size in enumerate(sizes):
        costs.append(cost(scan, _long(unit, size)))
        for back, steep in ((1, _STEEP), (2, _STEEP**2)):
            if back > at or (back == 1 and costs[at] < _SLOW):
                continue
            for _ in range(_TRIES):
                if costs[at] <= max(_NOTICEABLE, steep * costs[at - back]):
                    break
                costs[at - back] = min(costs[at - back], cost(scan, _long(unit, sizes[at - back])))
                if costs[at] < _SLOW:
                    costs[at] = min(costs[at], cost(scan, _long(unit, size)))
            assert costs[at] <= max(_NOTICEABLE, steep * costs[at - back]), (
                f"{what}: {size} characters of {unit!r} cost {costs[at]:.3f} s, "
                f"{sizes[at - back]} of them {costs[at - back]:.3f} s"
            )
    assert costs[-1] < _FAR_TOO_LONG, f"{what}: 1 MiB of {unit!r} cost {costs[-1]:.1f} s"


def _long(unit: Any, size: int) -> Any:
    return (unit * (size // len(unit) + 1))[:size]


def _ask(pattern: Any, method: str) -> Callable[[Any], object]:
    match method:
        case "sub" | "subn":
            return lambda text: pattern.sub(lambda _: "", text)
        case "finditer":
            return lambda text: sum(1 for _ in pattern.finditer(text))
        case "search":  # asked again behind each match, as a scanner does
            return lambda text: sum(1 for _ in pattern.finditer(text))
        case _:
            asked: Callable[[Any], object] = getattr(pattern, method)
            return asked


def test_every_pattern_is_found() -> None:
    named = {use.where for use in FOUND if isinstance(use, Unread)}
    assert named == set(OUR_OWN), "a pattern made at run time cannot be tried: name it, with why"
    assert len(FOUND) > 60


@pytest.mark.parametrize(
    "use", [use for use in FOUND if isinstance(use, Use)], ids=lambda use: use.where
)
def test_a_pattern_costs_no_more_than_the_length_of_the_text(use: Use) -> None:
    units = texts_against(use.pattern)
    whole = frozenset(units[:: max(1, len(units) // WHOLE)])
    for unit in units:
        text: Any = unit
        if isinstance(use.pattern.pattern, bytes):
            text = unit.encode("latin-1", "replace")
        sizes = SIZES if unit in whole else SIZES[:3]
        for method in sorted(use.methods):
            assert_linear(_ask(use.pattern, method), text, f"{use.where} {method}", sizes)


SCANS: dict[str, Callable[[str], object]] = {
    "plain": plain,
    "masked": lambda text: masked(canonical({"x": text, text: 1}), ("args.y",), key=KEY),
    "visible": visible,
    "hidden": hidden,
    "signs": lambda text: signs((text,), (text,)),
    "scanned": lambda text: scanned({"x": text, text: 1}, ("args.y",)),
    "pieces": pieces,
    "flowing": flowing,
    "plainly": plainly,
    "sent": lambda text: sent_of({"x": text, "o": {"y": [text]}}, full=True),
    "listed": lambda text: sent_of({"x": text, text: 1}, full=False),
    "compared": lambda text: sent_of({"x": text}, {"x": f"{text[9:]}-{text}"}, full=True),
    "coded": lambda text: sent_of({"sql": text, "path": "x.ts"}, {"sql": text[1:]}, full=True),
    "patched": lambda text: sent_of({"x": f"@@ -1,9999999 +1,9999999 @@\n+{text}"}, full=True),
    "decoded": lambda text: sent_of({"x": f"data:text/plain;base64,{text}"}, full=True),
    "quoted": quoted,
    "unmasked": lambda text: masked(canonical({"x": text}), (), key=KEY, scan=False),
}
"""What is made of the patterns, and what goes through a text by itself."""

NASTY = (
    *("eyJ-", "a.b.eyJ-", "eyJ-AKIA0123456789ABCDEF-", "eyJaaaaaaaa.aaaaaaaa.", "Bearer ", "://a:"),
    *("\n ", "\u202e", "e\u0301", "\u200d", "\U0001f468\u200d", "\u05d0\u200e", "xn--", "\u0430"),
)


def test_one_call_stops_nobody(door: Door) -> None:
    """A broken product was busy with it for half an hour, and answered no one meanwhile."""
    hostile = call("nothing", {"x": "eyJ-" * 250_000})
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(door.send, hostile) for _ in range(2)]
        healthy = door.send(method="GET", path="/healthz")
        assert healthy.status == 200
        assert all(one.result().refused for one in answers)


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("unit", NASTY, ids=ascii)
def test_a_scan_costs_no_more_than_the_length_of_the_text(name: str, unit: str) -> None:
    assert_linear(SCANS[name], unit, name)


@pytest.mark.parametrize("unit", ["a", "\u0430", "xn--a", "\n"], ids=ascii)
def test_many_values_cost_no_more_than_their_number(unit: str) -> None:
    def shown(text: str) -> object:
        values = [text[at : at + 4] for at in range(0, len(text), 8)]
        named = {f"{at} {value}": value for at, value in enumerate(values)}
        before = {**named, "0": [values, {}], "1": values[1:]}
        return sent_of({**named, "0": [values, named], "1": values}, before, full=True)

    assert_linear(shown, unit, "many values", SIZES[:3])


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_window_of_code_takes_a_language_long(language: str) -> None:
    """Pygments' patterns backtrack: hostile texts are made from each of them."""
    lexer = import_module("pygments.lexers").get_lexer_by_name(language)
    known = getattr(lexer, "_tokens", {})  # JSON's lexer has no patterns: it reads letter by letter
    patterns = {rule[0].__self__ for rules in known.values() for rule in rules}
    units = {unit: None for pattern in patterns for unit in texts_against(pattern)[:4]}
    dear = {
        unit: took
        for unit in (*units, *OPENINGS)
        if (
            took := cost(
                lambda text: coloured(text, lexer.get_tokens_unprocessed), _long(unit, WINDOW)
            )
        )
        > _LONG_WINDOW
    }
    assert dear == {}


OPENINGS = ('"', "'", '"""', "`", "/*", "//", "${", "$(", "<<a\n", "\\", 'f"{', "\n", "a.", "a ")
_LONG_WINDOW = 2.0  # seconds; the worst took a quarter of one, a quadratic scan of all half an hour
