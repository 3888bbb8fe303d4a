"""Exports: every filter honoured, no formula, and a script that proves chain and meaning."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from approvals import export
from approvals.model import Event
from approvals.record.database import Database, Transaction
from approvals.record.history import HistoryQuery, head
from tests.approvals.story import told
from tests.support.record import KEYS, START, HandClock, Record


def exported(
    record: Record, folder: Path, form: export.Format = "jsonl", **filters: Any
) -> export.Exported:
    return record.read(
        lambda connection: export.write(
            connection, HistoryQuery(**filters), folder, form=form, now=START
        )
    )


def proof(folder: Path, *arguments: str) -> tuple[int, str]:
    """What the shipped script says, run by a Python without this project or its dependencies."""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "verify.py"), str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "signoff.key"
    path.write_bytes(b"0123456789abcdef0123456789abcdef")
    return path


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_proves_itself_offline(
    record: Record, tmp_path: Path, key: Path, form: export.Format
) -> None:
    told(record)
    made = exported(record, tmp_path / "out", form)
    assert (made.rows, made.head) == (10, record.read(head))
    code, said = proof(tmp_path / "out", "--key", str(key), "--head", f"10:{made.head.hash}")
    assert (code, said) == (
        0,
        f"10 rows, head 10:{made.head.hash}\n3 approvals, 2 executions\nINTACT\n",
    )
    hex_key = tmp_path / "history.key"
    hex_key.write_text(KEYS.history.hex(), encoding="ascii")
    assert proof(tmp_path / "out", "--key", str(hex_key))[0] == 0
    assert "no key given" in proof(tmp_path / "out")[1]


def test_an_export_honours_its_filters_and_still_proves_its_rows(
    record: Record, tmp_path: Path, key: Path
) -> None:
    told(record)
    made = exported(record, tmp_path / "out", grant="grt_2")
    assert made.rows == 2
    code, said = proof(tmp_path / "out", "--key", str(key))
    assert code == 0
    assert "1 approvals, 0 executions" in said
    exported(record, tmp_path / "out", event="held")
    code, said = proof(tmp_path / "out", "--key", str(key))
    assert code == 0
    assert "filtered: what the rows mean together was not checked" in said


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("how", ["edit", "delete", "swap", "cut", "double"])
def test_the_script_finds_every_tampering_with_an_export(
    sqlite_record: Record, tmp_path: Path, key: Path, how: str, form: export.Format
) -> None:
    told(sqlite_record)
    exported(sqlite_record, tmp_path / "out", form)
    path = tmp_path / "out" / f"history.{form}"
    ending = "\n" if form == "jsonl" else "\r\n"
    lines = re.split(f"(?<={ending})(?=[{{0-9])", path.read_bytes().decode())
    changed = {
        "edit": [line.replace("grt_2", "grt_3") for line in lines],
        "delete": lines[:5] + lines[6:],
        "swap": [*lines[:5], lines[6], lines[5], *lines[7:]],
        "cut": lines[:-1],
        "double": [*lines, lines[-1]],
    }[how]
    assert changed != lines
    path.write_bytes("".join(changed).encode())
    code, said = proof(tmp_path / "out", "--key", str(key))
    assert code == 1
    assert said.endswith("BROKEN\n")


def said(event: str, actor: str = "", **fields: Any) -> Event:
    """A row about one approval, as the key holder may write it."""
    given = {"approval_id": "apr_1", "revision": 1, "presented_digest": "d", "grant": "grt_1"}
    kind = "reviewer" if actor else "gateway"
    return Event(**{"event": event, **given, "actor": actor, "actor_kind": kind, **fields})


ONE, TWO = said("held", data='{"quorum":1}'), said("held", data='{"quorum":2}')
APPROVED, CLAIMED = said("approved", "a"), said("claimed")
RAN = said("succeeded", outcome="succeeded")
BACK = said("taken_back", "a", data='{"right":"approved","voter":"a"}')


def person(name: str, **told: Any) -> Event:
    """A row about someone who may decide."""
    data = json.dumps({"reviewer": name, **told})
    return Event(event="reviewer_added", actor_kind="operator", actor=name, data=data)


LIES = {
    "something ran without a verdict": [Event(event="succeeded", call_id="call_9")],
    "apr_1: approved by 1 of 2 people": [TWO, APPROVED],
    "apr_1: a counts twice": [TWO, said("voted", "a"), APPROVED],
    "apr_1: anyone who asked, or no one, approves": [ONE, said("approved", "grt_1")],
    "apr_1 runs while it is pending": [ONE, CLAIMED],
    "apr_1 runs while it is expired": [ONE, APPROVED, said("expired"), CLAIMED],
    "apr_1 is approved after it was denied": [ONE, said("denied", "b"), APPROVED],
    "apr_1: what runs is not what was approved": [
        *(ONE, APPROVED, said("claimed", presented_digest="e")),
    ],
    "apr_1: what is sent beside the arguments is not what was shown": [
        *(said("held", data='{"metadata":"m","quorum":1}'), APPROVED),
        said("claimed", data='{"metadata":"n"}'),
    ],
    "apr_1: the vote is on another call than the one that waits": [
        *(ONE, said("approved", "a", presented_digest="e")),
    ],
    "apr_1 is used twice": [ONE, APPROVED, CLAIMED, RAN, CLAIMED],
    "apr_1 ran without having been claimed": [ONE, APPROVED, RAN],
    "apr_1 runs while it is withdrawn": [ONE, APPROVED, BACK, CLAIMED],
    "apr_1 is approved after it was withdrawn": [ONE, APPROVED, BACK, APPROVED],
    "apr_1 starts while its rule still lets it be taken back": [
        *(ONE, said("approved", "a", data='{"runs_from":9000000000000,"use_by":9000000900000}')),
        CLAIMED,
    ],
    "apr_1 is taken back while it is pending": [ONE, BACK],
    "apr_1 is taken back after it started": [ONE, APPROVED, CLAIMED, BACK],
    "apr_1: anyone who takes it back has not approved it": [
        *(ONE, APPROVED, said("taken_back", "b", data='{"right":"approved","voter":"b"}')),
    ],
    "apr_1: b, who takes it back, is no administrator": [
        *(person("b", role="approver"), ONE, APPROVED),
        said("taken_back", "b", data='{"right":"admin"}'),
    ],
    "apr_1: b, who takes it back, is not a": [
        *(person("b", role="approver", identities=["slack:T1/U1"]), ONE, APPROVED),
        said("taken_back", "b", data='{"right":"approved","voter":"a"}'),
    ],
    "apr_1 was never opened": [APPROVED],
    "apr_1 is edited after it was decided": [ONE, APPROVED, said("edited")],
}


@pytest.mark.parametrize("why", LIES)
def test_the_script_finds_what_the_chain_cannot_the_meaning(
    sqlite_url: str, tmp_path: Path, key: Path, why: str
) -> None:
    clock = HandClock()
    record = Record(Database.open(sqlite_url, key=KEYS, clock=clock), clock, sqlite_url)
    record.write(lambda tx: [tx.append(event) for event in LIES[why]])
    exported(record, tmp_path / "out")
    record.database.close_now()
    code, answer = proof(tmp_path / "out", "--key", str(key))
    assert code == 1
    assert why in answer


ASKED, WENT_ON = said("input_required"), said("continued")
OPEN = [ONE, APPROVED, CLAIMED, ASKED]
ADMINS = said("taken_back", "b", data='{"right":"admin"}')


def free(event: str) -> Event:
    """A row about one call that needed no approval."""
    return Event(event=event, call_id="call_1", presented_digest="d")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([*OPEN, WENT_ON, RAN], ""),
        ([*OPEN, WENT_ON, ASKED, WENT_ON, RAN], ""),
        ([*OPEN, said("withdrawn")], ""),
        ([ONE, APPROVED, BACK], ""),
        ([ONE, APPROVED, CLAIMED, said("not_executed"), BACK], ""),
        ([person("b", role="admin"), ONE, APPROVED, ADMINS], ""),
        ([*OPEN, BACK], "apr_1 is taken back after it started"),
        ([ONE, APPROVED, CLAIMED, RAN, BACK], "apr_1 is taken back after it started"),
        ([*OPEN, CLAIMED], "apr_1 is used twice"),
        ([*OPEN, WENT_ON, RAN, WENT_ON], "apr_1 is used twice"),
        ([*OPEN, RAN], "apr_1 ran without having been claimed"),
        ([ONE, APPROVED, WENT_ON], "apr_1 is used twice"),
        ([free("allowed"), free("input_required"), free("continued"), free("succeeded")], ""),
        ([free("allowed"), free("continued"), free("input_required"), free("succeeded")], ""),
        ([free("allowed"), free("input_required"), free("succeeded")], "without a verdict"),
        ([free("continued")], "something goes on that was never allowed"),
        # Told twice, as after an outage in which no one knew whether it had been written:
        ([free("allowed"), free("succeeded"), free("succeeded")], ""),
        (
            [free("allowed"), free("succeeded"), free("succeeded")._replace(result_digest="r")],
            "without a verdict",
        ),
    ],
)
def test_the_script_knows_a_call_that_goes_on_from_one_that_runs_twice(
    sqlite_record: Record, tmp_path: Path, key: Path, rows: list[Event], why: str
) -> None:
    sqlite_record.write(lambda tx: [tx.append(event) for event in rows])
    exported(sqlite_record, tmp_path / "out")
    code, answer = proof(tmp_path / "out", "--key", str(key))
    assert why in answer
    assert code == (1 if why else 0), answer


def test_spreadsheets_see_no_formula(record: Record, tmp_path: Path) -> None:
    risky = ["=1+1", "+1", "-1", "@x", "\tx", "'quoted", " =1", "\uff1d1"]

    def act(tx: Transaction) -> None:
        for text in [*risky, "fine", ""]:
            tx.append(Event(event="x", reason=text, data=None if text else ""))

    record.write(act)
    exported(record, tmp_path / "out", "csv")
    with (tmp_path / "out" / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["reason"] for row in rows] == [*(f"'{text}" for text in risky), "fine", ""]
    assert [row["data"] for row in rows] == [""] * 9 + ["'"]
    assert proof(tmp_path / "out")[0] == 0


def test_an_export_is_its_owners_alone_whatever_the_umask_and_what_was_there(
    record: Record, tmp_path: Path
) -> None:
    told(record)
    there = tmp_path / "there"
    there.mkdir()
    (there / "history.jsonl").touch(0o666)
    (there / "history.jsonl").chmod(0o666)
    before = os.umask(0)
    try:
        exported(record, tmp_path / "new")
        exported(record, there)
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    for folder in (tmp_path / "new", there):
        modes = {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()}
        assert set(modes.values()) == {0o600}, modes
