"""A database account without the key file, its owner's even, approves nothing, makes no one, and
runs nothing twice. On SQLite and PostgreSQL; also against a gateway that starts afterwards.

It may read and write every row and drop every trigger. It may stop work, for it could drop the
tables too; it may never cause any.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Insert, insert, update

from approvals import decide, execution, leases, queue, reviewers, taking_back
from approvals.confirmed import POLICY_EVENT
from approvals.digest import canonical, sha256
from approvals.effects import EFFECT
from approvals.model import Approval, ArgumentEdit, Choice, Event, Moved, Reviewer, Terms
from approvals.permission import GRANT
from approvals.record import signed
from approvals.record.database import Database, RecordUnavailable
from approvals.record.history import HISTORY
from approvals.record.keys import Keys
from approvals.record.ledger import RESTARTED
from approvals.reviewers import CREDENTIAL, REVIEWER
from approvals.rows import APPROVAL, DECISION
from gateway.enforcement import freezes, grants
from gateway.enforcement.confirmations import FIRST, Unconfirmed, confirm_policy, read_confirmed
from tests.support.intruder import Intruder
from tests.support.record import ALICE, BOB, HandClock, Record

Check = Callable[[Record], bool]
RUNS: list[Callable[[Record, Intruder], Approval]] = []
RULES = b'{"version": "1", "default": "deny"}'
PEOPLE: list[Callable[[Record, Intruder], Check]] = []


@pytest.fixture
def record(url: str, tmp_path: Path) -> Iterator[Record]:
    """A record whose key file has a folder, as every installation's has."""
    clock = HandClock()
    keys = Keys(b"0123456789abcdef0123456789abcdef", folder=tmp_path)
    database = Database.open(url, key=keys, clock=clock)
    yield Record(database, clock, url)
    database.close_now()


def runs(way: Callable[[Record, Intruder], Approval]) -> Callable[[Record, Intruder], Approval]:
    """A way to have the approval it returns run when it may not."""
    RUNS.append(way)
    return way


def makes(way: Callable[[Record, Intruder], Check]) -> Callable[[Record, Intruder], Check]:
    """A way to be someone, or to thaw: what it returns tells whether a process is taken in."""
    PEOPLE.append(way)
    return way


def state(intruder: Intruder, approval: Approval, **values: Any) -> None:
    intruder.does(update(APPROVAL).where(APPROVAL.c.id == approval.id).values(**values))


def approved_values(record: Record) -> dict[str, Any]:
    return {
        "state": "approved",
        "execution": "none",
        "decided_by": "alice",
        "decided_via": "page",
        "decided_at": record.clock.now(),
        "use_by": record.clock.now() + 900_000,
    }


def last_hash(intruder: Intruder) -> tuple[int, str]:
    rows = intruder.reads(HISTORY)
    newest = max(rows, key=lambda row: row["seq"])
    return newest["seq"], newest["hash"]


def forge(intruder: Intruder, like: dict[str, Any], **values: Any) -> None:
    """A row of the history at its end, with a hash as good as one can be made without the key."""
    seq, before = last_hash(intruder)
    row = {**like, "seq": seq + 1, "prev_hash": before, "hash": sha256(before.encode()), **values}
    intruder.does(insert(HISTORY).values(**row))


@runs
def the_state_is_written_by_hand(record: Record, intruder: Intruder) -> Approval:
    held = record.hold()
    state(intruder, held, **approved_values(record))
    return held


@runs
def a_vote_and_its_history_are_written_by_hand(record: Record, intruder: Intruder) -> Approval:
    held = record.hold()
    intruder.does(
        insert(DECISION).values(
            id="dec_1",
            approval_id=held.id,
            revision=1,
            reviewer="alice",
            choice="approve",
            reason="",
            via="page",
            view_digest="",
            at=record.clock.now(),
        )
    )
    (row,) = intruder.reads(HISTORY, approval_id=held.id)
    forge(intruder, dict(row), event="approved", actor_kind="reviewer", actor="alice")
    state(intruder, held, **approved_values(record))
    return held


