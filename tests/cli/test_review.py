"""pending, show, approve, deny, extend, settle."""

import json

import pytest

from approvals import decide
from approvals.model import ArgumentEdit, Execution, Reviewer, Settlement, State
from tests.cli.command import Command
from tests.cli.folder import Folder


def test_pending_lists_the_riskiest_first(signoff: Command, folder: Folder) -> None:
    calm = folder.held(risk="low")
    grave = folder.held(args={"amount": 9_000}, risk="high")
    lines = signoff("pending").out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [grave.id[:10], calm.id[:10]]


def test_pending_as_json_has_the_documented_shape(signoff: Command, folder: Folder) -> None:
    held = folder.held()
    shown = json.loads(signoff("pending", "--json").out)
    assert shown["schema"] == "signoff.pending/1"
    [item] = shown["items"]
    assert (item["id"], item["digest"], item["tool"]) == (held.id, held.digest, "refund")


def test_nothing_pending_says_so_on_stderr_only(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    done = signoff("pending")
    assert (done.code, done.out, done.err) == (0, "", "Nothing is waiting.\n")


def test_show_prints_all_that_a_reviewer_sees(signoff: Command, folder: Folder) -> None:
    held = folder.held(args={"payment": "pay_1", "amount": 120, "api_key": "sk-1234567890"})
    out = signoff("show", held.id).out
    for wanted in (
        "refund on billing",
        "claude@laptop",
        "claude-code 2.1",
        "14 calls so far",
        "Large refunds need a person.",
        "amount 120 > 100",
        "/tools/refund/approve_if/0",
        "args.amount (number) 120",
        "[redacted, 13 chars",
        "1 of 1 approvals missing",
        "which counts as a denial",
        f"sha256       {held.digest}",
    ):
        assert wanted in out
    assert "sk-1234567890" not in out


def test_a_call_is_told_in_one_sentence(signoff: Command, folder: Folder) -> None:
    """Ten calls of one tool are ten different lines."""
    summary = "Refund {args.amount|money:minor:EUR} of {args.payment}"
    for number in range(10):
        folder.held(args={"payment": f"pay_{number}", "amount": 120_000}, summary=summary)
    last = folder.held(args={"payment": "pay_\x1b[31m\nApproved by bob", "amount": 1})
    lines = signoff("pending").out.splitlines()
    calls = [line.split("\t")[2] for line in lines]
    assert len(set(calls)) == len(calls) == 11
    assert "Refund €1,200.00 of pay_3" in calls
    forged = "Refund amount 1, “pay_\\u001b[31m Approved by bob”"
    assert forged in calls
    assert signoff("show", last.id).out.splitlines()[0] == forged
    items = json.loads(signoff("pending", "--json").out)["items"]
    assert {one["headline"]["text"] for one in items} == set(calls)


def test_show_unmasks_what_the_scanner_hid_and_puts_it_on_record(
    signoff: Command, folder: Folder
) -> None:
    folder.people(alice="approver")
    held = folder.held(args={"payment": "pay_1", "api_key": "sk-1234567890"})
    shown = signoff("show", held.id, "--unmask")
    assert (shown.code, "sk-1234567890" in shown.out) == (0, True)
    assert "revealed" in signoff("history", "--approval", held.id).out
    plain = folder.held(args={"payment": "pay_2"})
    refused = signoff("show", plain.id, "--unmask")
    assert (refused.code, "Nothing in it is masked" in refused.err) == (4, True)


def test_show_as_json_holds_view_and_votes(signoff: Command, folder: Folder) -> None:
    held = folder.held()
    shown = json.loads(signoff("show", held.id, "--json").out)
    assert shown["schema"] == "signoff.approval/1"
    assert shown["digest"] == held.digest
    assert shown["view"]["target"]["path"]
    assert shown["votes"] == []
    assert len(shown["view_digest"]) == 64


def test_show_tells_what_changed_since_the_last_decision(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    first = folder.held(args={"payment": "pay_1", "amount": 110})
    assert signoff("deny", first.id, "--reason", "no").code == 0
    second = folder.held(args={"payment": "pay_1", "amount": 900})
    out = signoff("show", second.id).out
    assert "changed since last denied" in out
    assert "args.amount: 110 -> 900" in out
    assert "denied by alice" in out


def test_hostile_text_reaches_the_terminal_spelled_out(signoff: Command, folder: Folder) -> None:
    held = folder.held(args={"note": "a\x1b[2J\u202eb\u200b", "amount": 1})
    for said in (signoff("show", held.id).out, signoff.typed("show", held.id).out):
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert r"a\u001b[2J\u202eb\u200b" in said


def test_long_arguments_are_shown_in_full(signoff: Command, folder: Folder) -> None:
    text = "x" * 5_000
    held = folder.held(args={"note": text})
    assert text in signoff("show", held.id).out


@pytest.mark.parametrize("cut", [6, 20, 26])
def test_an_unambiguous_beginning_is_an_id(signoff: Command, folder: Folder, cut: int) -> None:
    held = folder.held()
    beginning = held.id.removeprefix("apr_")[:cut]
    assert held.digest in signoff("show", beginning).out
    assert held.digest in signoff("show", f"apr_{beginning.lower()}").out


@pytest.mark.parametrize("written", ["apr_zzzzzzzzzz", "ab", "", "../x", "\U0010ffff" * 4, "%"])
def test_an_unknown_id_is_exit_6(signoff: Command, folder: Folder, written: str) -> None:
    folder.held()
    done = signoff("show", written)
    assert done.code == 6
    assert "There is no approval" in done.err


def test_an_approval_is_taken_back_until_it_has_started(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver", bob="approver", carol="admin")
    held = folder.held()
    digest = ("--yes", "--hash", held.digest)
    assert signoff("approve", held.id, "--as", "alice", *digest).code == 0
    refused = signoff("take-back", held.id, "--as", "bob")
    assert (refused.code, "Only someone who approved it" in refused.err) == (4, True)
    done = signoff("take-back", held.id[:12], "--as", "alice", "--reason", "Wrong one.")
    assert (done.code, done.out) == (0, f"{held.id} is taken back by alice. Nothing ran.\n")
    assert "taken back by alice (cli)" in signoff("show", held.id).out
    late = signoff("take-back", held.id, "--as", "carol")
    assert (late.code, "alice took it back already" in late.err) == (6, True)
    assert "taken_back" in signoff("history", "--approval", held.id).out
    assert signoff("history", "verify").code == 0


def test_approving_under_an_undo_says_how_to_take_it_back(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    held = folder.held(undo=20)
    done = signoff("approve", held.id, "--yes", "--hash", held.digest)
    assert f"It starts in 20s at the soonest; until then: signoff take-back {held.id}" in done.out
    assert "no sooner than" in signoff("show", held.id).out


def test_yes_at_the_terminal_approves_after_showing(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    held = folder.held()
    done = signoff.typed("approve", held.id, "--reason", "fine", answer="y\n")
    assert done.code == 0, done.out
    assert done.out.index(held.digest) < done.out.index("Approve exactly this call, once?")
    assert folder.state(held.id) == (State.APPROVED, Execution.NONE, "alice", "cli")


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04", "sure\n"])
def test_anything_but_yes_leaves_it_pending(signoff: Command, folder: Folder, answer: str) -> None:
    folder.people(alice="approver")
    held = folder.held()
    assert signoff.typed("approve", held.id, answer=answer).code == 4
    assert folder.state(held.id)[0] is State.PENDING


def test_ctrl_c_at_the_question_is_exit_130_and_decides_nothing(
    signoff: Command, folder: Folder
) -> None:
    folder.people(alice="approver")
    held = folder.held()
    done = signoff.typed("approve", held.id, after="[y/N]", answer="\x03")
    assert done.code == 130
    assert folder.state(held.id)[0] is State.PENDING


def test_high_risk_needs_the_tools_name_typed(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    held = folder.held(risk="high")
    assert signoff.typed("approve", held.id, answer="y\n").code == 4
    assert signoff.typed("approve", held.id, answer="refund\n").code == 0


def test_a_script_approves_only_the_digest_it_names(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    held = folder.held()
    assert signoff("approve", held.id).code == 2
    assert signoff("approve", held.id, "--yes").code == 2
    assert signoff("approve", held.id, "--yes", "--hash", held.digest[:11]).code == 2
    other = signoff("approve", held.id, "--yes", "--hash", "0" * 64)
    assert other.code == 4
    assert "another one" in other.err
    assert folder.state(held.id)[0] is State.PENDING
    done = signoff("approve", held.id, "--yes", "--hash", held.digest[:12])
    assert done.code == 0, done.err
    assert folder.state(held.id)[0] is State.APPROVED


def test_the_decision_keeps_the_digest_of_what_was_shown(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    held = folder.held(quorum=2)
    shown = json.loads(signoff("show", held.id, "--json").out)["view_digest"]
    assert signoff("approve", held.id, "--yes", "--hash", held.digest).code == 0
    rows = json.loads(signoff("history", "--event", "voted", "--json").out)["items"]
    assert json.loads(rows[0]["data"])["view"] == shown
    assert (rows[0]["actor"], rows[0]["verified"], rows[0]["via"]) == ("alice", "cli", "cli")


def test_a_quorum_counts_distinct_people(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver", bob="approver")
    held = folder.held(quorum=2)
    press = ("approve", held.id, "--yes", "--hash", held.digest)
    first = signoff(*press, "--as", "alice")
    assert (first.code, "still to approve: 1" in first.out) == (0, True)
    again = signoff(*press, "--as", "alice")
    assert (again.code, "already approved" in again.err) == (4, True)
    assert signoff(*press, SIGNOFF_REVIEWER="bob").code == 0
    assert folder.state(held.id)[0] is State.APPROVED


def test_whoever_may_not_decide_is_exit_4(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver", eve="viewer")
    held = folder.held(reviewers=("bob",))
    press = ("approve", held.id, "--yes", "--hash", held.digest)
    assert signoff(*press, "--as", "eve").code == 4
    named = signoff(*press, "--as", "alice")
    assert (named.code, named.err) == (4, "This rule names other reviewers.\n")
    unknown = signoff(*press, "--as", "mallory")
    assert (unknown.code, "There is no reviewer mallory" in unknown.err) == (4, True)
    assert folder.state(held.id)[0] is State.PENDING


def test_several_reviewers_and_no_name_is_a_question_of_usage(
    signoff: Command, folder: Folder
) -> None:
    folder.people(alice="approver", bob="admin", eve="viewer")
    held = folder.held()
    done = signoff("deny", held.id, "--reason", "no")
    assert done.code == 2
    assert "alice, bob" in done.err
    assert "--as NAME" in done.err


def test_no_reviewer_at_all_names_the_next_step(signoff: Command, folder: Folder) -> None:
    held = folder.held()
    done = signoff("deny", held.id, "--reason", "no")
    assert done.code == 4
    assert "signoff reviewer add" in done.err


def test_deny_needs_a_reason_and_keeps_it(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    held = folder.held()
    assert signoff("deny", held.id).code == 2
    assert signoff("deny", held.id, "--reason", "  ").code == 2
    done = signoff("deny", held.id, "--reason", "wrong environment")
    assert (done.code, done.out.splitlines()[-1]) == (0, "Denied by alice.")
    assert folder.state(held.id)[0] is State.DENIED


def test_a_late_decision_says_who_won_with_exit_6(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver", bob="approver")
    held = folder.held()
    signoff("deny", held.id, "--reason", "wrong one", "--as", "alice")
    late = signoff("approve", held.id, "--as", "bob", "--yes", "--hash", held.digest)
    assert late.code == 6
    assert "denied by alice (cli)" in late.err
    assert "wrong one" in late.err


def test_an_expired_call_is_exit_6(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    held = folder.held(expires=0)
    late = signoff("approve", held.id, "--yes", "--hash", held.digest)
    assert late.code == 6
    assert "expired" in late.err.lower()


def test_extend_moves_the_deadline(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    held = folder.held()
    assert signoff("extend", held.id, "--by", "1h").code == 0
    item = json.loads(signoff("pending", "--json").out)["items"][0]
    assert item["expires_at"] == held.expires_at + 3_600_000
    assert signoff("extend", held.id, "--by", "soon").code == 2
    assert signoff("extend", held.id, "--by", "99d").code == 0
    assert signoff("extend", held.id, "--by", "1d").code == 4


def test_settle_says_what_became_of_an_unknown_outcome(signoff: Command, folder: Folder) -> None:
    unknown = folder.unknown()
    assert signoff("settle", unknown.id, "perhaps", "--note", "x").code == 2
    assert signoff("settle", unknown.id, "not-done", "--note", " ").code == 2
    done = signoff("settle", unknown.id, "not-done", "--note", "looked in the ledger")
    assert (done.code, done.out) == (0, f"{unknown.id} is settled as not-done.\n")
    shown = json.loads(signoff("show", unknown.id, "--json").out)
    assert shown["settlement"] == Settlement.NOT_DONE.value
    assert signoff("settle", unknown.id, "done", "--note", "again").code == 6


def test_there_is_nothing_to_settle_in_a_pending_call(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    done = signoff("settle", folder.held().id, "done", "--note", "x")
    assert (done.code, "nothing to settle" in done.err) == (6, True)


def test_a_condition_is_told_as_of_what_the_agent_asked(signoff: Command, folder: Folder) -> None:
    held = folder.held(editable=("args.amount",))
    assert "amount 120 > 100 as the agent asked" not in signoff("show", held.id).out
    bob = Reviewer(id="bob", role="approver")
    folder.write(
        lambda tx: decide.edit(
            tx,
            held.id,
            ArgumentEdit(
                revision=1, reviewer=bob, arguments=b'{"amount":90,"payment":"pay_1"}', via="page"
            ),
            judge_again=lambda _tx, _call: None,
        )
    )
    assert "amount 120 > 100 as the agent asked" in signoff("show", held.id).out


def test_an_administrator_denies_what_others_were_named_for(
    signoff: Command, folder: Folder
) -> None:
    folder.people(root="admin", alice="approver")
    held = folder.held(reviewers=("bob",))
    shown = signoff("show", held.id).out
    assert "No one can approve this: bob is no approver on record." in shown
    press = ("approve", held.id, "--yes", "--hash", held.digest, "--as", "root")
    assert signoff(*press).code == 4
    assert signoff("deny", held.id, "--reason", "no", "--as", "alice").code == 4
    denied = signoff("deny", held.id, "--reason", "bob is away", "--as", "root")
    assert (denied.code, denied.out.endswith("Denied by root.\n")) == (0, True)
    assert folder.state(held.id)[0] is State.DENIED
