"""The reviewer's view: what it is, what changed, what is odd about it, and its digest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from approvals import decide, queue
from approvals.differences import changes
from approvals.model import Choice, Execution, Settlement, State, Terms
from approvals.values import field_change
from approvals.view import View, alone, view_of
from tests.support.record import ALICE, BOB, START, Record


def view(record: Record, approval_id: str) -> View:
    found = record.read(lambda connection: view_of(connection, approval_id, now=record.clock.now()))
    assert found is not None
    return found


def changed(since: Any) -> dict[str, tuple[str, str]]:
    return {one.path: (one.before.text, one.after.text) for one in since.changes}


def test_the_card_says_what_who_and_how_long(record: Record) -> None:
    held = record.hold(
        terms=Terms(quorum=2, expires=600), attached_until=START + 5_000, attached_to="task"
    )
    record.clock.pass_(seconds=1)
    seen = view(record, held.id)
    assert seen.target is not None
    assert (seen.target.path, seen.target.text) == ("args.payment_id", "pay_1")
    assert [(one.path, one.type, one.text) for one in seen.arguments] == [
        ("args.amount", "number", "1200"),
        ("args.payment_id", "text", "pay_1"),
    ]
    assert (seen.seconds_left, seen.missing, seen.waiting, seen.complete) == (599, 2, True, True)
    assert seen.at_zero == "It expires, which counts as a denial. Nothing runs."
    assert (seen.flags, seen.since_approved, seen.since_denied) == ((), None, None)
    record.clock.pass_(seconds=5)
    assert not view(record, held.id).waiting


def test_the_differences_to_the_last_approved_and_the_last_denied_call(record: Record) -> None:
    record.approved({"amount": 100, "payment_id": "pay_1", "to": "ann"})
    record.clock.pass_(seconds=1)
    denied = record.hold({"amount": 900, "payment_id": "pay_2"})
    record.decide(denied, BOB, Choice.DENY, reason="too much")
    record.clock.pass_(seconds=1)
    held = record.hold({"amount": 900, "payment_id": "pay_1", "note": None})
    seen = view(record, held.id)
    assert changed(seen.since_approved) == {
        "args.amount": ("100", "900"),
        "args.note": ("", "null"),
        "args.to": ("ann", ""),
    }
    assert changed(seen.since_denied) == {
        "args.note": ("", "null"),
        "args.payment_id": ("pay_2", "pay_1"),
    }
    assert seen.since_denied is not None
    assert (seen.since_denied.by, seen.since_denied.reason) == ("bob", "too much")
    assert [(one.state, one.by) for one in seen.similar] == [
        (State.DENIED, "bob"),
        (State.APPROVED, "alice"),
    ]


def test_other_grants_tools_and_servers_are_not_compared_with(record: Record) -> None:
    record.approved({"n": 1}, grant="grt_2")
    record.approved({"n": 1}, tool="other")
    record.approved({"n": 1}, server="other")
    assert view(record, record.hold({"n": 2}).id).similar == ()


def test_equal_secrets_are_no_change_and_different_ones_are_without_showing_them(
    record: Record,
) -> None:
    record.approved({"password": "one", "n": 1})
    same = view(record, record.hold({"password": "one", "n": 2}).id)
    assert list(changed(same.since_approved)) == ["args.n"]
    other = view(record, record.hold({"password": "two", "n": 1}).id)
    ((before, after),) = changed(other.since_approved).values()
    assert before != after
    assert "one" not in before
    assert "two" not in after


def test_an_integer_and_a_float_of_the_same_value_are_a_change(record: Record) -> None:
    record.approved({"n": 1})
    seen = view(record, record.hold({"n": 1.0}).id)
    assert changed(seen.since_approved) == {"args.n": ("1", "1.0")}


def test_what_is_odd_about_a_call_is_flagged(record: Record) -> None:
    record.approved({"payment_id": "pay_1"})
    denied = record.hold({"payment_id": "pay_9\u202e", "note": "x" * 30_000})
    record.decide(denied, choice=Choice.DENY)
    again = record.hold({"payment_id": "pay_9\u202e", "note": "x" * 30_000})
    seen = view(record, again.id)
    assert seen.flags == ("denied before", "hidden characters", "oversized")
    assert not seen.complete
    new = view(record, record.hold({"payment_id": "pay_8"}).id)
    assert new.flags == ("new target",)


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        ({"c": "git clone https://bot:x7Zk2@github.com/acme/site"}, "masked"),
        ({"c": "curl -H 'Authorization: Bearer aaaaaaaaaaaaaaaa/../../admin' x"}, "masked"),
        ({"env": {"API_TOKEN": {"LD_PRELOAD": "evil.so", "steps": ["rm -rf /"]}}}, "masked"),
        ({"sk-abcdefghijklmnopqrstuv": "x"}, "masked"),
        ({"note": "[redacted, 27 chars, fp 1a2b3c4d]"}, "masked"),
        ({"url": "https://www.\u0430pple.com/login"}, "look-alike letters"),
        ({"url": "https://xn--pple-43d.com"}, "punycode"),
        ({"name": "cafe\u0301"}, "decomposed letters"),
        ({"path": "/home/\u05e9\u05dc\u05d5\u05dd/etc"}, "mixed direction"),
        ({"to": "a", "t\u043e": "b"}, "non-ASCII name"),
        ({"rows": [{"cafe\u0301": "b"}]}, "non-ASCII name"),
    ],
    ids=ascii,
)
def test_what_may_hide_or_deceive_is_flagged_and_decided_alone(
    record: Record, arguments: Any, flag: str
) -> None:
    seen = view(record, record.hold(arguments).id)
    assert flag in seen.flags
    assert alone(seen)


def test_what_the_policy_masks_is_no_flag(record: Record) -> None:
    seen = view(record, record.hold({"card": "4111", "n": 1}, redact=("args.card",)).id)
    assert seen.flags == ()
    assert alone(seen) == ""


@pytest.mark.parametrize("text", ["\U0001f468\u200d\U0001f469", "\u05e9\u05dc\u200e"], ids=ascii)
def test_ordinary_writing_raises_no_flag(record: Record, text: str) -> None:
    seen = view(record, record.hold({"note": text}).id)
    assert seen.flags == ()
    assert seen.arguments[0].text == text


def test_an_edit_is_shown_with_both_values_and_its_people(record: Record) -> None:
    held = record.hold({"amount": 90_000}, terms=Terms(editable=("args.amount",), quorum=2))
    for who, amount in ((BOB, b"9000000"), (ALICE, b"9500000")):
        record.edit(held, who, b'{"amount":%b}' % amount)
    edit = view(record, held.id).edit
    assert edit is not None
    assert edit.by == ("bob", "alice")
    assert changed(edit) == {"args.amount": ("90000", "9500000")}
    assert view(record, record.hold({"amount": 1}).id).edit is None


def test_a_long_name_above_many_values_is_not_written_for_each(record: Record) -> None:
    """A quarter of a megabyte of arguments made a view of 2 GB."""
    arguments = {"n" * 200_000: list(range(5_000))}
    seen = view(record, record.hold(arguments).id)
    record.approved({"n" * 200_000: list(range(1, 5_001))})
    again = view(record, record.hold(arguments).id)
    assert len(seen.arguments) == 5_000
    assert not seen.complete
    assert sum(len(one.path) for one in seen.arguments) < 4_000_000
    assert again.since_approved is not None
    assert sum(len(one.path) for one in again.since_approved.changes) < 4_000_000


def test_a_hidden_character_is_shown_in_values_and_in_keys(record: Record) -> None:
    seen = view(record, record.hold({"a\u200bb": "c\u202ed\ne"}).id)
    (value,) = seen.arguments
    assert (value.path, value.text, value.hidden) == ("args.a\\u200bb", "c\\u202ed\ne", 2)


def test_a_long_value_shows_head_and_tail_and_its_size(record: Record) -> None:
    seen = view(record, record.hold({"body": "A" * 700 + "rm -rf /"}).id)
    (value,) = seen.arguments
    assert (value.size, value.cut) == (708, True)
    assert value.text.startswith("A" * 400 + " … 188 more characters … ")
    assert value.text.endswith("rm -rf /")


@pytest.mark.parametrize("at", [0, 375, 376, 377, 1_000, 2_976, 3_000])
def test_a_change_is_shown_however_far_into_a_long_text_it_stands(record: Record, at: int) -> None:
    start, end = "a" * at, "b" * (3_000 - at)
    record.approved({"body": f"{start}old{end}"})
    since = view(record, record.hold({"body": f"{start}new{end}"}).id).since_approved
    assert since is not None
    (one,) = since.changes
    lead = "a" * min(at, 24)
    for shown in ((one.before.text, one.after.text), one.brief(160)):
        for side, word in zip(shown, ("old", "new"), strict=True):
            assert side is not None
            assert f"{lead}{word}" in side
            assert len(side) < 600


PLAIN = st.text(alphabet="ab ", max_size=40).map(lambda text: text * 40)


@given(PLAIN, st.text(alphabet="xyz", max_size=900), st.text(alphabet="xyz", max_size=900), PLAIN)
def test_whatever_differs_the_two_sides_shown_differ(
    start: str, one: str, other: str, end: str
) -> None:
    assume(one != other)
    (change,) = changes({"k": start + one + end}, {"k": start + other + end})
    shown = field_change(change)
    assert shown.before.text != shown.after.text
    for room in (120, 160):
        before, after = shown.brief(room)
        assert before != after
        assert max(len(before or ""), len(after or "")) < room + 30


def test_an_unknown_outcome_of_the_same_call_is_in_red_until_it_is_settled(
    record: Record,
) -> None:
    first = record.approved()
    record.claim(first)
    record.finish(first, Execution.OUTCOME_UNKNOWN, result=None)
    held = record.hold()
    assert view(record, held.id).unknown_outcome == first.id
    assert "outcome unknown" in view(record, held.id).flags
    assert view(record, first.id).unknown_outcome is None
    record.write(
        lambda tx: decide.settle(
            tx, first.id, reviewer=ALICE, settlement=Settlement.DONE, note="", via="page"
        )
    )
    assert view(record, held.id).unknown_outcome is None


def test_the_digest_covers_what_is_shown_and_not_the_waiting(record: Record) -> None:
    held = record.hold(terms=Terms(quorum=2))
    first = view(record, held.id)
    record.clock.pass_(seconds=30)
    record.write(lambda tx: queue.present(tx, held.id, until=tx.now + 1000, to="task"))
    record.decide(held, ALICE)
    later = view(record, held.id)
    assert later.digest == first.digest
    assert (later.missing, [vote.reviewer for vote in later.votes]) == (1, ["alice"])
    assert view(record, record.hold({"amount": 1}).id).digest != first.digest