@runs
def another_approvals_history_is_given_to_it(record: Record, intruder: Intruder) -> Approval:
    held, other = record.hold({"amount": 9_999}), record.approved({"amount": 1})
    intruder.opens_the_history()
    intruder.does(
        update(HISTORY).where(HISTORY.c.approval_id == other.id).values(approval_id=held.id)
    )
    state(intruder, held, **approved_values(record))
    return held


@runs
def an_approved_row_is_copied_under_a_new_id(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved()
    (row,) = intruder.reads(APPROVAL, id=approved.id)
    intruder.does(insert(APPROVAL).values(**{**row, "id": "apr_COPY"}))
    assert isinstance(record.claim(approved), execution.Claimed)
    record.finish(approved)
    return replace(approved, id="apr_COPY")


@runs
def an_old_approved_row_is_put_back(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved()
    (row,) = intruder.reads(APPROVAL, id=approved.id)
    assert isinstance(record.claim(approved), execution.Claimed)
    record.finish(approved)
    intruder.puts_back(APPROVAL, row)
    return approved


@runs
def the_row_and_the_history_of_its_run_go_back(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved()
    (row,) = intruder.reads(APPROVAL, id=approved.id)
    assert isinstance(record.claim(approved), execution.Claimed)
    record.finish(approved)
    record.hold({"n": 1})  # life goes on behind it
    intruder.opens_the_history()
    intruder.does(
        HISTORY.delete().where(
            HISTORY.c.approval_id == approved.id, HISTORY.c.event.in_(["claimed", "succeeded"])
        )
    )
    intruder.puts_back(APPROVAL, row)
    return approved


@runs
def the_history_of_its_run_is_made_anothers(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved()
    (row,) = intruder.reads(APPROVAL, id=approved.id)
    assert isinstance(record.claim(approved), execution.Claimed)
    record.finish(approved)
    record.hold({"n": 1})
    intruder.opens_the_history()
    intruder.does(
        update(HISTORY)
        .where(HISTORY.c.approval_id == approved.id, HISTORY.c.event.in_(["claimed", "succeeded"]))
        .values(approval_id="apr_ELSE")
    )
    intruder.puts_back(APPROVAL, row)
    return approved


@runs
def the_end_of_the_history_is_cut_off(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved()
    (row,) = intruder.reads(APPROVAL, id=approved.id)
    seq, _ = last_hash(intruder)
    assert isinstance(record.claim(approved), execution.Claimed)
    record.finish(approved)
    record.read(record.database.watch.look)
    record.database.watch.keep()  # as each minute
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.seq > seq))
    intruder.puts_back(APPROVAL, row)
    return approved


@runs
def an_unknown_outcome_is_made_not_executed(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved()
    assert isinstance(record.claim(approved), execution.Claimed)
    record.clock.pass_(seconds=16)
    record.write(lambda tx: leases.recover(tx, tx.now))
    state(intruder, approved, execution="not_executed", use_by=record.clock.now() + 900_000)
    return approved


@runs
def a_denied_call_is_made_approved(record: Record, intruder: Intruder) -> Approval:
    held = record.hold()
    record.decide(held, ALICE, Choice.DENY)
    state(intruder, held, **approved_values(record))
    return held


@runs
def an_expired_permit_gets_more_time(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved(terms=Terms(use_within=60))
    record.clock.pass_(seconds=61)
    state(intruder, approved, use_by=record.clock.now() + 900_000)
    return approved


@runs
def a_withdrawn_call_is_made_approved_again(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved()
    record.write(lambda tx: queue.withdraw(tx, approved.id, grant="grt_1", why="no"))
    state(intruder, approved, **approved_values(record))
    return approved


@runs
def an_undo_is_shortened(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved(terms=Terms(undo=20))
    state(intruder, approved, decided_at=record.clock.now() - 60_000)
    return approved


@runs
def an_undo_is_taken_out(record: Record, intruder: Intruder) -> Approval:
    approved = record.approved(terms=Terms(undo=20))
    (row,) = intruder.reads(APPROVAL, id=approved.id)
    state(intruder, approved, terms=row["terms"].replace('"undo":20', '"undo":0'))
    return approved


def _taken_back(record: Record) -> Approval:
    approved = record.approved()
    taken = record.write(
        lambda tx: taking_back.take_back(tx, approved.id, reviewer=ALICE, via="page")
    )
    assert isinstance(taken, Moved)
    return approved


@runs
def what_was_taken_back_is_made_approved_again(record: Record, intruder: Intruder) -> Approval:
    approved = _taken_back(record)
    state(intruder, approved, **approved_values(record))
    return approved


@runs
def what_was_taken_back_is_made_approved_and_the_row_that_says_so_is_gone(
    record: Record, intruder: Intruder
) -> Approval:
    approved = _taken_back(record)
    state(intruder, approved, **approved_values(record))
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.event == "taken_back"))
    return approved


@runs
def what_was_taken_back_is_made_not_executed(record: Record, intruder: Intruder) -> Approval:
    approved = _taken_back(record)
    state(intruder, approved, **{**approved_values(record), "execution": "not_executed"})
    return approved


@runs
def the_quorum_is_lowered(record: Record, intruder: Intruder) -> Approval:
    held = record.hold(terms=Terms(quorum=2))
    (row,) = intruder.reads(APPROVAL, id=held.id)
    state(intruder, held, terms=row["terms"].replace('"quorum":2', '"quorum":1'))
    assert not isinstance(record.decide(held, ALICE), Moved)
    return held


@runs
def the_named_reviewers_are_taken_out(record: Record, intruder: Intruder) -> Approval:
    held = record.hold(terms=Terms(reviewers=("carol",)))
    (row,) = intruder.reads(APPROVAL, id=held.id)
    state(intruder, held, terms=row["terms"].replace('"reviewers":["carol"]', '"reviewers":[]'))
    assert not isinstance(record.decide(held, ALICE), Moved)
    return held


@runs
def what_people_are_shown_is_another_call(record: Record, intruder: Intruder) -> Approval:
    held = record.hold({"amount": 1_000_000})
    state(intruder, held, masked='{"amount":1}')
    assert not isinstance(record.decide(held, ALICE), Moved)
    return held


@runs
def the_digest_and_arguments_of_another_call_are_put_in(
    record: Record, intruder: Intruder
) -> Approval:
    approved, other = record.approved({"amount": 1}), record.hold({"amount": 9_999})
    (row,) = intruder.reads(APPROVAL, id=other.id)
    state(
        intruder,
        approved,
        **{name: row[name] for name in ("digest", "arguments_sealed", "arguments_digest", "asked")},
    )
    return approved


@runs
def a_removed_reviewer_is_put_back_to_be_counted(record: Record, intruder: Intruder) -> Approval:
    record.write(lambda tx: reviewers.add(tx, "alice", role="approver"))
    (row,) = intruder.reads(REVIEWER, id="alice")
    held = record.hold(terms=Terms(quorum=2))
    record.decide(held, ALICE)
    record.write(lambda tx: reviewers.remove(tx, "alice"))
    intruder.puts_back(REVIEWER, row)
    assert not isinstance(record.decide(held, BOB), Moved)
    return held


@runs
def the_vote_of_an_earlier_revision_is_moved_to_the_next(
    record: Record, intruder: Intruder
) -> Approval:
    held = record.hold(terms=Terms(quorum=2, editable=("args.amount",)))
    record.decide(held, ALICE)
    record.write(
        lambda tx: decide.edit(
            tx,
            held.id,
            ArgumentEdit(
                revision=1,
                reviewer=BOB,
                arguments=canonical({"amount": 5, "payment_id": "pay_1"}),
                via="page",
            ),
            judge_again=lambda _tx, _call: None,
        )
    )
    intruder.does(update(DECISION).values(revision=2))
    now = record.now_is(held.id)
    assert not isinstance(record.decide(now, BOB), Moved)
    return held


@runs
def the_mark_of_an_effect_is_taken_away(record: Record, intruder: Intruder) -> Approval:
    first = record.approved({"n": 1}, effect="charge:7")
    assert isinstance(record.claim(first), execution.Claimed)
    record.finish(first)
    intruder.does(EFFECT.delete())
    return record.approved({"n": 2}, effect="charge:7")


@runs
def the_mark_of_an_effect_runs_out_early(record: Record, intruder: Intruder) -> Approval:
    first = record.approved({"n": 1}, effect="charge:7")
    assert isinstance(record.claim(first), execution.Claimed)
    record.finish(first)
    intruder.does(update(EFFECT).values(until=1))
    return record.approved({"n": 2}, effect="charge:7")


@runs
def the_mark_of_an_effect_is_given_to_who_wants_it(record: Record, intruder: Intruder) -> Approval:
    first = record.approved({"n": 1}, effect="charge:7")
    assert isinstance(record.claim(first), execution.Claimed)
    record.finish(first)
    second = record.approved({"n": 2}, effect="charge:7")
    intruder.does(update(EFFECT).values(holder=second.id))
    return second


@makes
def a_reviewer_is_inserted(record: Record, intruder: Intruder) -> Check:
    intruder.does(insert(REVIEWER).values(id="eve", role="admin", created_at=1))
    return lambda seen: _is_somebody(seen, "eve")


@makes
def a_viewer_is_made_an_administrator(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "eve", role="viewer"))
    intruder.does(update(REVIEWER).values(role="admin"))
    return lambda seen: _is_somebody(seen, "eve")


@makes
def an_identity_is_added_to_a_reviewer(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "alice", role="admin"))
    intruder.does(update(REVIEWER).values(identities='["slack:T1/EVE"]'))
    return lambda seen: bool(
        _read(seen, lambda c: reviewers.known_as(c, "slack:T1/EVE", verified="slack"))
    )


@makes
def a_removed_reviewer_is_restored(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "eve", role="admin"))
    (row,) = intruder.reads(REVIEWER, id="eve")
    record.write(lambda tx: reviewers.remove(tx, "eve"))
    intruder.puts_back(REVIEWER, row)
    return lambda seen: _is_somebody(seen, "eve")


@makes
def a_removed_reviewer_is_restored_and_the_removal_forgotten(
    record: Record, intruder: Intruder
) -> Check:
    record.write(lambda tx: reviewers.add(tx, "eve", role="admin"))
    (row,) = intruder.reads(REVIEWER, id="eve")
    record.write(lambda tx: reviewers.remove(tx, "eve"))
    record.write(lambda tx: reviewers.add(tx, "bob", role="viewer"))
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.event == "reviewer_removed"))
    intruder.puts_back(REVIEWER, row)
    return lambda seen: _is_somebody(seen, "eve")


