"""The one named reviewer is away: an administrator may always deny, and the card says so."""

from __future__ import annotations

import pytest

from approvals.able import unable
from approvals.model import Choice, Moved, NotAllowed, Reviewer, State, Terms, Via
from approvals.reviewers import add, remove
from approvals.view import view_of
from tests.support.record import ALICE, BOB, Record

ROOT = Reviewer(id="root", role="admin")
END = "An administrator can deny it; else it expires."


@pytest.mark.parametrize("via", ["page", "slack", "api", "cli"])
def test_an_administrator_denies_what_others_were_named_for_and_approves_nothing(
    record: Record, via: Via
) -> None:
    held = record.hold(terms=Terms(reviewers=("bob",)))
    assert record.decide(held, ROOT) == NotAllowed("This rule names other reviewers.")
    assert isinstance(record.decide(held, ALICE, Choice.DENY, reason="no"), NotAllowed)
    assert isinstance(record.decide(held, ROOT, Choice.DENY, reason="bob is away", via=via), Moved)
    assert record.now_is(held.id).state is State.DENIED


def test_who_may_only_look_denies_nothing(record: Record) -> None:
    held = record.hold()
    viewer = Reviewer(id="root", role="viewer")
    assert isinstance(record.decide(held, viewer, Choice.DENY, reason="no"), NotAllowed)


@pytest.mark.parametrize(
    ("terms", "names", "missing", "said"),
    [
        (Terms(), ("alice",), 1, ""),
        (Terms(reviewers=("bob",)), ("alice", "bob"), 1, ""),
        (
            Terms(reviewers=("bob",)),
            ("alice",),
            1,
            f"No one can approve this: bob is no approver on record. {END}",
        ),
        (Terms(reviewers=("slack:T1/U1",)), (), 1, ""),
        (Terms(reviewers=("slack-group:T1/S1",), quorum=3), (), 3, ""),
        (Terms(quorum=2), ("alice",), 2, (f"2 more people must approve this, and only one person "
         f"can. {END}")),
        (Terms(not_owner=True), ("olga",), 1, f"No one can approve this. {END}"),
        (
            Terms(not_owner=True, reviewers=("olga",)),
            ("olga", "alice"),
            1,
            f"No one can approve this: the rule names olga. {END}",
        ),
    ],
)  # fmt: skip
def test_who_can_still_approve(
    terms: Terms, names: tuple[str, ...], missing: int, said: str
) -> None:
    people = [Reviewer(id=name, role="approver") for name in names]
    people.append(Reviewer(id="eve", role="viewer"))
    assert unable(terms, people, owner="olga", voted=frozenset(), missing=missing) == said


def test_who_has_approved_is_not_counted_again() -> None:
    people = [ALICE, BOB]
    voted = frozenset({"alice"})
    assert unable(Terms(quorum=2), people, owner="", voted=voted, missing=1) == ""
    assert unable(Terms(quorum=3), people, owner="", voted=voted, missing=2).startswith("2 more")


def test_a_removal_shows_on_what_is_held_already(record: Record) -> None:
    record.write(lambda tx: add(tx, "bob", role="approver"))
    held = record.hold(terms=Terms(reviewers=("bob",)))

    def seen() -> str:
        view = record.read(lambda connection: view_of(connection, held.id, now=record.clock.now()))
        assert view is not None
        return view.unable

    assert seen() == ""
    record.write(lambda tx: remove(tx, "bob"))
    assert seen() == f"No one can approve this: bob is no approver on record. {END}"
