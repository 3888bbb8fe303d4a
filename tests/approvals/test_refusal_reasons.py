"""The decision object of a call that was held says why the agent is told what it is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from approvals.model import Approval, Choice
from gateway.enforcement import refusals
from gateway.enforcement.refusals import Refusal
from tests.support.record import RULING, Record

WAITS = refusals.denied(RULING)


@pytest.mark.parametrize(
    "refusal",
    [
        refusals.denied_by,
        refusals.expired,
        refusals.withdrawn,
        refusals.superseded,
        refusals.outcome_unknown,
        refusals.too_large,
        refusals.unreadable,
        refusals.not_sent,
        refusals.server_unavailable,
        refusals.already_delivered,
        lambda approval: refusals.not_now(approval, "A limit is full.", 3),
        lambda approval: refusals.runs_later(approval, WAITS, url="http://x"),
    ],
)
def test_what_became_of_a_held_call_is_never_explained_by_why_it_was_held(
    sqlite_record: Record, refusal: Callable[[Approval], Refusal]
) -> None:
    told = refusal(sqlite_record.hold()).meta
    assert told["reason"]
    assert told["reason"] != RULING.reason


def test_a_persons_reason_comes_first_and_a_pending_call_has_the_holds(
    sqlite_record: Record,
) -> None:
    held = sqlite_record.hold()
    assert refusals.pending(held, url="http://x").meta["reason"] == RULING.reason
    sqlite_record.decide(held, choice=Choice.DENY, reason="Not on a Friday.")
    denied = refusals.denied_by(sqlite_record.now_is(held.id))
    assert denied.meta["reason"] == "Not on a Friday."
