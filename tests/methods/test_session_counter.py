"""Calls are counted by session, and one session's count is no other's to end."""

from __future__ import annotations

from gateway.relay.methods.session_counter import SessionCounter


def test_each_session_of_each_grant_is_counted_by_itself() -> None:
    counter = SessionCounter()
    assert [counter.next("grt_1", "a"), counter.next("grt_1", "a")] == [1, 2]
    assert [counter.next("grt_1", "b"), counter.next("grt_2", "a")] == [1, 1]


def test_a_call_that_was_counted_when_it_came_first_is_not_counted_again() -> None:
    counter = SessionCounter()
    counter.next("grt_1", "a")
    assert [counter.now("grt_1", "a"), counter.next("grt_1", "a")] == [1, 2]


def test_the_session_that_was_used_least_recently_is_forgotten_first() -> None:
    counter = SessionCounter(most=2)
    counter.next("grt_1", "a")
    counter.next("grt_1", "b")
    counter.now("grt_1", "a")
    counter.next("grt_1", "c")
    assert [counter.next("grt_1", "a"), counter.next("grt_1", "b")] == [2, 1]
