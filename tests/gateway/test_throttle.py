"""Failures counted per sender: bounded in number and in time."""

from __future__ import annotations

from gateway.throttle import SENDERS, WINDOW, Throttle


def test_who_fails_too_often_is_told_how_long_to_wait() -> None:
    throttle = Throttle(3)
    assert [throttle.fail("a", 0) for _ in range(3)] == [0, 0, 0]
    assert throttle.fail("a", 0) == WINDOW // 1000
    assert throttle.fail("a", WINDOW - 1) == 1
    assert throttle.fail("b", WINDOW - 1) == 0
    assert throttle.fail("a", WINDOW) == 0


def test_it_remembers_a_bounded_number_of_senders() -> None:
    throttle = Throttle(1)
    for place in range(SENDERS + 100):
        throttle.fail(f"s{place}", 0)
    assert throttle.fail("s0", 0) == 0  # the longest silent was forgotten
    assert throttle.fail(f"s{SENDERS + 99}", 0) > 0