@makes
def a_token_is_inserted(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "alice", role="admin"))
    intruder.does(_credential("rvt_mine", "alice", record))
    return lambda seen: _proves(seen, "rvt_mine", "token")


@makes
def a_known_secret_is_put_in_place_of_anothers(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "alice", role="admin"))
    record.write(lambda tx: reviewers.issue(tx, "alice", "token", lasts=9_999_999))
    intruder.does(update(CREDENTIAL).values(token_hash=sha256(b"rvt_mine")))
    return lambda seen: _proves(seen, "rvt_mine", "token")


@makes
def ones_own_token_is_made_an_administrators(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "alice", role="admin"))
    record.write(lambda tx: reviewers.add(tx, "eve", role="viewer"))
    mine = record.write(lambda tx: reviewers.issue(tx, "eve", "token", lasts=9_999_999))
    intruder.does(update(CREDENTIAL).values(reviewer="alice"))
    return lambda seen: _proves(seen, mine, "token")


@makes
def a_revoked_token_is_restored(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "alice", role="admin"))
    mine = record.write(lambda tx: reviewers.issue(tx, "alice", "token", lasts=9_999_999))
    (row,) = intruder.reads(CREDENTIAL)
    record.write(lambda tx: reviewers.revoke_one(tx, mine))
    intruder.puts_back(CREDENTIAL, row)
    return lambda seen: _proves(seen, mine, "token")


