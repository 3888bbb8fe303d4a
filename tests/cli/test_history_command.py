"""history: list, export, verify, head."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from approvals.model import Event
from tests.cli.command import Command
from tests.cli.folder import Folder


def _full(folder: Folder) -> None:
    folder.people(alice="admin")
    folder.judged("look", "allow", "{}")
    folder.judged("drop", "deny", '{"table":"users"}', rule="(default deny)")
    folder.held()


def test_bare_history_is_the_list_newest_first(signoff: Command, folder: Folder) -> None:
    _full(folder)
    bare, listed = signoff("history").out, signoff("history", "list").out
    assert bare == listed
    assert [line.split("\t")[2] for line in bare.splitlines()] == [
        "held",
        "denied",
        "allowed",
        "reviewer_added",
    ]


def test_filters_work_with_and_without_the_word_list(signoff: Command, folder: Folder) -> None:
    _full(folder)
    for argv in (
        ("--tool", "drop"),
        ("list", "--verdict", "deny"),
        ("--grep", "users"),
        ("--rule", "(default deny)"),
        ("--event", "denied", "--since", "1h", "--server", "billing"),
    ):
        items = json.loads(signoff("history", *argv, "--json").out)["items"]
        assert [item["tool"] for item in items] == ["drop"], argv
    assert json.loads(signoff("history", "--until", "1h", "--json").out)["items"] == []


def test_a_wrong_time_is_exit_2(signoff: Command, folder: Folder) -> None:
    folder.held()
    done = signoff("history", "--since", "yesterday")
    assert (done.code, "write 7d" in done.err) == (2, True)


def test_pages_follow_each_other(signoff: Command, folder: Folder) -> None:
    _full(folder)
    first = json.loads(signoff("history", "--limit", "3", "--json").out)
    assert (first["schema"], len(first["items"]), first["next"]) == ("signoff.history/1", 3, 2)
    rest = json.loads(signoff("history", "--before", "2", "--json").out)
    assert ([item["seq"] for item in rest["items"]], rest["next"]) == ([1], None)


def test_an_approval_is_filtered_by_its_short_id(signoff: Command, folder: Folder) -> None:
    _full(folder)
    held = folder.held()
    items = json.loads(signoff("history", "--approval", held.id[:12], "--json").out)["items"]
    assert [item["approval_id"] for item in items] == [held.id]
    assert signoff("history", "--approval", "apr_000000").code == 6


def test_an_intact_history_proves_itself_and_its_head(signoff: Command, folder: Folder) -> None:
    _full(folder)
    head = signoff("history", "head").out.strip()
    assert head.startswith("4:")
    done = signoff("history", "verify", "--head", head)
    assert (done.code, done.out) == (0, f"Intact: 4 rows. Head {head}\n")
    shown = json.loads(signoff("history", "verify", "--json").out)
    assert (shown["intact"], shown["rows"], shown["head"]) == (True, 4, head)


def test_a_changed_row_is_exit_8_and_named(signoff: Command, folder: Folder) -> None:
    _full(folder)
    _tamper(folder.path, "UPDATE history SET tool = 'look' WHERE seq = 3")
    done = signoff("history", "verify")
    assert (done.code, "row 3" in done.err) == (8, True)
    as_json = signoff("history", "verify", "--json")
    assert (as_json.code, json.loads(as_json.out)["seq"]) == (8, 3)


def test_a_history_cut_short_shows_against_a_kept_head(signoff: Command, folder: Folder) -> None:
    _full(folder)
    head = signoff("history", "head").out.strip()
    _tamper(folder.path, "DELETE FROM history WHERE seq = 4")
    assert signoff("history", "verify").code == 8  # against what lies beside the key
    (beside_the_key,) = (folder.path / ".signoff").glob("*.seen")
    beside_the_key.unlink()
    assert signoff("history", "verify").code == 0
    assert signoff("history", "verify", "--head", head).code == 8
    assert signoff("history", "verify", "--head", "4").code == 2


def _tamper(path: Path, sql: str) -> None:
    with sqlite3.connect(path / ".signoff" / "signoff.db") as connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(sql)
    connection.close()


def test_an_export_comes_with_a_script_that_proves_it(signoff: Command, folder: Folder) -> None:
    _full(folder)
    done = signoff("history", "export", "-o", "out")
    assert (done.code, done.out.startswith("4 rows in out.")) == (0, True)
    lines = (folder.path / "out/history.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4]
    proof = subprocess.run(
        [sys.executable, "-I", "out/verify.py", "out", "--key", ".signoff/signoff.key"],
        cwd=folder.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert proof.returncode == 0, proof.stdout + proof.stderr


def test_an_export_honours_filters_and_overwrites_nothing(signoff: Command, folder: Folder) -> None:
    _full(folder)
    argv = ("history", "export", "--format", "csv", "--tool", "drop", "-o", "out")
    assert signoff(*argv).code == 0
    lines = (folder.path / "out/history.csv").read_text().splitlines()
    assert len(lines) == 2
    assert "drop" in lines[1]
    assert signoff(*argv).code == 2
    assert signoff(*argv, "--force").code == 0


def test_a_record_set_back_is_told_until_an_operator_goes_on_with_it(
    signoff: Command, folder: Folder
) -> None:
    folder.people(alice="approver")
    held = folder.held()
    folder.held(args={"amount": 500})
    _tamper(folder.path, "DELETE FROM history WHERE seq > 2")
    doctor = signoff("doctor")
    assert "ends before row 3" in doctor.out
    assert "signoff history accept" in doctor.out
    assert signoff("history", "accept", stdin="n\n").code == 2
    done = signoff("history", "accept", "--yes")
    assert (done.code, "Going on from 3:" in done.out) == (0, True)
    assert "ends before row" not in signoff("doctor").out
    assert signoff("approve", held.id, "--yes", "--hash", held.digest).code == 0
    assert "Nothing is wrong" in signoff("history", "accept").out


def test_verify_finds_a_run_that_nobody_approved(signoff: Command, folder: Folder) -> None:
    held = folder.held()
    claimed = Event(
        event="claimed",
        approval_id=held.id,
        revision=1,
        actor_kind="gateway",
        presented_digest=held.digest,
    )
    folder.write(lambda tx: tx.append(claimed))
    found = signoff("history", "verify")
    assert found.code == 8
    assert f"BROKEN at row 2: {held.id} runs while it is pending." in found.err


def test_the_list_shows_the_risk_and_whom_a_row_is_about(signoff: Command, folder: Folder) -> None:
    _full(folder)
    held, *_, added = [line.split("\t") for line in signoff("history").out.splitlines()]
    assert held[2] == "held"
    assert held[8] in ("low", "medium", "high", "critical")
    assert (added[2], added[4], added[9]) == ("reviewer_added", "an operator", "alice")
