"""The changed lines of a text: as a diff where that is cheap, in linear time where it is not."""

from __future__ import annotations

import difflib
import random
import time

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.linediff import MOST, changed

lines = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=12)


@given(lines, lines)
def test_small_texts_are_compared_as_diff_does(old: list[str], new: list[str]) -> None:
    found = list(changed("\n".join(old), "\n".join(new)))
    before = [line for sign, line in found if sign == "-"]
    after = [line for sign, line in found if sign == "+"]
    olds, news = "\n".join(old).splitlines(), "\n".join(new).splitlines()
    plain = list(difflib.unified_diff(olds, news, lineterm="", n=0))[2:]
    gone = [line[1:] for line in plain if line.startswith("-")]
    come = [line[1:] for line in plain if line.startswith("+")]
    assert len(before) - len(gone) == len(after) - len(come)  # the same change, cut as short
    assert (before == []) is (gone == [])
    assert bool(found) is (olds != news)


def test_a_change_in_a_long_text_is_shown_with_what_stands_around_it() -> None:
    text = [f"line {number}" for number in range(10_000)]
    other = [*text[:5_000], "new", *text[5_001:]]
    found = list(changed("\n".join(text), "\n".join(other)))
    assert found[0][0] == "@"
    assert [one for one in found if one[0] in "+-"] == [("-", "line 5000"), ("+", "new")]
    assert found[1:4] == [(" ", "line 4997"), (" ", "line 4998"), (" ", "line 4999")]


def test_texts_made_to_be_dear_are_not() -> None:
    """difflib takes minutes for these, whatever the machine."""
    dice = random.Random(7)
    old = "\n".join(dice.choice("ab") for _ in range(60_000))
    new = "\n".join(dice.choice("ab") for _ in range(60_000))
    began = time.process_time()
    found = list(changed(old, new))
    assert time.process_time() - began < 30
    assert len(found) == MOST + 1
    assert "more lines" in found[-1][1]