@makes
def a_used_link_is_made_fresh(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "alice", role="admin"))
    link = record.write(lambda tx: reviewers.issue(tx, "alice", "link", lasts=9_999_999))
    (row,) = intruder.reads(CREDENTIAL)
    assert record.write(lambda tx: reviewers.redeem(tx, link, binding="k")) is not None
    intruder.puts_back(CREDENTIAL, row)
    return lambda seen: _proves(seen, link, "link")


@makes
def an_ended_session_lasts_longer(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "alice", role="admin"))
    mine = record.write(lambda tx: reviewers.issue(tx, "alice", "session", lasts=1_000))
    record.clock.pass_(seconds=2)
    intruder.does(update(CREDENTIAL).values(expires_at=record.clock.now() + 9_999_999))
    return lambda seen: _proves(seen, mine, "session")


@makes
def a_grant_is_inserted(record: Record, intruder: Intruder) -> Check:
    intruder.does(
        insert(GRANT).values(
            id="grt_eve",
            label="eve",
            token_hash=grants.token_hash("sgn_mine"),
            servers='["*"]',
            owner="",
            created_at=1,
        )
    )
    return lambda seen: _reaches(seen, "sgn_mine", "payments")


@makes
def a_grant_is_given_every_server(record: Record, intruder: Intruder) -> Check:
    _, token = record.write(lambda tx: grants.create(tx, label="a", servers=frozenset({"git"})))
    intruder.does(update(GRANT).values(servers='["*"]'))
    return lambda seen: _reaches(seen, token, "payments")


@makes
def a_revoked_grant_is_restored(record: Record, intruder: Intruder) -> Check:
    grant, token = record.write(
        lambda tx: grants.create(tx, label="a", servers=frozenset({"payments"}))
    )
    (row,) = intruder.reads(GRANT)
    record.write(lambda tx: grants.revoke(tx, grant.id))
    intruder.puts_back(GRANT, row)
    return lambda seen: _reaches(seen, token, "payments")


@makes
def a_freeze_is_taken_away(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: freezes.freeze(tx, "everything", "", by="ops"))
    intruder.says("DELETE FROM setting WHERE key LIKE 'freeze:%'")
    return lambda seen: not _read(seen, freezes.frozen_now)


def _removed_admin(record: Record, intruder: Intruder) -> tuple[str, Callable[[], None]]:
    """The token of an administrator who was removed; and how the removal is cut out of the history,
    with ordinary rows behind it left where they are, and the older rows put back.
    """
    record.write(lambda tx: reviewers.add(tx, "alice", role="admin"))
    record.write(lambda tx: reviewers.add(tx, "eve", role="admin"))
    token = record.write(lambda tx: reviewers.issue(tx, "eve", "token", lasts=9_999_999))
    (who,) = intruder.reads(REVIEWER, id="eve")
    (credential,) = intruder.reads(CREDENTIAL, reviewer="eve")
    record.write(lambda tx: reviewers.remove(tx, "eve"))
    _life_goes_on(record)

    def cut() -> None:
        intruder.opens_the_history()
        removals = HISTORY.c.event.in_(["reviewer_removed", "credentials_revoked"])
        intruder.does(HISTORY.delete().where(removals))
        intruder.puts_back(REVIEWER, who)
        intruder.puts_back(CREDENTIAL, credential)

    return token, cut


def _life_goes_on(record: Record) -> None:
    for _ in range(3):
        record.write(lambda tx: tx.append(Event(event="allowed", actor_kind="agent", actor="x")))


def _noted(record: Record) -> None:
    """How far the history went is written down, as each minute."""
    record.read(record.database.watch.look)
    record.database.watch.keep()


@makes
def a_removal_is_cut_out_of_the_history(record: Record, intruder: Intruder) -> Check:
    token, cut = _removed_admin(record, intruder)
    cut()
    return lambda seen: _is_somebody(seen, "eve") or _proves(seen, token, "token")


@makes
def a_removal_is_cut_out_of_what_was_seen(record: Record, intruder: Intruder) -> Check:
    token, cut = _removed_admin(record, intruder)
    _noted(record)
    cut()
    return lambda seen: _is_somebody(seen, "eve") or _proves(seen, token, "token")


@makes
def a_removal_is_cut_out_and_another_row_told_since(record: Record, intruder: Intruder) -> Check:
    """By a process that started after the cut: its rows must not stand for the ones before."""
    token, cut = _removed_admin(record, intruder)
    cut()
    database = Database.open(record.url, key=record.database.keys, clock=record.clock)
    Record(database, record.clock, record.url).write(
        lambda tx: reviewers.add(tx, "bob", role="viewer")
    )
    database.close_now()
    return lambda seen: _is_somebody(seen, "eve") or _proves(seen, token, "token")


@makes
def a_removal_is_made_an_ordinary_row(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "eve", role="admin"))
    (row,) = intruder.reads(REVIEWER, id="eve")
    record.write(lambda tx: reviewers.remove(tx, "eve"))
    _life_goes_on(record)
    intruder.opens_the_history()
    removals = HISTORY.c.event.in_(["reviewer_removed", "credentials_revoked"])
    intruder.does(update(HISTORY).where(removals).values(subject=None))
    intruder.puts_back(REVIEWER, row)
    return lambda seen: _is_somebody(seen, "eve")


@makes
def a_removal_is_cut_off_the_end_of_the_history(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: reviewers.add(tx, "eve", role="admin"))
    (row,) = intruder.reads(REVIEWER, id="eve")
    seq, _ = last_hash(intruder)
    record.write(lambda tx: reviewers.remove(tx, "eve"))
    _life_goes_on(record)
    _noted(record)
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.seq > seq))
    intruder.puts_back(REVIEWER, row)
    return lambda seen: _is_somebody(seen, "eve")


@makes
def a_revocation_is_cut_out_of_the_history(record: Record, intruder: Intruder) -> Check:
    grant, token = record.write(
        lambda tx: grants.create(tx, label="a", servers=frozenset({"payments"}))
    )
    (row,) = intruder.reads(GRANT)
    record.write(lambda tx: grants.revoke(tx, grant.id))
    _life_goes_on(record)
    _noted(record)
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.event == "grant_revoked"))
    intruder.puts_back(GRANT, row)
    return lambda seen: _reaches(seen, token, "payments")


@makes
def a_freeze_is_cut_out_of_the_history(record: Record, intruder: Intruder) -> Check:
    record.write(lambda tx: freezes.freeze(tx, "everything", "", by="ops"))
    _life_goes_on(record)
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.event == "frozen"))
    return lambda seen: (
        not _read(seen, freezes.frozen_now) and seen.read(seen.database.watch.look) is None
    )


@runs
def a_removed_administrators_token_approves(record: Record, intruder: Intruder) -> Approval:
    token, cut = _removed_admin(record, intruder)
    cut()
    held = record.hold({"n": 5})
    database = Database.open(record.url, key=record.database.keys, clock=record.clock)
    later = Record(database, record.clock, record.url)
    now = record.clock.now()
    eve = later.read(lambda connection: reviewers.prove(connection, token, "token", now=now))
    if eve is not None:
        later.decide(held, eve)
    database.close_now()
    return held


def _credential(secret: str, reviewer: str, record: Record) -> Insert:
    return insert(CREDENTIAL).values(
        token_hash=sha256(secret.encode()),
        kind="token",
        reviewer=reviewer,
        created_at=1,
        expires_at=record.clock.now() + 9_999_999,
    )


def _read(record: Record, fn: Callable[..., Any]) -> Any:
    """What the function reads; nothing where there is no answer."""
    try:
        return record.read(fn)
    except RecordUnavailable:
        return None


def _is_somebody(record: Record, name: str) -> bool:
    found: Reviewer | None = _read(record, lambda connection: reviewers.find(connection, name))
    return found is not None and found.role == "admin"


def _proves(record: Record, secret: str, kind: str) -> bool:
    now = record.clock.now()
    found: Reviewer | None = _read(
        record, lambda connection: reviewers.prove(connection, secret, kind, now=now)
    )
    return found is not None and found.role == "admin"


def _reaches(record: Record, token: str, server: str) -> bool:
    digest = grants.token_hash(token)
    found = _read(record, lambda connection: signed.row(
        connection, GRANT, GRANT.c.token_hash == digest, GRANT.c.revoked_at.is_(None)
    ))  # fmt: skip
    return found is not None and not {"*", server}.isdisjoint(json.loads(found["servers"]))


@pytest.fixture
def afterwards(record: Record) -> Iterator[Callable[[], Record]]:
    """The record as a process sees it that starts now, with nothing in memory."""
    opened: list[Record] = []

    def open_() -> Record:
        database = Database.open(record.url, key=record.database.keys, clock=record.clock)
        opened.append(Record(database, record.clock, record.url))
        return opened[-1]

    yield open_
    for one in opened:
        one.database.close_now()


@pytest.mark.parametrize("way", RUNS, ids=lambda way: way.__name__)
def test_nothing_runs_that_the_history_does_not_permit(
    record: Record,
    intruder: Intruder,
    afterwards: Callable[[], Record],
    way: Callable[[Record, Intruder], Approval],
) -> None:
    wanted = way(record, intruder)
    for gateway in (record, afterwards()):
        assert not isinstance(gateway.claim(wanted), execution.Claimed)


@pytest.mark.parametrize("way", PEOPLE, ids=lambda way: way.__name__)
def test_nobody_is_made_and_nothing_thawed(
    record: Record,
    intruder: Intruder,
    afterwards: Callable[[], Record],
    way: Callable[[Record, Intruder], Check],
) -> None:
    taken_in = way(record, intruder)
    for gateway in (record, afterwards()):
        assert not taken_in(gateway)


@pytest.mark.parametrize("noted", [False, True])
def test_an_effect_is_not_done_again_when_its_marks_are_cut_out_of_the_history(
    record: Record, intruder: Intruder, afterwards: Callable[[], Record], *, noted: bool
) -> None:
    first = record.approved({"n": 1}, effect="charge:7")
    assert isinstance(record.claim(first), execution.Claimed)
    record.finish(first)
    second = record.approved({"n": 2}, effect="charge:7")
    if noted:
        _noted(record)
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.event == "effect_marked"), EFFECT.delete())
    gateway = afterwards()  # the other one has the mark in memory
    assert not isinstance(gateway.claim(second), execution.Claimed)


async def test_a_confirmed_policy_whose_rows_are_cut_out_is_no_first_start(
    record: Record, intruder: Intruder, afterwards: Callable[[], Record], tmp_path: Path
) -> None:
    record.write(lambda tx: confirm_policy(tx, None, RULES, FIRST))
    _life_goes_on(record)
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.event == POLICY_EVENT))
    with pytest.raises(Unconfirmed, match="signoff history accept"):
        await read_confirmed(afterwards().database, tmp_path / "policy.json")


def test_a_removal_by_another_replica_is_missed_when_it_is_cut_out_before_it_was_seen(
    record: Record, intruder: Intruder, afterwards: Callable[[], Record]
) -> None:
    record.write(lambda tx: reviewers.add(tx, "eve", role="admin"))
    (row,) = intruder.reads(REVIEWER, id="eve")
    other = afterwards()
    other.write(lambda tx: reviewers.remove(tx, "eve"))
    _life_goes_on(other)
    intruder.opens_the_history()
    intruder.does(HISTORY.delete().where(HISTORY.c.event == "reviewer_removed"))
    intruder.puts_back(REVIEWER, row)
    assert "is gone" in (record.read(record.database.watch.look) or "")  # as each second
    assert not _is_somebody(record, "eve")
    assert not _is_somebody(other, "eve")


def test_an_operator_goes_on_with_a_record_of_which_rows_were_cut_out(
    record: Record, intruder: Intruder, afterwards: Callable[[], Record]
) -> None:
    _, cut = _removed_admin(record, intruder)
    cut()
    halted = afterwards()
    assert halted.database.watch.trouble is not None
    event = Event(event="history_accepted", actor_kind="operator")
    halted.write(lambda tx: signed.tell(tx, [(RESTARTED, 1, None)], event=event))
    halted.read(halted.database.watch.accept)
    later = afterwards()
    assert later.database.watch.trouble is None
    later.write(lambda tx: reviewers.add(tx, "bob", role="admin"))
    assert _is_somebody(afterwards(), "bob")


def test_they_are_more_than_twenty() -> None:
    assert len(RUNS) + len(PEOPLE) >= 20


def test_what_may_run_does_and_who_is_somebody_stays(record: Record) -> None:
    """The other half of each claim: with no one at work behind it, it all goes through."""
    record.write(lambda tx: reviewers.add(tx, "alice", role="admin"))
    token = record.write(lambda tx: reviewers.issue(tx, "alice", "token", lasts=9_999_999))
    _, agent = record.write(lambda tx: grants.create(tx, label="a", servers=frozenset({"*"})))
    approved = record.approved()
    assert _is_somebody(record, "alice")
    assert _proves(record, token, "token")
    assert _reaches(record, agent, "payments")
    assert isinstance(record.claim(approved), execution.Claimed)
